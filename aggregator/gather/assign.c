/*
 * assign.c -- partitions come and go.
 *
 * Taking over is one transaction: a new epoch for every partition, then the parts of the requests
 * that are open there. From that moment the former owner's transactions are refused. Reading begins
 * at the offset that PostgreSQL knows; if Kafka does not have it any more, results were lost and we
 * stop. Whoever stood still since the assignment waits for Kafka's word before it takes over.
 * Offsets are committed to Kafka, too, now and then, for those who watch the lag.
 *
 * Giving up: what is not on the wire is dropped, the next owner reads it again. A transaction on
 * the wire is waited for, for a moment: it spares the next owner the work.
 */
#include "aggregator/gather/inside.h"

#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/xalloc.h"

enum { ASK_AGAIN_MS = 300, RELEASE_MS_MAX = 2000, FENCED_MS_MAX = 20000 };
enum {
    LATE_MS = 1000,      /* a timer so late says that we stood still */
    HEARTBEAT_MS = 3000, /* within that Kafka has told us what we missed */
    FRESH_MS = 5000,     /* so long the end of a partition is as it was at its assignment */
};

static void own(struct gather *gather);

/* A take-over under way. The door forgets its questions when it is freed; we do not. */
struct ownership {
    struct list_node node; /* in gather->questions */
    struct aggregator *aggregator;
    unsigned generation;
};

static void partition_ensure(struct aggregator *aggregator, int32_t number)
{
    must(number >= 0);
    size_t count = (size_t)number + 1;
    if (count <= aggregator->partition_count)
        return;
    aggregator->partitions =
        xrealloc(aggregator->partitions, count * sizeof(*aggregator->partitions));
    memset(aggregator->partitions + aggregator->partition_count, 0,
           (count - aggregator->partition_count) * sizeof(*aggregator->partitions));
    aggregator->partition_count = count;
}

void assign_assigned(const struct kafka_partition *partitions, size_t count, void *context)
{
    struct aggregator *aggregator = context;
    for (size_t i = 0; i < count; i++) {
        partition_ensure(aggregator, partitions[i].partition);
        aggregator->partitions[partitions[i].partition] =
            (struct partition){.assigned = true,
                               .low = partitions[i].low,
                               .high = partitions[i].high,
                               .committed = partitions[i].committed};
    }
    aggregator->gather->assigned_ms = loop_now_ms(aggregator->loop);
    log_info("partitions assigned", LOG_I("count", count));
    CRASH_POINT(results_assigned);
    if (count)
        own(aggregator->gather);
}

static void offsets_lost(struct aggregator *aggregator, int32_t number)
{
    const struct partition *p = &aggregator->partitions[number];
    struct err err;
    err_set(&err, ERR_OFFSET_LOST,
            "topic '" STR_FMT "' partition %d is stored up to offset %lld, but Kafka has %lld to"
            " %lld; see docs/operation.md, 'Lost offsets'",
            STR_ARG(aggregator->topic_results), number, (long long)p->next_offset,
            (long long)p->low, (long long)p->high);
    app_fail(aggregator->app, &err, EXIT_FAILED);
}

static struct str unhex(struct arena *arena, struct str hex)
{
    char *bytes = arena_alloc(arena, hex.len / 2 + 1);
    for (size_t i = 0; i + 1 < hex.len; i += 2) {
        int high = hex.data[i] <= '9' ? hex.data[i] - '0' : hex.data[i] - 'a' + 10;
        int low = hex.data[i + 1] <= '9' ? hex.data[i + 1] - '0' : hex.data[i + 1] - 'a' + 10;
        bytes[i / 2] = (char)(high << 4 | low);
    }
    return str_from(bytes, hex.len / 2);
}

/* One row: a part of an open request. */
static void load_part(struct gather *gather, const struct postgres_rows *rows, size_t row)
{
    struct aggregator *aggregator = gather->aggregator;
    struct str tenant = postgres_cell(rows, row, 0), id = postgres_cell(rows, row, 1);
    struct part *part =
        part_new(aggregator->pool, (size_t)aggregator->conf->shared.message_bytes_max * 6);
    struct err err = {0};
    part->content_type = arena_str(&part->arena, postgres_cell(rows, row, 6));
    part->raw = unhex(&part->arena, postgres_cell(rows, row, 7));
    struct map_node *node = map_find(&gather->groups, group_key(&part->arena, tenant, id));
    struct group *group = node ? container_of(node, struct group, node) : NULL;
    if (!group) {
        group = group_new(tenant, id, (int32_t)postgres_cell_i64(rows, row, 2),
                          (unsigned)postgres_cell_i64(rows, row, 3));
        group->deadline_ms = postgres_cell_i64(rows, row, 4);
        group->accepted_ms = postgres_cell_i64(rows, row, 5);
        map_add(&gather->groups, &group->node, group_whole_key(group));
        heap_add(&gather->due, &group->due, group->deadline_ms);
    }
    if (!part_read(part, &err) || !group_take(group, part)) {
        log_error("a stored part cannot be used", LOG_S("id", id), LOG_C("error", err.text));
        part_free(part);
        if (!group->first)
            gather_forget(gather, group);
    }
}

