/*
 * store.c -- entries wait in one queue and go to PostgreSQL in order, many in one transaction, one
 * transaction at a time: what arrives while one is on the wire goes with the next.
 *
 * The transaction begins with the fence (our epoch, the offsets we believe in), so it happens once
 * or not at all; how it can end stands in ended.c.
 *
 * At most `backlog_*_max` wait; beyond it reading is held until half of it is gone.
 */
#include "aggregator/store/inside.h"

#include "common/base/crash.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/xalloc.h"

enum { QUERIES_MAX = 4 + EXTRAS_QUERIES_MAX, SETTLE_PENDING_MAX = 20000 };

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
    store->take_max = STORE_NO_LIMIT;
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

void store_free_entries(struct list *list)
{
    for (struct list_node *node; (node = list_pop(list));)
        entry_free(container_of(node, struct entry, node));
}

void store_free(struct store *store)
{
    if (!store)
        return;
    store_free_entries(&store->queue);
    store_free_entries(&store->wire);
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
    store_free_entries(&store->queue);
    store->queue_bytes = 0;
    if (store->busy)
        store->dropped = true;
    else
        store_free_entries(&store->wire);
    store->resend = false;
    store->take_max = STORE_NO_LIMIT;
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
    if (!postgres_batch(aggregator->pg, queries, count, POSTGRES_TRANSACTION, store_ended, store,
                        &err))
        store_ended(NULL, &err, store);
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
