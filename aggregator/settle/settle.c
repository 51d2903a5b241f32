/*
 * settle.c -- after the commit: replies to Kafka, marks and conversations to Redis.
 *
 * Every reply is a row of the outbox until Kafka has it; the row is deleted in a later transaction.
 * So a reply is sent at least once, with the same ce_id. A delivery knows only its row's id: one
 * that fails is written down (attempts, next try) and made again from the row when it is due. Rows
 * that nobody has under way are found by a sweep: after taking over, after a lost answer of COMMIT,
 * and every few seconds.
 *
 * A delivery stays in the table until its row is gone (or its failure is written down), so that a
 * sweep does not take it for forgotten.
 */
#include "aggregator/aggregator.h"

#include "aggregator/settle/cache.h"
#include "aggregator/settle/reply.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/xalloc.h"
#include "common/data/json.h"

enum { SWEEP_MS = 5000, SWEEP_ROWS = 200, OUTBOX_LATER_MS = 200, OUTBOX_NOW_COUNT = 1000 };
enum { HEADERS_MAX = 24, ERROR_BYTES_MAX = 200 };
enum { RECORD_SPARE = 4096 }; /* key, headers and the record's own */

/* One row of the outbox that we have under way. */
struct delivery {
    struct map_node node; /* key: id */
    struct list_node list_node;
    struct settle *settle;
    int64_t id;
    char *error; /* NULL: delivered */
};

/* A record that did not fit into the producer's queue. */
struct unsent {
    struct list_node node;
    struct arena arena;
    struct kafka_produce record;
};

struct settle {
    struct aggregator *aggregator;
    struct map deliveries;
    struct list ended; /* delivered or failed, not written down yet */
    struct list taken; /* of these: in the transaction on the wire */
    struct list unsent;
    int64_t oldest_ended_ms;

    bool sweeping, sweep_again;
    int64_t sweep_from;
    struct timer sweep_timer, write_timer;

    struct arena arena; /* for one reply */
    struct buf reply, scratch;
};

static void sweep_due(void *context)
{
    struct settle *settle = context;
    settle_sweep(settle);
    timer_set(settle->aggregator->loop, &settle->sweep_timer,
              loop_now_ms(settle->aggregator->loop) + SWEEP_MS, sweep_due, settle);
}

struct settle *settle_new(struct aggregator *aggregator)
{
    struct settle *settle = xzalloc(sizeof(*settle));
    size_t bytes_max = (size_t)aggregator->conf->shared.message_bytes_max;
    settle->aggregator = aggregator;
    map_init(&settle->deliveries);
    list_init(&settle->ended);
    list_init(&settle->taken);
    list_init(&settle->unsent);
    arena_init(&settle->arena, aggregator->pool, bytes_max * 4);
    buf_init(&settle->reply, bytes_max - RECORD_SPARE);
    buf_init(&settle->scratch, bytes_max);
    timer_set(aggregator->loop, &settle->sweep_timer, loop_now_ms(aggregator->loop) + SWEEP_MS,
              sweep_due, settle);
    return settle;
}

static void delivery_free(struct delivery *delivery)
{
    map_remove(&delivery->settle->deliveries, &delivery->node);
    free(delivery->error);
    free(delivery);
}

static void unsent_free(struct unsent *unsent)
{
    arena_done(&unsent->arena);
    free(unsent);
}

void settle_free(struct settle *settle)
{
    if (!settle)
        return;
    for (struct list_node *node; (node = list_pop(&settle->unsent));)
        unsent_free(container_of(node, struct unsent, node));
    for (struct map_node *node; (node = map_any(&settle->deliveries));)
        delivery_free(container_of(node, struct delivery, node));
    timer_cancel(settle->aggregator->loop, &settle->sweep_timer);
    timer_cancel(settle->aggregator->loop, &settle->write_timer);
    map_done(&settle->deliveries);
    arena_done(&settle->arena);
    buf_done(&settle->reply);
    buf_done(&settle->scratch);
    free(settle);
}

size_t settle_pending(const struct settle *settle)
{
    return settle->deliveries.count;
}

/* ---- to Kafka ---- */

/* Its name first: STATEMENT_OUTBOX_LOAD looks for one. */
static char *error_line(const struct err *err)
{
    char line[sizeof(err->text) + 64];
    snprintf(line, sizeof(line), "%s: %s", err_name(err->code), err->text);
    return xstrndup(str_utf8_cut(str_of(line), ERROR_BYTES_MAX));
}

static void delivered(const struct err *err, void *context)
{
    struct delivery *delivery = context;
    struct settle *settle = delivery->settle;
    if (err && !PLANTED(31))
        delivery->error = error_line(err);
    if (list_empty(&settle->ended))
        settle->oldest_ended_ms = loop_now_ms(settle->aggregator->loop);
    list_append(&settle->ended, &delivery->list_node);
    metric_add_for(METRIC_replies_total, err ? STR("failed") : STR("delivered"), 1);
    CRASH_POINT(reply_delivered);
}