/* Stored further than the partition went when it was assigned to us, a while ago: somebody else had
 * it meanwhile, and Kafka has yet to tell us. */
static bool is_overtaken(const struct gather *gather, const struct partition *p)
{
    int64_t age = loop_now_ms(gather->aggregator->loop) - gather->assigned_ms;
    return p->next_offset > p->high && age > FRESH_MS;
}

/* False: offsets were lost, or the partitions are not ours any more. */
static bool take_over(struct gather *gather, const struct postgres_rows *rows)
{
    struct aggregator *aggregator = gather->aggregator;
    for (size_t i = 0; i < rows->count; i++) {
        int32_t number = (int32_t)postgres_cell_i64(rows, i, 0);
        must(number >= 0 && (size_t)number < aggregator->partition_count);
        struct partition *p = &aggregator->partitions[number];
        p->next_offset = postgres_cell_i64(rows, i, 1);
        p->epoch = postgres_cell_i64(rows, i, 2);
        if (is_overtaken(gather, p)) {
            gather_fenced(gather);
            return false;
        }
        if (p->next_offset < p->low || p->next_offset > p->high) {
            offsets_lost(aggregator, number);
            return false;
        }
        p->owned = true;
    }
    return true;
}

static void start_reading(struct gather *gather)
{
    struct aggregator *aggregator = gather->aggregator;
    for (size_t i = 0; i < aggregator->partition_count; i++) {
        const struct partition *p = &aggregator->partitions[i];
        if (!p->owned)
            continue;
        kafka_start(aggregator->consumer, aggregator->topic_results.data, (int32_t)i,
                    PLANTED(24) ? p->high : p->next_offset);
        if (gather->held || aggregator->draining)
            kafka_pause(aggregator->consumer, aggregator->topic_results.data, (int32_t)i);
    }
}

static void own_later(struct gather *gather, int64_t pause_ms);

/* Who stood still for long may not be a member any more: taking over would throw out the one who
 * owns the partitions now. Kafka speaks first. */
static void own_again(void *context)
{
    struct gather *gather = context;
    if (loop_now_ms(gather->aggregator->loop) > gather->own_due_ms + LATE_MS)
        own_later(gather, HEARTBEAT_MS);
    else
        own(gather);
}

static void own_later(struct gather *gather, int64_t pause_ms)
{
    struct loop *loop = gather->aggregator->loop;
    gather->own_due_ms = loop_now_ms(loop) + pause_ms;
    timer_set(loop, &gather->own_timer, gather->own_due_ms, own_again, gather);
}

static void owned(const struct postgres_result *result, const struct err *err, void *context)
{
    struct ownership *question = context;
    struct aggregator *aggregator = question->aggregator;
    struct gather *gather = aggregator->gather;
    bool stale = question->generation != aggregator->generation;
    list_remove(&gather->questions, &question->node);
    free(question);
    if (stale)
        return;
    gather->owning = false;
    if (err) {
        log_debug("partitions not taken over yet", LOG_C("error", err->text));
        own_later(gather, ASK_AGAIN_MS);
        return;
    }
    if (!take_over(gather, &result->rows[0]))
        return;
    for (size_t i = 0; i < result->rows[1].count && !PLANTED(25); i++)
        load_part(gather, &result->rows[1], i);
    log_info("partitions taken over", LOG_I("partitions", result->rows[0].count),
             LOG_I("open_requests", gather->groups.count));
    CRASH_POINT(results_owned);
    start_reading(gather);
    settle_sweep(aggregator->settle);
}

void assign_forget(struct gather *gather)
{
    for (struct list_node *node; (node = list_pop(&gather->questions));)
        free(container_of(node, struct ownership, node));
}

static void own(struct gather *gather)
{
    struct aggregator *aggregator = gather->aggregator;
    struct ownership *question = xzalloc(sizeof(*question));
    struct buf numbers, lows;
    struct err err;
    buf_init(&numbers, 1 << 20);
    buf_init(&lows, 1 << 20);
    postgres_array_begin(&numbers);
    postgres_array_begin(&lows);
    for (size_t i = 0; i < aggregator->partition_count; i++) {
        if (!aggregator->partitions[i].assigned)
            continue;
        postgres_array_add_i64(&numbers, (int64_t)i);
        postgres_array_add_i64(&lows, aggregator->partitions[i].low);
    }
    postgres_array_end(&numbers);
    postgres_array_end(&lows);
    struct str params[] = {aggregator->conf->group, aggregator->topic_results, buf_str(&numbers),
                           buf_str(&lows), str_of(aggregator->owner)};
    const struct postgres_query queries[] = {{STATEMENT_OWN, params, 5},
                                             {STATEMENT_LOAD, &params[2], 1}};
    *question = (struct ownership){.aggregator = aggregator, .generation = aggregator->generation};
    list_append(&gather->questions, &question->node);
    gather->owning = true;
    if (!postgres_batch(aggregator->pg, queries, 2, POSTGRES_TRANSACTION, owned, question, &err))
        owned(NULL, &err, question);
    buf_done(&numbers);
    buf_done(&lows);
}

