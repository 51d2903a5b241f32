/*
 * store.c -- entries wait in one queue and go to PostgreSQL in order, many in one transaction, one
 * transaction at a time: what arrives while one is on the wire goes with the next.
 *
 * The transaction begins with the fence (our epoch, the offsets we believe in), so it happens once
 * or not at all. How it can end:
 *   - stored: offsets move, groups are forgotten, replies go out;
 *   - the world's fault (connection, deadlock, disk): the same entries again after a pause;
 *   - the answer to COMMIT was lost: we read our offsets under our epoch, which says what happened;
 *   - fenced: somebody else owns the partitions, everything of ours is dropped;
 *   - an id has another body in the store: at once again, with what the losers are told (extras.h);
 *   - the data's fault: the batch is halved until the guilty entry is alone. That one goes to the
 *     dead letters and its request gets a failed final; the partition goes on.
 *
 * At most `backlog_*_max` wait; beyond it reading is held until half of it is gone.
 */
#include "aggregator/store/extras.h"
#include "aggregator/store/rows.h"

#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/rand.h"
#include "common/base/xalloc.h"

enum {
    PAUSE_MS_MIN = 50,
    PAUSE_MS_MAX = 5000,
    QUERIES_MAX = 4 + EXTRAS_QUERIES_MAX,
    SETTLE_PENDING_MAX = 20000
};
#define NO_LIMIT SIZE_MAX

/* What the transaction on the wire moves in one partition. */
struct range {
    int32_t partition;
    int64_t epoch, from, to;
};

struct store {
    struct aggregator *aggregator;
    struct list queue;
    size_t queue_bytes;
    bool holding; /* reading is held back */

    struct list wire;  /* entries of the transaction that is being tried */
    bool busy;         /* it is on the wire, or we look what became of it */
    bool resend;       /* it is to be sent again as it was */
    bool telling;      /* it tells those whose id has another's result */
    bool outbox_taken; /* it carries news about the outbox */
    bool dropped;      /* its partitions were given up meanwhile */
    struct range *ranges;
    size_t range_count, range_cap;
    int64_t sent_us;
    int64_t retry_at_ms;
    unsigned tries;
    size_t suspects; /* entries at the head of the queue, one of which is guilty */
    size_t take_max; /* smaller than usual while a guilty entry is searched */
    int store_at;    /* number of quern_store in the transaction; -1: not in it */
    bool look_again; /* a repeat or a dead letter went to the outbox */

    struct rows rows;
    struct map sessions; /* of the final rows in the transaction being made */
    struct buf partitions, epochs, froms, tos;
    struct extras extras;
    struct buf sent, failed, errors;
    char pause[24];
};

struct session_mark {
    struct map_node node;
};

static struct buf *all_bufs(struct store *store, size_t index)
{
    struct buf *singles[] = {&store->partitions, &store->epochs, &store->froms, &store->tos,
                             &store->sent,       &store->failed, &store->errors};
    return index < sizeof(singles) / sizeof(singles[0]) ? singles[index] : NULL;
}

struct store *store_new(struct aggregator *aggregator)
{
    struct store *store = xzalloc(sizeof(*store));
    store->aggregator = aggregator;
    store->take_max = NO_LIMIT;
    list_init(&store->queue);
    list_init(&store->wire);
    map_init(&store->sessions);
    rows_init(&store->rows, aggregator);
    extras_init(&store->extras, aggregator);
    struct buf *buf;
    for (size_t i = 0; (buf = all_bufs(store, i)); i++)
        buf_init(buf, (size_t)1 << 29);
    return store;
}

static void free_entries(struct list *list)
{
    for (struct list_node *node; (node = list_pop(list));)
        entry_free(container_of(node, struct entry, node));
}

void store_free(struct store *store)
{
    if (!store)
        return;
    free_entries(&store->queue);
    free_entries(&store->wire);
    map_done(&store->sessions);
    rows_done(&store->rows);
    extras_done(&store->extras);
    struct buf *buf;
    for (size_t i = 0; (buf = all_bufs(store, i)); i++)
        buf_done(buf);
    free(store->ranges);
    free(store);
}