static void keep_unsent(struct settle *settle, const struct kafka_produce *record)
{
    struct unsent *unsent = xzalloc(sizeof(*unsent));
    struct arena *arena = &unsent->arena;
    arena_init(arena, NULL, (size_t)settle->aggregator->conf->shared.message_bytes_max * 2);
    struct kafka_header *headers = arena_array(arena, struct kafka_header, record->header_count);
    for (size_t i = 0; i < record->header_count; i++)
        headers[i] = (struct kafka_header){arena_str(arena, record->headers[i].name),
                                           arena_str(arena, record->headers[i].value)};
    unsent->record = *record;
    unsent->record.topic = arena_cstr(arena, str_of(record->topic));
    unsent->record.key = arena_str(arena, record->key);
    unsent->record.value = arena_str(arena, record->value);
    unsent->record.headers = headers;
    list_append(&settle->unsent, &unsent->node);
}

/* Takes the record on its way under the row's id. */
static void produce(struct settle *settle, int64_t id, struct kafka_produce *record)
{
    struct delivery *delivery = xzalloc(sizeof(*delivery));
    delivery->settle = settle;
    delivery->id = id;
    map_add(&settle->deliveries, &delivery->node, str_from(&delivery->id, sizeof(delivery->id)));
    record->done = delivered;
    record->context = delivery;
    if (!list_empty(&settle->unsent) || !kafka_produce(settle->aggregator->producer, record))
        keep_unsent(settle, record);
    CRASH_POINT(reply_produced);
}

static void produce_reply(struct settle *settle, int64_t outbox, struct str topic, struct str id,
                          struct str traceparent)
{
    struct kafka_header headers[] = {
        {STR(HEADER_CONTENT_TYPE), str_of(encoding_type(ENCODING_JSON))},
        {STR(HEADER_CE_SPECVERSION), STR(CE_SPECVERSION)},
        {STR(HEADER_CE_ID), id},
        {STR(HEADER_CE_TYPE), STR(CE_TYPE_REPLY)},
        {STR(HEADER_CE_SOURCE), STR("quern-aggregator")},
        {STR(HEADER_TRACEPARENT), traceparent},
    };
    struct kafka_produce record = {
        .topic = arena_cstr(&settle->arena, topic),
        .key = id,
        .value = buf_str(&settle->reply),
        .headers = headers,
        .header_count = str_empty(traceparent) ? 5 : 6,
    };
    produce(settle, outbox, &record);
}

void settle_final(struct settle *settle, const struct group *group, int64_t turn, int64_t outbox)
{
    struct aggregator *aggregator = settle->aggregator;
    struct arena *arena = &settle->arena;
    metric_add_for(METRIC_finals_total, group->final.status, 1);
    if (redis_enabled(aggregator->redis)) {
        /* The turn first: who is told by the mark reads the conversation next. */
        if (turn)
            cache_turn(aggregator, group, turn, arena, &settle->scratch);
        cache_mark(aggregator, group, arena);
        CRASH_POINT(redis_told);
    }
    if (outbox) {
        buf_clear(&settle->reply);
        reply_of_group(group, turn, arena, &settle->reply);
        produce_reply(settle, outbox,
                      aggregator_reply_topic(aggregator, group_ticket(group)->reply_to),
                      group_id(group), group->first->traceparent);
    }
    arena_reset(arena);
}

void settle_run(struct settle *settle)
{
    for (struct list_node *node; (node = list_first(&settle->unsent));) {
        struct unsent *unsent = container_of(node, struct unsent, node);
        if (!kafka_produce(settle->aggregator->producer, &unsent->record))
            return;
        list_remove(&settle->unsent, node);
        unsent_free(unsent);
    }
}

/* ---- what is written down ---- */

static void wake(void *context)
{
    (void)context; /* being awake is all: the store asks for what is due */
}

static bool is_due(struct settle *settle)
{
    struct loop *loop = settle->aggregator->loop;
    int64_t due = settle->oldest_ended_ms + OUTBOX_LATER_MS;
    if (settle->ended.count >= OUTBOX_NOW_COUNT || loop_now_ms(loop) >= due)
        return true;
    timer_set(loop, &settle->write_timer, due, wake, settle);
    return false;
}

bool settle_outbox_take(struct settle *settle, bool force, struct buf *ret_sent,
                        struct buf *ret_failed, struct buf *ret_errors)
{
    struct buf *arrays[] = {ret_sent, ret_failed, ret_errors};
    must(list_empty(&settle->taken));
    if (list_empty(&settle->ended) || !(force || is_due(settle)))
        return false;
    for (size_t i = 0; i < 3; i++) {
        buf_clear(arrays[i]);
        postgres_array_begin(arrays[i]);
    }
    for (struct list_node *node; (node = list_pop(&settle->ended));) {
        const struct delivery *delivery = container_of(node, struct delivery, list_node);
        list_append(&settle->taken, node);
        if (!delivery->error) {
            postgres_array_add_i64(ret_sent, delivery->id);
            continue;
        }
        postgres_array_add_i64(ret_failed, delivery->id);
        postgres_array_add(ret_errors, str_of(delivery->error));
    }
    for (size_t i = 0; i < 3; i++)
        postgres_array_end(arrays[i]);
    CRASH_POINT(outbox_taken);
    return true;
}

