/*
 * stored.c -- see stored.h.
 */
#include "worker/settle/stored.h"

#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "worker/lookup.h"

enum { TICK_MS = 250, ASK_AFTER_MS = 400, TELL_AFTER_MS = 60000 };

struct stored {
    struct worker *worker;
    struct map waiting;
    struct list list;      /* the same jobs, in order of waiting */
    struct list questions; /* at the store */
    struct timer tick;
};

/* What is looked up outlives the job that asked: its partition may go away meanwhile. */
struct stored_question {
    struct list_node node; /* in stored->questions */
    struct stored *stored;
    char *key; /* tenant 0x1f id */
    struct str tenant, id;
};

static void let_go(struct stored *stored, struct job *job, bool is_stored)
{
    job->is_stored = is_stored;
    if (is_stored)
        CRASH_POINT(turn_stored);
    map_remove(&stored->waiting, &job->stored_node);
    list_remove(&stored->list, &job->stored_list_node);
    walk_answer(&job->walk);
}

static struct job *find(struct stored *stored, struct str key)
{
    struct map_node *node = map_find(&stored->waiting, key);
    return node ? container_of(node, struct job, stored_node) : NULL;
}

static void on_notice(struct str message, void *context)
{
    struct stored *stored = context;
    struct job *job = find(stored, message);
    if (job)
        let_go(stored, job, true);
}

static void question_free(struct stored_question *q)
{
    list_remove(&q->stored->questions, &q->node);
    free(q->key);
    free(q);
}

static void looked_up(const struct known *known, void *context)
{
    struct stored_question *q = context;
    struct job *job = find(q->stored, str_of(q->key));
    if (job && known->found && !str_is(known->status, "open"))
        let_go(q->stored, job, true);
    question_free(q);
}

static void look_up(struct stored *stored, struct job *job)
{
    struct stored_question *q = xzalloc(sizeof(*q));
    q->stored = stored;
    list_append(&stored->questions, &q->node);
    q->key = xstrndup(job->stored_node.key);
    q->tenant = str_from(q->key, job->tenant.len);
    q->id = str_from(q->key + job->tenant.len + 1, job->id.len);
    lookup_ask(stored->worker->lookup, q->tenant, q->id, looked_up, q);
}

/* Its session, and the lowest offset, wait with it: somebody should look at the aggregator. */
static void tell_if_long(struct job *job, int64_t now)
{
    if (job->told_waiting || now - job->stored_since_ms < TELL_AFTER_MS)
        return;
    job->told_waiting = true;
    log_warn(
        "a turn's final result is not stored yet, its session waits: is an aggregator running?",
        LOG_S("id", job->id), LOG_S("tenant", job->tenant),
        LOG_I("partition", job->record->partition), LOG_I("offset", job->record->offset));
}

static void tick(void *context)
{
    struct stored *stored = context;
    struct worker *worker = stored->worker;
    int64_t now = loop_now_ms(worker->loop);
    LIST_EACH(&stored->list, node)
    {
        struct job *job = container_of(node, struct job, stored_list_node);
        if (now - job->stored_asked_ms >= ASK_AFTER_MS) {
            job->stored_asked_ms = now;
            look_up(stored, job);
        }
        tell_if_long(job, now);
    }
    timer_set(worker->loop, &stored->tick, now + TICK_MS, tick, stored);
}

struct stored *stored_new(struct worker *worker)
{
    struct stored *stored = xzalloc(sizeof(*stored));
    stored->worker = worker;
    map_init(&stored->waiting);
    list_init(&stored->list);
    list_init(&stored->questions);
    redis_subscribe(worker->redis, str_of(worker->notify), on_notice, stored);
    tick(stored);
    return stored;
}

void stored_free(struct stored *stored)
{
    if (!stored)
        return;
    timer_cancel(stored->worker->loop, &stored->tick);
    for (struct list_node *node; (node = list_first(&stored->questions));)
        question_free(container_of(node, struct stored_question, node));
    map_done(&stored->waiting);
    free(stored);
}

void stored_wait(struct job *job)
{
    struct stored *stored = job->worker->stored;
    struct str key = ARENA_JOIN(&job->arena, job->tenant, STR("\x1f"), job->id);
    walk_ask(&job->walk);
    job->waiting_for_store = true;
    job->stored_since_ms = job->stored_asked_ms = loop_now_ms(job->worker->loop);
    map_add(&stored->waiting, &job->stored_node, key);
    list_append(&stored->list, &job->stored_list_node);
    CRASH_POINT(turn_waits);
}

void stored_wake_lost(struct stored *stored)
{
    LIST_EACH(&stored->list, node)
    {
        struct job *job = container_of(node, struct job, stored_list_node);
        if (!job_owned(job))
            let_go(stored, job, false);
    }
}