bool store_busy(const struct store *store)
{
    return store->busy;
}

bool store_idle(const struct store *store)
{
    return !store->busy && list_empty(&store->queue) && list_empty(&store->wire);
}

static void check_backlog(struct store *store)
{
    const struct aggregator_conf *conf = store->aggregator->conf;
    size_t parts = store->queue.count, bytes = store->queue_bytes;
    size_t parts_max = (size_t)conf->backlog_parts_max, bytes_max = (size_t)conf->backlog_bytes_max;
    if (!store->holding && (parts >= parts_max || bytes >= bytes_max)) {
        store->holding = true;
        gather_hold(store->aggregator->gather, true);
    } else if (store->holding && parts <= parts_max / 2 && bytes <= bytes_max / 2) {
        store->holding = false;
        gather_hold(store->aggregator->gather, false);
    }
}

void store_add(struct store *store, struct entry *entry)
{
    list_append(&store->queue, &entry->node);
    store->queue_bytes += entry->bytes;
    check_backlog(store);
}

void store_drop(struct store *store)
{
    free_entries(&store->queue);
    store->queue_bytes = 0;
    if (store->busy)
        store->dropped = true;
    else
        free_entries(&store->wire);
    store->resend = false;
    store->take_max = NO_LIMIT;
    check_backlog(store);
}

/* ---- making a transaction ---- */

static struct range *range_of(struct store *store, int32_t number)
{
    for (size_t i = 0; i < store->range_count; i++)
        if (store->ranges[i].partition == number)
            return &store->ranges[i];
    struct partition *partition = aggregator_partition(store->aggregator, number);
    must(partition); /* entries of lost partitions were dropped */
    if (store->range_count == store->range_cap) {
        store->range_cap = store->range_cap ? store->range_cap * 2 : 16;
        store->ranges = xrealloc(store->ranges, store->range_cap * sizeof(*store->ranges));
    }
    struct range *range = &store->ranges[store->range_count++];
    *range =
        (struct range){number, partition->epoch, partition->next_offset, partition->next_offset};
    return range;
}

/* One session stands in a transaction once at most; a second turn waits for the next one. */
static bool mark_session(struct store *store, const struct entry *entry)
{
    if (!entry->finishes || str_empty(group_ticket(entry->group)->session))
        return true;
    struct arena *arena = &entry->group->first->arena;
    struct str key =
        group_key(arena, group_tenant(entry->group), group_ticket(entry->group)->session);
    if (map_find(&store->sessions, key))
        return false;
    struct session_mark *mark = arena_new(arena, struct session_mark);
    map_add(&store->sessions, &mark->node, key);
    return true;
}

static void take_entries(struct store *store)
{
    const struct aggregator_conf *conf = store->aggregator->conf;
    size_t bytes = 0, count = (size_t)conf->batch_parts_max;
    if (count > store->take_max)
        count = store->take_max;
    for (struct list_node *node; (node = list_first(&store->queue)) && store->wire.count < count;) {
        struct entry *entry = container_of(node, struct entry, node);
        bytes += entry->bytes;
        if (!list_empty(&store->wire) && bytes > (size_t)conf->batch_bytes_max)
            break;
        if (!mark_session(store, entry))
            break;
        list_remove(&store->queue, node);
        store->queue_bytes -= entry->bytes;
        list_append(&store->wire, node);
    }
    for (struct map_node *node; (node = map_any(&store->sessions));)
        map_remove(&store->sessions, node);
}

static void put_back(struct store *store)
{
    while (!list_empty(&store->wire)) {
        struct list_node *last = store->wire.head.prev;
        list_remove(&store->wire, last);
        store->queue_bytes += container_of(last, struct entry, node)->bytes;
        list_prepend(&store->queue, last);
    }
}

