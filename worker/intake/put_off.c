/*
 * put_off.c -- requests that let go of their place because their provider makes them wait
 * (worker/put_off.h): a record of each, what it waits for, and how it comes back.
 *
 * Records stand in lines, a line per tenant and cause, in the order in which they were put off
 * (put_off_causes.c). When a cause lets somebody come, tenants have turns: some of each line are
 * fetched again, into the tenant's queue, where his share decides when they begin (shares.h). Not
 * more than the cause has room for are on their way, and not more than have room in the queues
 * (put_off_back.c).
 *
 * All records are in a heap, by the time at which they are looked at whatever their cause says:
 * when a pause is over, or the deadline. Those whose deadline has passed do not wait for a place;
 * they need one for the moment it takes to say so.
 *
 * As a stub (stubs.h) a record is forgotten when its partition goes, and its offset is unfinished.
 * Later ones with the same id are put off behind it, so that the first one stays the first.
 */
#include "worker/intake/put_off_inside.h"

#include <stdlib.h>

#include "common/app/metrics.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/xalloc.h"

int64_t put_off_now_ms(const struct put_offs *p)
{
    return loop_now_ms(p->intake->worker->loop);
}

/* ---- by id ---- */

static uint64_t hash_of(struct str tenant, struct str id)
{
    uint64_t hash = str_hash(id);
    return str_hash(tenant) ^ (hash << 17 | hash >> 47);
}

static void index_grow(struct put_offs *p)
{
    struct record **old = p->index;
    size_t count = p->buckets;
    p->buckets = count ? count * 2 : 1024;
    p->index = xcalloc(p->buckets, sizeof(struct record *));
    for (size_t i = 0; i < count; i++)
        for (struct record *r = old[i], *next; r; r = next) {
            next = r->same;
            r->same = p->index[r->id % p->buckets];
            p->index[r->id % p->buckets] = r;
        }
    free(old);
}

static void index_add(struct put_offs *p, struct record *r)
{
    if (p->due.count >= p->buckets)
        index_grow(p);
    r->same = p->index[r->id % p->buckets];
    p->index[r->id % p->buckets] = r;
}

static void index_remove(struct put_offs *p, struct record *r)
{
    struct record **at = &p->index[r->id % p->buckets];
    while (*at != r)
        at = &(*at)->same;
    *at = r->same;
}

static struct record *index_find(const struct put_offs *p, uint64_t id)
{
    struct record *r = p->buckets ? p->index[id % p->buckets] : NULL;
    while (r && r->id != id)
        r = r->same;
    return r;
}

/* ---- records ---- */

/* It waits for nothing any more but room. */
void put_off_let_go_on(struct put_offs *p, struct record *r)
{
    struct tenant_queue *queue = r->line->queue;
    put_off_leave_line(p, r);
    put_off_line_up(r, queue, &p->none);
}

int64_t put_off_deadline_ms(const struct put_offs *p, const struct record *r)
{
    struct loop *loop = p->intake->worker->loop;
    return loop_now_ms(loop) + (r->stub.deadline_at - loop_wall_ms(loop));
}

void put_off_record_leave(struct put_offs *p, struct record *r)
{
    heap_remove(&p->due, &r->due);
    put_off_leave_line(p, r);
}

void put_off_record_free(struct put_offs *p, struct record *r)
{
    struct partition *partition = r->stub.partition;
    index_remove(p, r);
    if (r->line)
        put_off_record_leave(p, r);
    put_off_memo_free(r->memo);
    free(r);
    partition_release(partition);
}

struct job *put_off_record_job(struct put_offs *p, struct record *r)
{
    struct job *job = intake_job_new(p->intake, r->stub.partition);
    job->was_put_off = true;
    job->is_looked_at = r->is_looked_at;
    job->memo = r->memo;
    r->memo = NULL;
    job->fetched_for = r;
    return job;
}

void put_off_admitted(struct job *job)
{
    if (job->fetched_for)
        put_off_record_free(job->worker->intake->put_offs, job->fetched_for);
    job->fetched_for = NULL;
}

bool intake_may_put_off(const struct job *job)
{
    const struct worker *worker = job->worker;
    int64_t left_ms = job->deadline_ms - loop_now_ms(worker->loop);
    return !job->session && list_empty(&job->followers) && !job->is_looked_at &&
           left_ms > worker->conf->put_off_after_ms + SPARE_MS && job_owned(job) &&
           job->partition->tracker && !worker->draining &&
           worker->intake->put_offs->due.count < (size_t)worker->conf->put_off_max;
}

/* One of the same id that stands before it in its partition. */
static struct record *ahead_of(const struct put_offs *p, const struct job *job)
{
    uint64_t id = hash_of(job->tenant, job->id);
    struct record *r = index_find(p, id);
    for (; r; r = r->same)
        if (r->id == id && r->stub.partition == job->partition &&
            r->stub.offset < job->ahead_offset)
            return r;
    return NULL;
}

