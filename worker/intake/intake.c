/*
 * intake.c -- records become jobs, jobs wait for room, ended jobs finish their offsets.
 */
#include <stddef.h>

#include "common/app/metrics.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/xalloc.h"
#include "worker/intake/ahead.h"

/* The desk of one job: request, prompt, provider's reply and packed result, with room to spare. */
enum { JOB_ARENA_FACTOR = 8 };

static struct partition *find_partition(struct intake *intake, const struct kafka_record *record)
{
    LIST_EACH(&intake->partitions, node)
    {
        struct partition *p = container_of(node, struct partition, node);
        if (p->number == record->partition && strcmp(p->topic, record->topic) == 0)
            return p;
    }
    return NULL;
}

/* A copy of the record with room for just the headers it has; the bytes stay the library's. */
static struct kafka_record *keep_record(struct kafka_record *record, struct arena *arena)
{
    size_t bytes = kafka_record_head_bytes(record);
    kafka_record_keep(record, arena);
    struct kafka_record *copy = arena_alloc(arena, bytes);
    memcpy(copy, record, bytes);
    return copy;
}

struct job *intake_job_new(struct intake *intake, struct partition *partition)
{
    struct worker *worker = intake->worker;
    struct list_node *spare = list_pop(&intake->spare_jobs);
    struct job *job = spare ? container_of(spare, struct job, node) : xzalloc(sizeof(*job));
    memset(job, 0, offsetof(struct job, err));
    err_clear(&job->err);
    job->magic = JOB_MAGIC;
    job->worker = worker;
    job->partition = partition;
    job->batch = partition->lane->batch;
    list_init(&job->followers);
    size_t ceiling =
        (size_t)worker->conf->request_bytes_max + (size_t)worker->conf->reply_bytes_max;
    arena_init(&job->arena, worker->pool, ceiling * JOB_ARENA_FACTOR);
    partition->jobs++;
    intake->jobs_count++;
    return job;
}

void intake_job_fill(struct job *job, struct kafka_record *record)
{
    job->record = keep_record(record, &job->arena);
    job->replayed = record->offset < job->partition->high;
}

static void free_copy(void *copy)
{
    free(copy);
}

void intake_job_adopt(struct job *job, struct kafka_record *copy)
{
    arena_defer(&job->arena, free_copy, copy);
    job->record = copy;
    job->replayed = copy->offset < job->partition->high;
}

static void lane_pause(struct intake *intake, struct lane *lane, bool pause)
{
    if (lane->paused == pause)
        return;
    lane->paused = pause;
    LIST_EACH(&intake->partitions, node)
    {
        struct partition *p = container_of(node, struct partition, node);
        if (p->lane != lane || !p->tracker || p->held_back)
            continue;
        (pause ? kafka_pause : kafka_resume)(intake->worker->consumer, p->topic, p->number);
    }
}

static void partition_hold_back(struct intake *intake, struct partition *p, bool hold)
{
    if (p->held_back == hold)
        return;
    p->held_back = hold;
    if (!p->lane->paused)
        (hold ? kafka_pause : kafka_resume)(intake->worker->consumer, p->topic, p->number);
}

static void on_record(struct kafka_record *record, void *context)
{
    struct worker *worker = context;
    struct intake *intake = worker->intake;
    struct partition *p = find_partition(intake, record);
    if (!p || !p->owned || !p->tracker || worker->draining)
        return;
    if (!offset_tracker_start(p->tracker, record->offset))
        must_not_reach("a record beyond the offset window of a partition that is held back");

    ahead_take(intake, p, record);
    metric_add(METRIC_records_total, 1);
    CRASH_POINT(record_taken);
    loop_again(worker->loop); /* let_in() may have run in this turn already */

    if (offset_tracker_spread(p->tracker) > OFFSET_WINDOW / 2)
        partition_hold_back(intake, p, true);
    if (ahead_full(intake, p->lane))
        lane_pause(intake, p->lane, true);
}

static void start_job(struct intake *intake, struct job *job)
{
    job->active = true;
    intake->active_count++;
    job->began_ms = loop_now_ms(intake->worker->loop);
    job->began_wall_ms = loop_wall_ms(intake->worker->loop);
    list_append(&intake->jobs, &job->node);
    walk_start(&job->walk, &intake->worker->jobs, job);
}