static void measure_ranges(struct store *store)
{
    store->range_count = 0;
    LIST_EACH(&store->wire, node)
    {
        const struct entry *entry = container_of(node, struct entry, node);
        struct range *range = range_of(store, entry->partition);
        if (entry->offset >= range->to)
            range->to = entry->offset + 1;
    }
}

static size_t make_fence(struct store *store, struct str *params)
{
    struct buf *columns[] = {&store->partitions, &store->epochs, &store->froms, &store->tos};
    for (size_t i = 0; i < 4; i++) {
        buf_clear(columns[i]);
        postgres_array_begin(columns[i]);
    }
    for (size_t i = 0; i < store->range_count; i++) {
        const struct range *range = &store->ranges[i];
        postgres_array_add_i64(columns[0], range->partition);
        postgres_array_add_i64(columns[1], range->epoch);
        postgres_array_add_i64(columns[2], range->from);
        postgres_array_add_i64(columns[3], range->to);
    }
    params[0] = store->aggregator->conf->group;
    params[1] = store->aggregator->topic_results;
    for (size_t i = 0; i < 4; i++) {
        postgres_array_end(columns[i]);
        params[i + 2] = buf_str(columns[i]);
    }
    return 6;
}

static void stored(const struct postgres_result *result, const struct err *err, void *context);

/* The entries on `wire`: the fence, their rows, their extras. */
static size_t make_entries(struct store *store, struct postgres_query *queries, struct str *fence,
                           struct str *columns)
{
    size_t count = 0;
    rows_begin(&store->rows);
    LIST_EACH(&store->wire, node)
    {
        struct entry *entry = container_of(node, struct entry, node);
        rows_mark(entry);
        store->telling |= entry->foreign;
    }
    extras_begin(&store->extras, store->telling);
    LIST_EACH(&store->wire, node)
    {
        struct entry *entry = container_of(node, struct entry, node);
        rows_add(&store->rows, entry);
        extras_add(&store->extras, entry);
    }
    queries[count++] =
        (struct postgres_query){STATEMENT_FENCE, fence, (int)make_fence(store, fence)};
    if (PLANTED(30))
        count--;
    must(rows_params(&store->rows, columns)); /* batch_bytes_max is far below a column's limit */
    store->store_at = (int)count;
    queries[count++] = (struct postgres_query){
        store->telling ? STATEMENT_STORE_TELLING : STATEMENT_STORE, columns, COLUMN_COUNT};
    size_t extras = extras_queries(&store->extras, queries + count);
    store->look_again = store->extras.repeat_count + store->extras.bury_count > 0;
    return count + extras;
}

/* News about the outbox: what was delivered, what was not. */
static size_t make_outbox(struct store *store, struct postgres_query *queries, struct str *params,
                          bool force)
{
    struct aggregator *aggregator = store->aggregator;
    size_t count = 0;
    if (!store->outbox_taken)
        store->outbox_taken = settle_outbox_take(aggregator->settle, force, &store->sent,
                                                 &store->failed, &store->errors);
    if (!store->outbox_taken)
        return 0;
    snprintf(store->pause, sizeof(store->pause), "%lld",
             (long long)aggregator->conf->reply_retry_ms);
    params[0] = buf_str(&store->sent);
    params[1] = buf_str(&store->failed);
    params[2] = buf_str(&store->errors);
    params[3] = str_of(store->pause);
    if (store->sent.len > 2) /* more than {} */
        queries[count++] = (struct postgres_query){STATEMENT_OUTBOX_SENT, &params[0], 1};
    if (store->failed.len > 2)
        queries[count++] = (struct postgres_query){STATEMENT_OUTBOX_FAILED, &params[1], 3};
    return count;
}

