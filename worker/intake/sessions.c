/*
 * sessions.c -- who has to wait for whom: turns of one session in the order of their records, jobs
 * of one id behind the first of them.
 *
 * All waits are for jobs that came earlier, so there is no circle.
 */
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/xalloc.h"
#include "worker/intake/ahead.h"

static struct str pair_key(struct arena *arena, struct str tenant, struct str name)
{
    return ARENA_JOIN(arena, tenant, STR("\x1f"), name);
}

/* A job that waits does not count against max_in_flight. */
static void park(struct intake *intake, struct job *job)
{
    must(job->active);
    job->active = false;
    intake->active_count--;
    intake->parked_count++;
    intake->parked_bytes += job->record->value.len;
    ahead_parked(job, 1);
    walk_ask(&job->walk);
}

static void unpark(struct intake *intake, struct job *job)
{
    must(!job->active);
    job->active = true;
    intake->active_count++;
    intake->parked_count--;
    intake->parked_bytes -= job->record->value.len;
    ahead_parked(job, -1);
    walk_answer(&job->walk);
}

bool intake_follow(struct job *job)
{
    struct intake *intake = job->worker->intake;
    struct str key = pair_key(&job->arena, job->tenant, job->id);
    struct map_node *node = map_find(&intake->active, key);
    if (PLANTED(7))
        return false;
    if (!node) {
        map_add(&intake->active, &job->active_node, key);
        return false;
    }
    struct job *leader = container_of(node, struct job, active_node);
    list_append(&leader->followers, &job->follower_node);
    job->follows = leader;
    park(intake, job);
    return true;
}

/* The first follower takes the leader's place and goes on, the others now follow it. */
void followers_release(struct intake *intake, struct job *job)
{
    if (job->follows)
        list_remove(&job->follows->followers, &job->follower_node);
    map_remove(&intake->active, &job->active_node);
    struct list_node *first = list_pop(&job->followers);
    if (!first)
        return;
    struct job *heir = container_of(first, struct job, follower_node);
    heir->follows = NULL;
    map_add(&intake->active, &heir->active_node, pair_key(&heir->arena, heir->tenant, heir->id));
    for (struct list_node *node; (node = list_pop(&job->followers));) {
        container_of(node, struct job, follower_node)->follows = heir;
        list_append(&heir->followers, node);
    }
    unpark(intake, heir);
}

static struct session *session_new(struct intake *intake, struct str key)
{
    struct session *session = xzalloc(sizeof(*session) + key.len + 1);
    memcpy(session->key, key.data, key.len);
    list_init(&session->waiting);
    map_add(&intake->sessions, &session->node, str_from(session->key, key.len));
    return session;
}

static void session_free(struct intake *intake, struct session *session)
{
    list_remove(&intake->idle, &session->idle_node);
    map_remove(&intake->sessions, &session->node);
    free(session->last_id);
    free(session);
}

static struct session *session_of(struct intake *intake, struct job *job)
{
    struct str key = pair_key(&job->arena, job->tenant, job->request.session);
    struct map_node *node = map_find(&intake->sessions, key);
    if (node)
        return container_of(node, struct session, node);
    struct session *session = session_new(intake, key);
    session->partition = job->record->partition;
    return session;
}

bool intake_queue(struct job *job)
{
    struct intake *intake = job->worker->intake;
    struct session *session = session_of(intake, job);
    if (session->partition != job->record->partition && !session->told) {
        session->told = true;
        log_error("a session's turns came in two partitions, their order is not known: publish with"
                  " the session as key and the partitioner murmur2_random",
                  LOG_S("tenant", job->tenant), LOG_S("session", job->request.session),
                  LOG_I("partition", job->record->partition),
                  LOG_I("other_partition", session->partition));
    }
    job->session = session;
    list_remove(&intake->idle, &session->idle_node);
    if (!session->running || PLANTED(5)) {
        session->running = job;
        return false;
    }
    list_append(&session->waiting, &job->session_node);
    park(intake, job);
    return true;
}

/* Kept only for the id of its newest turn; the longest idle one makes room. */
static void session_idle(struct intake *intake, struct session *session)
{
    if (!session->last_id) {
        session_free(intake, session);
        return;
    }
    list_append(&intake->idle, &session->idle_node);
    if (intake->idle.count > SESSIONS_IDLE_MAX)
        session_free(intake, container_of(list_first(&intake->idle), struct session, idle_node));
}

/* The newest stored turn is known only from one that was stored just now. Who asks an older one
 * again says nothing of it; after a turn that was given up, or that another worker has ended while
 * we stood still, nothing is known. */
static void remember_turn(struct session *session, const struct job *job, bool ended_well)
{
    bool is_newest = ended_well && job->is_stored && job_owned(job);
    if (ended_well && (job->repeat || job->conflict) && job_owned(job) && !is_newest)
        return;
    free(session->last_id);
    session->last_id = is_newest ? xstrndup(job->id) : NULL;
}

void session_leave(struct intake *intake, struct job *job, bool ended_well)
{
    struct session *session = job->session;
    if (!session)
        return;
    if (session->running != job) { /* it was still waiting */
        list_remove(&session->waiting, &job->session_node);
        return;
    }
    remember_turn(session, job, ended_well);
    struct list_node *next = list_pop(&session->waiting);
    session->running = next ? container_of(next, struct job, session_node) : NULL;
    if (session->running)
        unpark(intake, session->running);
    else
        session_idle(intake, session);
}

void sessions_forget_idle(struct intake *intake)
{
    for (struct list_node *node; (node = list_first(&intake->idle));)
        session_free(intake, container_of(node, struct session, idle_node));
}

void sessions_free(struct intake *intake)
{
    for (struct map_node *node; (node = map_any(&intake->sessions));)
        session_free(intake, container_of(node, struct session, node));
}

static void wake_waiting(struct map_node *node, void *context)
{
    struct intake *intake = context;
    struct session *session = container_of(node, struct session, node);
    for (struct list_node *item; (item = list_pop(&session->waiting));) {
        struct job *job = container_of(item, struct job, session_node);
        job->session = NULL;
        unpark(intake, job);
    }
}

static void wake_followers(struct map_node *node, void *context)
{
    struct intake *intake = context;
    struct job *leader = container_of(node, struct job, active_node);
    for (struct list_node *item; (item = list_pop(&leader->followers));) {
        struct job *job = container_of(item, struct job, follower_node);
        job->follows = NULL;
        unpark(intake, job);
    }
}

/* A revoke or a drain: who waits is let go and abandons itself (admit_finish sees why). */
void intake_wake_parked(struct intake *intake)
{
    map_each(&intake->sessions, wake_waiting, intake);
    map_each(&intake->active, wake_followers, intake);
}