/* Ready hook: lets jobs begin while there is room, and reading go on when the backlog is low. */
static bool let_in(void *context)
{
    struct intake *intake = context;
    struct job *job;
    while (!intake->worker->draining && !intake->revoking && (job = ahead_next(intake)))
        start_job(intake, job);
    if (!intake->worker->draining)
        ahead_fetch(intake);
    for (size_t i = 0; i < intake->lane_count; i++)
        if (intake->lanes[i].paused && !PLANTED(4) && ahead_has_room(intake, &intake->lanes[i]))
            lane_pause(intake, &intake->lanes[i], false);
    return false;
}

void intake_job_free(struct intake *intake, struct job *job)
{
    put_off_ended(job);
    partition_release(job->partition);
    for (int i = 0; i < job->slot_count; i++)
        job->slots[i].magic = 0;
    arena_done(&job->arena);
    job->magic = 0;
    intake->jobs_count--;
    if (intake->spare_jobs.count < 4096)
        list_prepend(&intake->spare_jobs, &job->node);
    else
        free(job);
}

static void finish_offset(struct intake *intake, struct job *job)
{
    struct partition *p = job->partition;
    if (!p->tracker)
        return;
    offset_tracker_finish(p->tracker, job->record->offset);
    CRASH_POINT(offset_finished);
    if (p->held_back && offset_tracker_spread(p->tracker) < OFFSET_WINDOW / 4)
        partition_hold_back(intake, p, false);
}

/* Whoever takes the request up next must not wait for us. */
static void release_claims(struct job *job)
{
    for (int i = 0; i < job->slot_count; i++)
        job->worker->release_claim(&job->slots[i]);
}

static void count_ended(const struct job *job, bool ok)
{
    metric_add_for(METRIC_requests_total,
                   !ok             ? STR("abandoned")
                   : job->conflict ? STR("conflict")
                   : job->known    ? STR("known")
                   : job->err.code ? STR("refused")
                                   : STR("answered"),
                   1);
}

void intake_job_ended(void *subject, bool ok)
{
    struct job *job = subject;
    must_be(job, JOB_MAGIC);
    struct intake *intake = job->worker->intake;
    for (int i = 0; ok && i < job->slot_count; i++)
        ledger_tell(&job->slots[i]); /* of one that was not walked, for it is answered already */
    bool forgotten = job->put_off && PLANTED(71);
    if (ok || PLANTED(2) || forgotten)
        finish_offset(intake, job);
    else
        release_claims(job);
    if (job->put_off && !ok && !forgotten)
        put_off_keep(job);
    else
        count_ended(job, ok);
    session_leave(intake, job, ok);
    followers_release(intake, job);
    map_remove(&intake->active, &job->active_node);
    ahead_ended(job, ok);
    if (job->active)
        intake->active_count--;
    else
        intake->parked_count--;
    list_remove(&intake->jobs, &job->node);
    intake_job_free(intake, job);
    loop_again(intake->worker->loop); /* there is room for the next */
    intake_check_released(intake);
}

void intake_drain(struct intake *intake)
{
    struct worker *worker = intake->worker;
    worker->draining = true;
    LIST_EACH(&intake->partitions, node)
    {
        struct partition *p = container_of(node, struct partition, node);
        timer_cancel(worker->loop, &p->retry);
        if (p->tracker)
            kafka_pause(worker->consumer, p->topic, p->number);
    }
    ahead_drop(intake, false);
    intake_wake_parked(intake);
    worker->wake_unpaid(worker);
    if (PLANTED(38))
        app_drained(worker->app);
    intake_check_released(intake);
}

void intake_each_job(struct intake *intake, void (*visit)(struct job *job))
{
    LIST_EACH(&intake->jobs, node)
    visit(container_of(node, struct job, node));
}

size_t intake_active(const struct intake *intake)
{
    return intake->active_count;
}

size_t intake_parked(const struct intake *intake)
{
    return intake->parked_count;
}

size_t intake_partitions(const struct intake *intake)
{
    return intake->partitions.count;
}