/* Sends what stands on `wire`, with the news about the outbox. */
static void send(struct store *store)
{
    struct aggregator *aggregator = store->aggregator;
    struct str fence[6], columns[COLUMN_COUNT], outbox[4];
    struct postgres_query queries[QUERIES_MAX];
    size_t count = 0;
    store->store_at = -1;
    store->look_again = false;
    measure_ranges(store);
    if (!list_empty(&store->wire))
        count = make_entries(store, queries, fence, columns);
    count += make_outbox(store, queries + count, outbox, count > 0);
    if (count == 0)
        return;
    must(count <= QUERIES_MAX);
    struct err err;
    store->busy = true;
    store->dropped = false;
    store->sent_us = loop_exact_us(aggregator->loop);
    metric_set(METRIC_transaction_parts, (int64_t)store->wire.count);
    CRASH_POINT(batch_built);
    if (!postgres_batch(aggregator->pg, queries, count, POSTGRES_TRANSACTION, stored, store, &err))
        stored(NULL, &err, store);
    CRASH_POINT(batch_sent);
}

void store_run(struct store *store)
{
    struct aggregator *aggregator = store->aggregator;
    if (store->busy || loop_now_ms(aggregator->loop) < store->retry_at_ms)
        return;
    /* With many replies under way only the outbox is written, which makes them fewer. */
    if (!store->resend)
        store->telling = false;
    if (!store->resend && settle_pending(aggregator->settle) <= SETTLE_PENDING_MAX)
        take_entries(store);
    store->resend = false;
    send(store);
    check_backlog(store);
}

/* ---- how it ended ---- */

static void again_later(struct store *store)
{
    struct loop *loop = store->aggregator->loop;
    int64_t pause = PAUSE_MS_MIN;
    for (unsigned i = 0; i < store->tries && pause < PAUSE_MS_MAX; i++)
        pause *= 2;
    store->tries++;
    pause = pause / 2 + (int64_t)rand_below(loop_rand(loop), (uint64_t)pause / 2 + 1);
    store->retry_at_ms = loop_now_ms(loop) + pause;
    store->resend = true;
}

static void clear_marks(struct store *store)
{
    LIST_EACH(&store->wire, node)
    {
        struct entry *entry = container_of(node, struct entry, node);
        if (entry->group)
            entry->group->row = NULL;
    }
}

static void move_offsets(struct store *store)
{
    for (size_t i = 0; i < store->range_count; i++) {
        const struct range *range = &store->ranges[i];
        struct partition *p = aggregator_partition(store->aggregator, range->partition);
        if (p && p->epoch == range->epoch)
            p->next_offset = range->to;
    }
}

/* What the store said of each row: taken or not, which turn, which row of the outbox. */
struct verdict_of_row {
    bool taken;
    int64_t turn, outbox;
};

static struct verdict_of_row *read_verdicts(struct store *store,
                                            const struct postgres_result *result)
{
    struct verdict_of_row *verdicts = xcalloc((size_t)store->rows.ord + 1, sizeof(*verdicts));
    const struct postgres_rows *rows =
        result && store->store_at >= 0 ? &result->rows[store->store_at] : NULL;
    for (size_t i = 0; rows && i < rows->count; i++) {
        int64_t ord = postgres_cell_i64(rows, i, 0);
        must(ord >= 1 && ord <= store->rows.ord);
        verdicts[ord] = (struct verdict_of_row){
            true, postgres_is_null(rows, i, 1) ? 0 : postgres_cell_i64(rows, i, 1),
            postgres_is_null(rows, i, 2) ? 0 : postgres_cell_i64(rows, i, 2)};
    }
    return verdicts;
}

/* `known`: the verdicts are; else only that it was stored, and the outbox knows the rest. */
static void finish_entry(struct store *store, struct entry *entry, bool known,
                         const struct verdict_of_row *verdicts)
{
    struct aggregator *aggregator = store->aggregator;
    struct group *group = entry->group;
    if (!group || group->row != entry)
        return;
    const struct verdict_of_row *verdict = &verdicts[group->ord];
    if (entry->finishes && verdict->taken)
        settle_final(aggregator->settle, group, verdict->turn, verdict->outbox);
    if (entry->finishes || (known && !verdict->taken))
        gather_forget(aggregator->gather, group);
}