static void give_up(struct gather *gather)
{
    struct aggregator *aggregator = gather->aggregator;
    aggregator->generation++;
    gather->owning = false;
    timer_cancel(aggregator->loop, &gather->own_timer);
    for (size_t i = 0; i < aggregator->partition_count; i++)
        aggregator->partitions[i].owned = aggregator->partitions[i].assigned = false;
    store_drop(aggregator->store);
    gather_clear(gather);
}

static void release(void *context)
{
    struct gather *gather = context;
    gather->revoking = false;
    timer_cancel(gather->aggregator->loop, &gather->release_timer);
    kafka_release(gather->aggregator->consumer);
}

void assign_revoked(bool lost, void *context)
{
    struct aggregator *aggregator = context;
    struct gather *gather = aggregator->gather;
    log_info("partitions revoked", LOG_B("lost", lost));
    gather->fenced = false;
    timer_cancel(aggregator->loop, &gather->fence_timer);
    give_up(gather);
    gather->revoking = true;
    CRASH_POINT(results_revoked);
    if (lost || !store_busy(aggregator->store))
        release(gather);
    else
        timer_set(aggregator->loop, &gather->release_timer,
                  loop_now_ms(aggregator->loop) + RELEASE_MS_MAX, release, gather);
}

void gather_store_idle(struct gather *gather)
{
    if (gather->revoking && !store_busy(gather->aggregator->store))
        release(gather);
}

static void still_fenced(void *context)
{
    struct gather *gather = context;
    struct err err;
    err_set(&err, ERR_FENCED,
            "another process owns our partitions in PostgreSQL, but Kafka did not"
            " take them from us; starting over");
    app_fail(gather->aggregator->app, &err, EXIT_FAILED);
}

void gather_fenced(struct gather *gather)
{
    struct aggregator *aggregator = gather->aggregator;
    if (gather->fenced)
        return;
    gather->fenced = true;
    log_warn("fenced: another process owns our partitions, everything of ours is dropped");
    give_up(gather);
    CRASH_POINT(results_fenced);
    timer_set(aggregator->loop, &gather->fence_timer, loop_now_ms(aggregator->loop) + FENCED_MS_MAX,
              still_fenced, gather);
}

void assign_committed(const struct kafka_offset *offsets, size_t count, const struct err *err,
                      void *context)
{
    (void)offsets;
    (void)context;
    if (err)
        log_debug("offsets not committed to Kafka", LOG_I("partitions", count),
                  LOG_C("error", err->text));
}

static void commit(void *context)
{
    struct gather *gather = context;
    struct aggregator *aggregator = gather->aggregator;
    struct kafka_offset *offsets = xcalloc(aggregator->partition_count + 1, sizeof(*offsets));
    size_t count = 0;
    for (size_t i = 0; i < aggregator->partition_count; i++) {
        struct partition *p = &aggregator->partitions[i];
        if (!p->owned || p->committed == p->next_offset)
            continue;
        p->committed = p->next_offset; /* a commit that fails is overtaken by the next one */
        offsets[count++] =
            (struct kafka_offset){aggregator->topic_results.data, (int32_t)i, p->next_offset};
    }
    /* A commit that waits for a broker may reach it under a membership that has ended meanwhile,
     * and the broker then believes that somebody else has our place. */
    if (count && kafka_consumer_up(aggregator->consumer)) {
        kafka_commit(aggregator->consumer, offsets, count);
        CRASH_POINT(lag_told);
    }
    free(offsets);
    timer_set(aggregator->loop, &gather->commit_timer,
              loop_now_ms(aggregator->loop) + aggregator->conf->commit_interval_ms, commit, gather);
}

void gather_events(struct aggregator *aggregator, struct kafka_consumer_events *ret)
{
    *ret = (struct kafka_consumer_events){
        .on_record = gather_record,
        .on_assigned = assign_assigned,
        .on_revoked = assign_revoked,
        .on_committed = assign_committed,
        .on_end = gather_end,
        .context = aggregator,
    };
    timer_set(aggregator->loop, &aggregator->gather->commit_timer,
              loop_now_ms(aggregator->loop) + aggregator->conf->commit_interval_ms, commit,
              aggregator->gather);
}
