/*
 * assign.c -- partitions come and go: where reading begins, what is committed, how a partition is
 * given up.
 *
 * Where reading begins: at the committed offset. A partition without one is either new, or its
 * commits were lost. The first assignment ever leaves a row in PostgreSQL (kafka_offsets) with the
 * low watermark of that moment; a partition with a row and without a commit may be read from that
 * mark as long as Kafka still has it (what was done is recognised), else messages may have been
 * lost and we stop. As soon as the row is written the mark is committed, too: a partition that
 * never had a record would have no commit for ever, and Kafka's door reads nothing before all
 * partitions are started, so that a worker could not be started again while PostgreSQL is away.
 */
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/xalloc.h"
#include "worker/intake/ahead.h"

enum { ASK_AGAIN_MS = 1000, REDIS_WAIT_MS = 1000, REDIS_LOOK_MS = 10 };

static struct lane *lane_of(struct intake *intake, const char *topic)
{
    for (size_t i = 0; i < intake->lane_count; i++)
        if (str_is(intake->lanes[i].topic, topic))
            return &intake->lanes[i];
    must_not_reach("a partition of a topic we did not subscribe to");
}

static void begin_again(void *context);

/* A process that has just begun may be faster than its connection to Redis, and would pay again for
 * answers that are kept there. */
static bool waits_for_redis(struct partition *p)
{
    struct worker *worker = p->worker;
    if (!redis_enabled(worker->redis) || redis_up(worker->redis) ||
        loop_wall_ms(worker->loop) - worker->incarnation >= REDIS_WAIT_MS)
        return false;
    timer_set(worker->loop, &p->retry, loop_now_ms(worker->loop) + REDIS_LOOK_MS, begin_again, p);
    return true;
}

static void begin_at(struct partition *p, int64_t offset)
{
    struct worker *worker = p->worker;
    if (PLANTED(3))
        offset = p->high;
    p->first = offset;
    if (waits_for_redis(p))
        return;
    p->tracker = offset_tracker_new(offset);
    kafka_start(worker->consumer, p->topic, p->number, offset);
    if (p->lane->paused || worker->draining)
        kafka_pause(worker->consumer, p->topic, p->number);
    log_debug("reading begins", LOG_C("topic", p->topic), LOG_I("partition", p->number),
              LOG_I("offset", offset), LOG_I("high", p->high));
}

static void begin_again(void *context)
{
    struct partition *p = context;
    begin_at(p, p->first);
}

static void offsets_lost(struct partition *p, int64_t expected)
{
    struct err err;
    err_set(&err, ERR_OFFSET_LOST,
            "topic '%s' partition %d was read before from offset %lld on, but Kafka's oldest record"
            " is %lld; see docs/operation.md, 'Lost offsets'",
            p->topic, p->number, (long long)expected, (long long)p->low);
    app_fail(p->worker->app, &err, EXIT_FAILED);
}

static void ask_first(void *context);

static void first_answered(const struct postgres_result *result, const struct err *err,
                           void *context)
{
    struct partition *p = context;
    p->asking = false;
    list_remove(&p->worker->intake->asking, &p->ask_node);
    if (p->owned && err) {
        timer_set(p->worker->loop, &p->retry, loop_now_ms(p->worker->loop) + ASK_AGAIN_MS,
                  ask_first, p);
    } else if (p->owned) {
        const struct postgres_rows *rows = &result->rows[0];
        bool is_new = rows->count == 1 && postgres_cell_i64(rows, 0, 1) == 1;
        int64_t mark = rows->count == 1 ? postgres_cell_i64(rows, 0, 0) : 0;
        if (!is_new && p->low > mark)
            offsets_lost(p, mark);
        else
            begin_at(p, p->low);
    }
    partition_release(p);
}

static void ask_first(void *context)
{
    struct partition *p = context;
    struct worker *worker = p->worker;
    char number[24], low[24];
    snprintf(number, sizeof(number), "%d", p->number);
    snprintf(low, sizeof(low), "%lld", (long long)p->low);
    const struct str params[] = {worker->conf->group, str_of(p->topic), str_of(number), str_of(low),
                                 str_of(worker->instance)};
    const struct postgres_query query = {
        .statement = STATEMENT_FIRST_ASSIGNED, .params = params, .param_count = 5};
    struct err err;
    p->asking = true;
    list_append(&worker->intake->asking, &p->ask_node);
    p->jobs++; /* the question keeps it alive */
    if (!postgres_batch(worker->pg, &query, 1, 0, first_answered, p, &err))
        first_answered(NULL, &err, p);
}

static void take_partition(struct worker *worker, const struct kafka_partition *given)
{
    struct partition *p = xzalloc(sizeof(*p));
    p->worker = worker;
    p->lane = lane_of(worker->intake, given->topic);
    p->topic = given->topic;
    p->number = given->partition;
    p->owned = p->listed = true;
    p->high = given->high;
    p->low = given->low;
    p->committed = given->committed;
    list_append(&worker->intake->partitions, &p->node);
    if (given->committed < 0)
        ask_first(p);
    else if (given->committed < given->low)
        offsets_lost(p, given->committed);
    else
        begin_at(p, given->committed);
}

static void forget_partitions(struct intake *intake);