bool put_off_at_once(struct job *job)
{
    struct put_offs *p = job->worker->intake->put_offs;
    bool may_be_known = job->replayed && !job->was_put_off;
    if (!job->err.code && intake_may_put_off(job))
        job->put_off =
            ahead_of(p, job) || (!may_be_known && !job->coming && call_expects_to_wait(job));
    if (!job->put_off)
        put_off_admitted(job);
    return job->put_off;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Lines it up; returns when it is looked at again whatever it waits for. Behind one of its id it
 * waits as that one does, or, when that is being fetched, for a moment. */
static int64_t stands_behind(struct put_offs *p, struct record *r, const struct job *job)
{
    const struct record *before = ahead_of(p, job);
    if (!before) {
        put_off_line_up(r, job->queue, put_off_cause_of(p, &job->reason));
        return job->reason.due_ms;
    }
    put_off_line_up(r, job->queue, before->line ? before->line->cause : &p->time);
    return before->line ? before->due.key : put_off_now_ms(p) + IN_VAIN_MS;
}

void put_off_keep(struct job *job)
{
    struct intake *intake = job->worker->intake;
    struct put_offs *p = intake->put_offs;
    if (!job_owned(job) || !job->partition->tracker || job->worker->draining)
        return; /* forgotten with its partition */
    struct record *r = xzalloc(sizeof(*r));
    r->stub = (struct stub){.partition = job->partition,
                            .offset = job->ahead_offset,
                            .deadline_at = job->deadline_at,
                            .bytes = (uint32_t)job->ahead_bytes,
                            .cost = (uint32_t)job->cost};
    r->id = hash_of(job->tenant, job->id);
    r->memo = job->memo;
    job->memo = NULL;
    int64_t due_ms = earlier(put_off_deadline_ms(p, r), stands_behind(p, r, job));
    if (job->was_put_off && !job->reason.has_tried) /* the way was not as free as it seemed */
        put_off_came_in_vain(p, job, r->line->cause);
    heap_add(&p->due, &r->due, PLANTED(72) ? PUT_OFF_NEVER : due_ms);
    index_add(p, r);
    job->partition->jobs++;
    job->queue->put_off++;
    metric_add(METRIC_requests_put_off_total, 1);
}

bool put_off_cancelled(struct intake *intake, struct str name)
{
    struct put_offs *p = intake->put_offs;
    struct str tenant;
    if (!str_split(&name, '\x1f', &tenant))
        return false;
    uint64_t id = hash_of(tenant, name);
    bool some = false;
    for (struct record *r = index_find(p, id); r; r = r->same) {
        if (r->id != id)
            continue;
        r->is_looked_at = some = true;
        if (r->line)
            put_off_let_go_on(p, r);
    }
    if (some)
        loop_again(intake->worker->loop);
    return some;
}

/* ---- all of them ---- */

static void drop_late(struct put_offs *p, bool not_owned_only)
{
    LIST_EACH(&p->late, node)
    {
        struct job *job = container_of(node, struct job, node);
        if (not_owned_only && job->partition->owned)
            continue;
        list_remove(&p->late, node);
        job->queue->put_off--;
        queue_look(p->intake, job->queue);
        intake_job_free(p->intake, job);
    }
}

void put_off_drop(struct intake *intake, bool not_owned_only)
{
    struct put_offs *p = intake->put_offs;
    struct record **gone = xcalloc(p->due.count + 1, sizeof(struct record *));
    size_t count = 0;
    drop_late(p, not_owned_only);
    for (size_t i = 0; i < p->due.count; i++) {
        struct record *r = container_of(p->due.nodes[i], struct record, due);
        if (!not_owned_only || !r->stub.partition->owned)
            gone[count++] = r;
    }
    for (size_t i = 0; i < count; i++) {
        struct tenant_queue *queue = gone[i]->line->queue;
        queue->put_off--;
        put_off_record_free(p, gone[i]);
        queue_look(intake, queue);
    }
    free(gone);
}

void put_off_measure(const struct intake *intake)
{
    metric_set(METRIC_requests_put_off, (int64_t)intake->put_offs->due.count);
}

static void look(void *context)
{
    struct put_offs *p = context;
    struct worker *worker = p->intake->worker;
    int64_t pause_ms = worker->conf->put_off_after_ms / 2;
    call_put_off_those_who_wait(worker);
    if (p->due.count)
        loop_again(worker->loop); /* let_in() fetches those that may go on */
    timer_set(worker->loop, &p->look,
              put_off_now_ms(p) + (pause_ms < LOOK_MS_MAX ? pause_ms : LOOK_MS_MAX), look, p);
}

void put_offs_init(struct intake *intake)
{
    struct put_offs *p = xzalloc(sizeof(*p));
    p->intake = intake;
    p->time.kind = CAUSE_TIME;
    p->none.kind = CAUSE_NONE;
    p->many.kind = CAUSE_MANY;
    list_init(&p->causes);
    list_init(&p->time.lines);
    list_init(&p->none.lines);
    list_init(&p->many.lines);
    list_init(&p->late);
    heap_init(&p->due);
    intake->put_offs = p;
    look(p);
}

void put_offs_done(struct intake *intake)
{
    struct put_offs *p = intake->put_offs;
    must(p->due.count == 0 && p->late.count == 0);
    timer_cancel(intake->worker->loop, &p->look);
    heap_done(&p->due);
    free(p->index);
    free(p);
}