/* The guilty entry was found, or every suspect passed. */
static void search_ended(struct store *store)
{
    size_t passed = store->wire.count;
    store->suspects -= passed < store->suspects ? passed : store->suspects;
    LIST_EACH(&store->wire, node)
    if (container_of(node, struct entry, node)->poisoned)
        store->suspects = 0;
    if (store->suspects == 0)
        store->take_max = NO_LIMIT;
}

static void finish(struct store *store, const struct postgres_result *result)
{
    struct aggregator *aggregator = store->aggregator;
    bool known = result != NULL;
    struct verdict_of_row *verdicts = read_verdicts(store, result);
    move_offsets(store);
    search_ended(store);
    LIST_EACH(&store->wire, node)
    finish_entry(store, container_of(node, struct entry, node), known, verdicts);
    clear_marks(store);
    free_entries(&store->wire);
    free(verdicts);
    store->tries = 0;
    if (store->outbox_taken)
        settle_outbox_taken(aggregator->settle, true);
    store->outbox_taken = false;
    if (store->look_again || !known)
        settle_sweep(aggregator->settle);
    store->look_again = false;
}

static void leave_group(struct store *store, struct entry *entry)
{
    struct group *group = entry->group;
    struct part *part = entry->part;
    if (part->slotted) {
        group->parts[part->result.slot] = NULL;
        part->slotted = false;
    }
    entry->finishes = entry->opens = false;
    entry->group = NULL;
    gather_forget(store->aggregator->gather, group);
    group_unref(group);
}

/* This one entry is what PostgreSQL refuses. First its content goes and its request fails; if even
 * that is refused, only the dead letter stays. */
static void poison(struct store *store, struct entry *entry, const struct err *err)
{
    log_error("a result cannot be stored, it goes to the dead letters",
              LOG_I("partition", entry->partition), LOG_I("offset", entry->offset),
              LOG_C("error", err->text));
    if (!entry->part || (entry->poisoned && !entry->group)) {
        app_fail(store->aggregator->app, err, EXIT_FAILED);
        return;
    }
    if (entry->poisoned) {
        leave_group(store, entry);
        return;
    }
    entry->poisoned = true;
    entry->kind = ENTRY_DEAD;
    entry->dead_code = ERR_INTERNAL;
    free(entry->dead_reason);
    entry->dead_reason = xstrdup(err->text);
    struct group *group = entry->group;
    if (!group || (!entry->finishes && !entry->opens))
        return;
    struct final *final = &group->final;
    group->is_final = true;
    entry->finishes = true;
    *final = (struct final){.status = STR("failed"), .winner = -1, .agreement = __builtin_nan("")};
    final->error.code = str_of(err_name(ERR_INTERNAL));
    final->error.message = STR("the result could not be stored");
    final->error.retry = STR("never");
    struct result *shown = &group->first->result;
    shown->request.metadata = shown->request.unknown = shown->request.question = NULL;
}

static void data_error(struct store *store, const struct err *err)
{
    size_t count = store->wire.count;
    if (count == 1)
        poison(store, container_of(list_first(&store->wire), struct entry, node), err);
    else
        log_warn("a transaction was refused, searching for the part it is about",
                 LOG_I("parts", count), LOG_C("error", err->text));
    put_back(store);
    if (store->suspects == 0)
        store->suspects = count;
    store->take_max = count > 1 ? count / 2 : 1;
    store->retry_at_ms = 0;
}

/* The partitions are not ours any more: whoever owns them begins where PostgreSQL stands. */
static void abandon(struct store *store)
{
    clear_marks(store);
    free_entries(&store->wire);
    store->busy = false;
    store->resend = false;
    if (store->outbox_taken)
        settle_outbox_taken(store->aggregator->settle, false);
    store->outbox_taken = false;
    gather_store_idle(store->aggregator->gather);
}

static void look_what_happened(struct store *store);