void settle_outbox_taken(struct settle *settle, bool stored)
{
    for (struct list_node *node; (node = list_pop(&settle->taken));) {
        if (stored)
            delivery_free(container_of(node, struct delivery, list_node));
        else
            list_append(&settle->ended, node);
    }
    if (stored)
        CRASH_POINT(outbox_deleted);
}

/* ---- rows that nobody has under way ---- */

static void sweep(struct settle *settle);

static size_t read_headers(struct str json, struct arena *arena, struct kafka_header *ret)
{
    struct value map;
    size_t count = 0;
    if (!json.data || !json_read(json, arena, &map, NULL) || map.kind != VALUE_MAP)
        return 0;
    for (uint32_t i = 0; i < map.count && count < HEADERS_MAX; i++)
        if (map.pairs[i].value.kind == VALUE_STR)
            ret[count++] = (struct kafka_header){map.pairs[i].key, map.pairs[i].value.text};
    return count;
}

static void send_row(struct settle *settle, const struct postgres_rows *rows, size_t row,
                     const struct postgres_rows *parts)
{
    struct arena *arena = &settle->arena;
    int64_t id = postgres_cell_i64(rows, row, OUTBOX_ID);
    if (map_find(&settle->deliveries, str_from(&id, sizeof(id))))
        return;
    CRASH_POINT(outbox_found);
    if (!postgres_is_null(rows, row, OUTBOX_PAYLOAD)) {
        struct kafka_header headers[HEADERS_MAX];
        struct kafka_produce record = {
            .topic = arena_cstr(arena, postgres_cell(rows, row, OUTBOX_TOPIC)),
            .key = postgres_cell(rows, row, OUTBOX_KEY),
            .value = reply_unhex(arena, postgres_cell(rows, row, OUTBOX_PAYLOAD)),
            .headers = headers,
            .header_count = read_headers(postgres_cell(rows, row, OUTBOX_HEADERS), arena, headers),
        };
        produce(settle, id, &record);
    } else if (!postgres_is_null(rows, row, OUTBOX_STATUS)) {
        buf_clear(&settle->reply);
        reply_of_row(rows, row, parts, arena, &settle->reply);
        produce_reply(settle, id, postgres_cell(rows, row, OUTBOX_TOPIC),
                      postgres_cell(rows, row, OUTBOX_REQUEST),
                      postgres_cell(rows, row, OUTBOX_TRACEPARENT));
    }
    arena_reset(arena);
}

static void swept(const struct postgres_result *result, const struct err *err, void *context)
{
    struct settle *settle = context;
    settle->sweeping = false;
    if (err)
        return; /* the timer asks again */
    const struct postgres_rows *rows = &result->rows[0];
    for (size_t i = 0; i < rows->count; i++)
        send_row(settle, rows, i, &result->rows[1]);
    if (rows->count == SWEEP_ROWS) {
        settle->sweep_from = postgres_cell_i64(rows, rows->count - 1, OUTBOX_ID);
        sweep(settle);
    } else if (settle->sweep_again) {
        settle_sweep(settle);
    }
}

static void sweep(struct settle *settle)
{
    struct aggregator *aggregator = settle->aggregator;
    struct buf owned;
    struct err err;
    char from[24], attempts[24], limit[24];
    buf_init(&owned, 1 << 20);
    snprintf(from, sizeof(from), "%lld", (long long)settle->sweep_from);
    int64_t attempts_max = PLANTED(32) ? 1 : aggregator->conf->reply_attempts_max;
    snprintf(attempts, sizeof(attempts), "%lld", (long long)attempts_max);
    snprintf(limit, sizeof(limit), "%d", SWEEP_ROWS);
    if (aggregator_owned(aggregator, &owned)) {
        const struct str params[] = {buf_str(&owned), str_of(from), str_of(attempts),
                                     str_of(limit)};
        const struct postgres_query queries[] = {{STATEMENT_OUTBOX_LOAD, params, 4},
                                                 {STATEMENT_OUTBOX_PARTS, params, 4}};
        settle->sweeping =
            postgres_batch(aggregator->pg, queries, 2, POSTGRES_TRANSACTION, swept, settle, &err);
    }
    buf_done(&owned);
}

void settle_sweep(struct settle *settle)
{
    settle->sweep_again = settle->sweeping;
    if (settle->sweeping || PLANTED(33))
        return;
    settle->sweep_from = 0;
    sweep(settle);
}
