/*
 * refetch.c -- stubs become requests again before their turn: a run is a stretch of one partition
 * that is fetched for one queue.
 *
 * The jobs of a run stand in their queue from the beginning, empty, so that nothing passes them.
 */
#include "common/app/metrics.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/xalloc.h"
#include "worker/intake/ahead.h"

enum { AGAIN_MS = 500, GAP_MAX = 4096, LOOKS_MAX = 3 };

struct run {
    struct kafka_fetch fetch;
    struct list_node node; /* in intake->runs */
    struct intake *intake;
    struct partition *partition;
    struct tenant_queue *queue;
    struct list *list; /* where its jobs stand */
    struct job *next;  /* the first that has not come; the others of the run stand behind it */
    size_t left;
    unsigned looks; /* that ended without what was looked for */
    struct timer again;
};

static void run_free(struct run *run)
{
    struct intake *intake = run->intake;
    timer_cancel(intake->worker->loop, &run->again);
    kafka_fetch_cancel(intake->worker->fetcher, &run->fetch);
    list_remove(&intake->runs, &run->node);
    partition_release(run->partition);
    free(run);
}

bool run_goes_on(const struct run *run, const struct stub *stub)
{
    return stub && stub->partition == run->partition && stub->offset > run->fetch.last &&
           stub->offset - run->fetch.last <= GAP_MAX;
}

struct run *run_new(struct intake *intake, struct tenant_queue *queue, struct list *list,
                    const struct stub *first)
{
    struct run *run = xzalloc(sizeof(*run));
    run->intake = intake;
    run->queue = queue;
    run->list = list;
    run->partition = first->partition;
    run->partition->jobs++;
    run->fetch.topic = run->partition->topic;
    run->fetch.partition = run->partition->number;
    run->fetch.first = first->offset;
    run->fetch.last = first->offset - 1;
    return run;
}

void run_add(struct run *run, struct job *job)
{
    run->fetch.last = job->ahead_offset;
    run->next = run->next ? run->next : job;
    run->left++;
}

void run_fetch(struct run *run)
{
    list_append(&run->intake->runs, &run->node);
    kafka_fetch(run->intake->worker->fetcher, &run->fetch);
}

/* The first stub becomes a job; with a copy it is whole at once. */
static struct job *take_stub(struct intake *intake, struct tenant_queue *queue)
{
    struct stub stub = queue_take_stub(intake, queue);
    struct job *job = intake_job_new(intake, stub.partition);
    if (stub.copy)
        intake_job_adopt(job, stub.copy);
    queue_add_job(intake, queue, job, &stub);
    partition_release(stub.partition); /* the job holds it now */
    return job;
}

/* As many stubs as there is room for and as lie in one stretch. False: there is no room. */
static bool bring_some(struct intake *intake, struct tenant_queue *queue)
{
    const struct stub *stub = stubs_first(&queue->stubs);
    if (queue_has_enough(queue) || !queue_has_room(intake, queue, stub->bytes))
        return false;
    if (stub->copy) {
        take_stub(intake, queue);
        loop_again(intake->worker->loop); /* it may be its turn */
        return true;
    }
    struct run *run = run_new(intake, queue, &queue->jobs, stub);
    do {
        run_add(run, take_stub(intake, queue));
        stub = stubs_first(&queue->stubs);
    } while (run_goes_on(run, stub) && !stub->copy && queue_has_room(intake, queue, stub->bytes));
    run_fetch(run);
    return true;
}

void ahead_fetch(struct intake *intake)
{
    put_off_fetch(intake);
    for (size_t left = intake->hungry.count; left > 0; left--) {
        struct list_node *node = list_pop(&intake->hungry);
        struct tenant_queue *queue = container_of(node, struct tenant_queue, hungry_node);
        while (queue->stubs.count && bring_some(intake, queue))
            ;
        queue_look(intake, queue);
    }
}

/* Kafka has lost what was there when we passed it: nobody can answer that. */
static void record_lost(struct run *run, const char *text)
{
    struct err err;
    err_set(&err, ERR_OFFSET_LOST,
            "topic '%s' partition %d: the request at offset %lld was read before and is gone (%s);"
            " see docs/operation.md, 'Lost offsets'",
            run->partition->topic, run->partition->number, (long long)run->next->ahead_offset,
            text);
    app_fail(run->intake->worker->app, &err, EXIT_FAILED);
}

static void look_again(void *context)
{
    struct run *run = context;
    run->fetch.first = run->next->ahead_offset;
    kafka_fetch(run->intake->worker->fetcher, &run->fetch);
}

static void look_later(struct run *run)
{
    struct loop *loop = run->intake->worker->loop;
    if (PLANTED(48))
        return;
    timer_set(loop, &run->again, loop_now_ms(loop) + AGAIN_MS, look_again, run);
}

static void on_record(struct kafka_fetch *fetch, struct kafka_record *record, void *context)
{
    struct run *run = container_of(fetch, struct run, fetch);
    struct worker *worker = context;
    struct job *job = run->next;
    if (run->left == 0 || record->offset != job->ahead_offset)
        return; /* somebody else's, or one that is not there: on_done sees it */
    record->topic = run->partition->topic;
    intake_job_fill(job, record);
    metric_add(METRIC_records_fetched_again_total, 1);
    if (--run->left > 0)
        run->next = container_of(list_next(run->list, &job->node), struct job, node);
    queue_look(run->intake, run->queue);
    loop_again(worker->loop);
}

static void on_done(struct kafka_fetch *fetch, const struct err *err, void *context)
{
    struct run *run = container_of(fetch, struct run, fetch);
    (void)context;
    if (run->left == 0) {
        run_free(run);
    } else if (err && err->code != ERR_OFFSET_LOST) {
        log_warn("requests that were read before are not there yet, asking again",
                 LOG_C("topic", run->partition->topic), LOG_I("partition", run->partition->number),
                 LOG_I("count", run->left), LOG_C("error", err->text));
        look_later(run);
    } else if (++run->looks < LOOKS_MAX) {
        look_later(run);
    } else {
        record_lost(run, err ? err->text : "the records around it are there");
    }
}

void refetch_drop(struct intake *intake, bool not_owned_only)
{
    LIST_EACH(&intake->runs, node)
    {
        struct run *run = container_of(node, struct run, node);
        if (!not_owned_only || !run->partition->owned)
            run_free(run);
    }
    if (list_empty(&intake->runs) && intake->worker->fetcher)
        kafka_fetcher_forget(intake->worker->fetcher);
}

static void on_fatal(const struct err *err, void *context)
{
    struct worker *worker = context;
    app_fail(worker->app, err, EXIT_FAILED);
}

void intake_fetch_events(struct worker *worker, struct kafka_fetcher_events *ret)
{
    *ret = (struct kafka_fetcher_events){
        .on_record = on_record, .on_done = on_done, .on_fatal = on_fatal, .context = worker};
}