static void looked(const struct postgres_result *result, const struct err *err, void *context)
{
    struct store *store = context;
    if (store->dropped) {
        abandon(store);
        return;
    }
    if (err) {
        look_what_happened(store);
        return;
    }
    size_t ours = 0, moved = 0, to_move = 0;
    for (size_t i = 0; i < store->range_count; i++) {
        const struct range *range = &store->ranges[i];
        to_move += range->to != range->from;
        for (size_t row = 0; row < result->rows[0].count; row++) {
            if (postgres_cell_i64(&result->rows[0], row, 0) != range->partition)
                continue;
            int64_t next = postgres_cell_i64(&result->rows[0], row, 1);
            ours += postgres_cell_i64(&result->rows[0], row, 2) == range->epoch;
            moved += range->to != range->from && next == range->to;
        }
    }
    log_info("a lost answer is cleared up", LOG_B("stored", moved && moved == to_move),
             LOG_B("ours", ours == store->range_count));
    store->busy = false;
    if (ours != store->range_count) {
        abandon(store);
        gather_fenced(store->aggregator->gather);
    } else if (moved && moved == to_move) {
        finish(store, NULL);
    } else {
        /* Nothing moved, or there was nothing to move: then doing it twice is harmless, because
         * what is final already stays as it is, and its reply waits in the outbox. */
        clear_marks(store);
        again_later(store);
        settle_sweep(store->aggregator->settle);
    }
}

/* Answered when the connection is back: the door keeps the question for as long as its time-out,
 * and we ask again. */
static void look_what_happened(struct store *store)
{
    struct aggregator *aggregator = store->aggregator;
    const struct str params[] = {aggregator->conf->group, aggregator->topic_results,
                                 buf_str(&store->partitions)};
    const struct postgres_query query = {STATEMENT_OFFSETS, params, 3};
    struct err err;
    if (!postgres_batch(aggregator->pg, &query, 1, 0, looked, store, &err))
        app_fail(aggregator->app, &err, EXIT_FAILED); /* the queue is never that long */
}

static bool is_data_error(const struct postgres_result *result, const struct err *err)
{
    return result && result->sqlstate[0] && err->code == ERR_INTERNAL &&
           (strncmp(result->sqlstate, "22", 2) == 0 || strncmp(result->sqlstate, "23", 2) == 0 ||
            strncmp(result->sqlstate, "54", 2) == 0);
}

static void failed(struct store *store, const struct postgres_result *result, const struct err *err)
{
    struct aggregator *aggregator = store->aggregator;
    clear_marks(store);
    if (err->code == ERR_FENCED) {
        gather_fenced(aggregator->gather);
        return;
    }
    if (result && str_is(str_of(result->sqlstate), OTHER_BODY_SQLSTATE)) {
        log_warn("an id was answered for two bodies, who published the later one is told");
        store->telling = store->resend = true;
        return;
    }
    /* A unique key may be taken by a transaction we did not see; the second try sees it. */
    bool clash = result && str_is(str_of(result->sqlstate), "23505") && store->tries == 0;
    if (is_data_error(result, err) && !clash && !list_empty(&store->wire)) {
        data_error(store, err);
        return;
    }
    if (store->tries == 0)
        log_warn("not stored, tried again", LOG_I("parts", store->wire.count),
                 LOG_C("error", err->text));
    again_later(store);
}

static void stored(const struct postgres_result *result, const struct err *err, void *context)
{
    struct store *store = context;
    struct aggregator *aggregator = store->aggregator;
    store->busy = false;
    double ms = (double)(loop_exact_us(aggregator->loop) - store->sent_us) / 1000;
    metric_observe_ms(METRIC_transaction_seconds, ms);
    metric_add_for(METRIC_transactions_total, err ? STR("failed") : STR("stored"), 1);
    if (!err) {
        CRASH_POINT(batch_stored);
        finish(store, result);
    } else if (store->dropped) {
        abandon(store);
        return;
    } else if (result && result->unknown && !list_empty(&store->wire)) {
        store->busy = true;
        look_what_happened(store);
        return;
    } else {
        failed(store, result, err);
    }
    if (err && store->outbox_taken && !store->resend) {
        settle_outbox_taken(aggregator->settle, false);
        store->outbox_taken = false;
    }
    gather_store_idle(aggregator->gather);
}