/* A group that throws us out while we drain ends the revoke without a word: whatever is listed when
 * new partitions come is not ours any more. */
static void end_revoke(struct intake *intake)
{
    timer_cancel(intake->worker->loop, &intake->release_timer);
    intake->revoking = intake->releasing = false;
    if (list_empty(&intake->partitions))
        return;
    forget_partitions(intake);
}

void intake_assigned(const struct kafka_partition *partitions, size_t count, void *context)
{
    struct worker *worker = context;
    end_revoke(worker->intake);
    for (size_t i = 0; i < count; i++)
        take_partition(worker, &partitions[i]);
    CRASH_POINT(requests_assigned);
    log_info("partitions assigned", LOG_I("count", count));
}

/* Frees a partition that is neither ours nor pointed to any more. During the drain of a revoke it
 * is not ours any more, and still in the list for its last commit. */
static void partition_free_if_unused(struct partition *p)
{
    if (p->jobs || p->owned || p->listed)
        return;
    timer_cancel(p->worker->loop, &p->retry);
    offset_tracker_free(p->tracker);
    free(p);
}

void partition_release(struct partition *p)
{
    must(p->jobs > 0);
    p->jobs--;
    partition_free_if_unused(p);
}

bool intake_commit(struct intake *intake)
{
    struct kafka_offset *offsets = xcalloc(intake->partitions.count + 1, sizeof(*offsets));
    size_t count = 0;
    LIST_EACH(&intake->partitions, node)
    {
        struct partition *p = container_of(node, struct partition, node);
        if (!p->tracker || offset_tracker_low(p->tracker) <= p->committed)
            continue;
        p->committed = offset_tracker_low(p->tracker);
        offsets[count++] = (struct kafka_offset){p->topic, p->number, p->committed};
    }
    if (count) {
        kafka_commit(intake->worker->consumer, offsets, count);
        CRASH_POINT(commit_sent);
    }
    free(offsets);
    return count > 0;
}

/* The next commit says the same or more. */
static void commit_again(struct intake *intake, const struct kafka_offset *offset)
{
    LIST_EACH(&intake->partitions, node)
    {
        struct partition *p = container_of(node, struct partition, node);
        if (p->number == offset->partition && strcmp(p->topic, offset->topic) == 0)
            p->committed = -1;
    }
}

void intake_committed(const struct kafka_offset *offsets, size_t count, const struct err *err,
                      void *context)
{
    struct worker *worker = context;
    struct intake *intake = worker->intake;
    if (err)
        log_warn("offsets not committed, they go with the next commit", LOG_I("partitions", count),
                 LOG_C("error", err->text));
    for (size_t i = 0; err && i < count; i++)
        commit_again(intake, &offsets[i]);
    CRASH_POINT(commit_answered);
    if (intake->releasing) {
        intake->releasing = false;
        kafka_release(worker->consumer);
    }
}

static void forget_partitions(struct intake *intake)
{
    for (struct list_node *node; (node = list_pop(&intake->partitions));) {
        struct partition *p = container_of(node, struct partition, node);
        timer_cancel(p->worker->loop, &p->retry);
        offset_tracker_free(p->tracker);
        p->tracker = NULL;
        p->owned = p->listed = false;
        partition_free_if_unused(p);
    }
    sessions_forget_idle(intake);
    intake->worker->wake_lost(intake->worker);
}

/* The drain of a revoke is over: commit what is finished, give the partitions up. */
static void release_now(void *context)
{
    struct intake *intake = context;
    struct worker *worker = intake->worker;
    timer_cancel(worker->loop, &intake->release_timer);
    intake->revoking = false;
    bool commits = intake_commit(intake);
    forget_partitions(intake);
    CRASH_POINT(requests_released);
    if (commits)
        intake->releasing = true; /* on_committed releases */
    else
        kafka_release(worker->consumer);
}

/* Calls under way may end within the drain time; nothing new begins meanwhile. */
void intake_revoked(bool lost, void *context)
{
    struct worker *worker = context;
    struct intake *intake = worker->intake;
    log_info("partitions revoked", LOG_I("count", intake->partitions.count), LOG_B("lost", lost));
    LIST_EACH(&intake->partitions, node)
    container_of(node, struct partition, node)->owned = false;
    ahead_drop(intake, true);
    CRASH_POINT(requests_revoked);
    for (size_t i = 0; i < intake->lane_count; i++)
        intake->lanes[i].paused = false;
    if (lost) {
        end_revoke(intake);
        intake_wake_parked(intake);
        worker->wake_unpaid(worker);
        kafka_release(worker->consumer);
        return;
    }
    intake->revoking = true;
    timer_set(worker->loop, &intake->release_timer,
              loop_now_ms(worker->loop) + worker->conf->revoke_drain_ms, release_now, intake);
    intake_wake_parked(intake);
    worker->wake_unpaid(worker);
    intake_check_released(intake);
}

/* After each ended job: was it the last one that a revoke or a drain waits for? */
void intake_check_released(struct intake *intake)
{
    if (intake->jobs_count)
        return;
    if (intake->revoking)
        release_now(intake);
    if (intake->worker->draining) {
        intake_commit(intake);
        app_drained(intake->worker->app);
    }
}