void intake_measure(struct intake *intake)
{
    int64_t paused = 0;
    LIST_EACH(&intake->partitions, node)
    {
        struct partition *p = container_of(node, struct partition, node);
        struct buf name;
        buf_init(&name, 300);
        buf_printf(&name, "%s/%d", p->topic, p->number);
        if (p->tracker)
            metric_set_for(METRIC_offset_spread, buf_str(&name), offset_tracker_spread(p->tracker));
        paused += p->held_back || p->lane->paused;
        buf_done(&name);
    }
    metric_set(METRIC_partitions_paused, paused);
    metric_set(METRIC_partitions_assigned, (int64_t)intake->partitions.count);
    metric_set(METRIC_requests_in_flight, (int64_t)intake->active_count);
    metric_set(METRIC_requests_parked, (int64_t)intake->parked_count);
    ahead_measure(intake);
}

static void commit_tick(void *context)
{
    struct intake *intake = context;
    struct worker *worker = intake->worker;
    /* A commit that waits for a broker may arrive when the session is over, and then counts as
     * a fenced member's: fatal. What is finished meanwhile goes with the first one afterwards. */
    if (!intake->revoking && kafka_consumer_up(worker->consumer))
        intake_commit(intake);
    timer_set(worker->loop, &intake->commit_timer,
              loop_now_ms(worker->loop) + worker->conf->commit_interval_ms, commit_tick, intake);
}

struct intake *intake_new(struct worker *worker)
{
    struct intake *intake = xzalloc(sizeof(*intake));
    intake->worker = worker;
    list_init(&intake->partitions);
    list_init(&intake->asking);
    list_init(&intake->spare_jobs);
    list_init(&intake->jobs);
    list_init(&intake->idle);
    map_init(&intake->active);
    map_init(&intake->sessions);
    for (size_t i = 0; i < worker->lane_count; i++) {
        struct lane *lane = &intake->lanes[intake->lane_count++];
        lane->topic = worker->lane_topics[i];
        lane->batch = worker->lane_batch[i];
    }
    intake_hear_of_cancelled(intake);
    ahead_init(intake);
    intake->ready = (struct loop_hook){.run = let_in, .context = intake};
    loop_add_ready(worker->loop, &intake->ready);
    timer_set(worker->loop, &intake->commit_timer, loop_now_ms(worker->loop), commit_tick, intake);
    return intake;
}

void intake_events(struct worker *worker, struct kafka_consumer_events *ret)
{
    *ret = (struct kafka_consumer_events){
        .on_record = on_record,
        .on_assigned = intake_assigned,
        .on_revoked = intake_revoked,
        .on_committed = intake_committed,
        .context = worker,
    };
}

static void cancel_delivery(struct loop *loop, struct delivery *delivery)
{
    if (delivery)
        timer_cancel(loop, &delivery->timer);
}

/* The loop outlives the job by a few calls, and must not find a timer in memory that is gone. */
static void cancel_timers(struct loop *loop, struct job *job)
{
    timer_cancel(loop, &job->walk.timer);
    cancel_delivery(loop, job->burial);
    cancel_delivery(loop, job->notice);
    for (int i = 0; i < job->slot_count; i++) {
        timer_cancel(loop, &job->slots[i].walk.timer);
        cancel_delivery(loop, job->slots[i].delivery);
    }
}

/* Only when the program leaves: walks under way are not ended, their memory is simply given back.
 */
void intake_free(struct intake *intake)
{
    if (!intake)
        return;
    struct worker *worker = intake->worker;
    loop_remove_hook(worker->loop, &intake->ready);
    timer_cancel(worker->loop, &intake->commit_timer);
    timer_cancel(worker->loop, &intake->release_timer);
    ahead_drop(intake, false);
    LIST_EACH(&intake->jobs, node)
    {
        struct job *job = container_of(node, struct job, node);
        cancel_timers(worker->loop, job);
        list_remove(&intake->jobs, node);
        intake_job_free(intake, job);
    }
    LIST_EACH(&intake->partitions, node)
    {
        struct partition *p = container_of(node, struct partition, node);
        timer_cancel(worker->loop, &p->retry);
        list_remove(&intake->partitions, node);
        p->owned = false;
        offset_tracker_free(p->tracker);
        list_remove(&intake->asking, &p->ask_node);
        free(p);
    }
    for (struct list_node *node; (node = list_pop(&intake->asking));)
        free(container_of(node, struct partition, ask_node));
    sessions_free(intake);
    ahead_done(intake);
    for (struct list_node *node; (node = list_pop(&intake->spare_jobs));)
        free(container_of(node, struct job, node));
    map_done(&intake->active);
    map_done(&intake->sessions);
    free(intake);
}
