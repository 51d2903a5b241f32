/*
 * put_off_back.c -- those who were put off come back: which of them are fetched when. See
 * put_off.c.
 */
#include "worker/intake/put_off_inside.h"

#include "common/base/must.h"
#include "common/base/plant.h"

void intake_arrived(struct job *job)
{
    struct cause *cause = job->coming;
    job->coming = NULL;
    if (!cause)
        return;
    must(cause->coming > 0);
    cause->coming -= !PLANTED(73);
    job->worker->intake->put_offs->coming--;
    cause->arrived++;
    job->came = cause;
}

void intake_called(struct job *job)
{
    struct cause *cause = job->came;
    job->came = NULL;
    if (!cause)
        return;
    must(cause->arrived > 0);
    cause->arrived--;
    put_off_cause_unused(job->worker->intake->put_offs, cause);
}

void put_off_ended(struct job *job)
{
    intake_arrived(job);
    intake_called(job);
    put_off_keeps_no_more(job);
    put_off_admitted(job);
    put_off_memo_free(job->memo);
}

/* ---- how many may come ---- */

static size_t less(size_t number, size_t by)
{
    return number > by ? number - by : 0;
}

/* Those who get in, or will try whether they do. */
static size_t room_at_gates(const struct put_offs *p, const struct cause *cause)
{
    size_t keepers = intake_keepers(p->intake->worker), room = 0;
    int64_t now_ms = put_off_now_ms(p);
    for (unsigned i = 0; i < cause->count; i++) {
        size_t one = gate_room(cause->hurdles[i].gate, now_ms);
        room = one > room ? one : room;
    }
    if (room < keepers && !put_off_told_later(cause->hurdles, cause->count, now_ms))
        room = keepers > cause->keepers + room ? keepers - cause->keepers : room;
    return room;
}

/* Those whose turn is soon, and those who would be let go at once. A few always: others may keep
 * their place there for good. Where nobody is let go for a second, all that wait together take no
 * more places than put_off_seats(). */
static size_t room_at_queue(const struct put_offs *p, const struct cause *cause,
                            const struct hurdle *hurdle)
{
    const struct worker *worker = p->intake->worker;
    size_t at_hand = hurdle_at_hand(hurdle, put_off_now_ms(p)), there = hurdle_waiting(hurdle);
    if (hurdle->kind == HURDLE_GATE)
        return at_hand;
    there = there > cause->arrived ? there : cause->arrived;
    size_t room = less(put_off_waiters(worker, hurdle), there);
    size_t few = less(intake_keepers(worker), cause->arrived);
    size_t seats = less(put_off_seats(worker) + cause->coming, p->coming);
    room = room > few ? room : few;
    if (hurdle_per_second(hurdle) == 0 && seats < room)
        room = seats;
    return at_hand > room ? at_hand : room;
}

static size_t room_at_queues(const struct put_offs *p, const struct cause *cause)
{
    size_t room = 0;
    for (unsigned i = 0; i < cause->count; i++) {
        size_t one = room_at_queue(p, cause, &cause->hurdles[i]);
        room = one > room ? one : room;
    }
    return room;
}

/* What each of them waits for is not known: some come and look, and while none of them comes in
 * vain others follow at once. */
static size_t room_for_looks(struct put_offs *p)
{
    size_t most = (size_t)p->intake->worker->conf->max_in_flight / 8;
    if (put_off_now_ms(p) >= p->looks_ms) {
        p->looks_ms = put_off_now_ms(p) + LOOKS_MS;
        p->in_vain = 0;
    }
    return less(most > LOOKS_AT_LEAST ? most : LOOKS_AT_LEAST, p->in_vain + p->many.arrived);
}

/* How many may be fetched now. */
static size_t room_of(struct put_offs *p, const struct cause *cause)
{
    size_t places = (size_t)p->intake->worker->conf->max_in_flight, room;
    if (cause->kind == CAUSE_NONE)
        return SIZE_MAX;
    if (put_off_now_ms(p) < cause->not_before_ms)
        return 0;
    if (cause->kind == CAUSE_MANY)
        room = room_for_looks(p);
    else
        room = cause->has_queue ? room_at_queues(p, cause) : room_at_gates(p, cause);
    return less(room < places ? room : places, cause->coming);
}

static bool queue_wants(const struct intake *intake, const struct tenant_queue *queue, size_t bytes)
{
    return queue->jobs.count <= queue_part(intake) / 2 && queue_has_room(intake, queue, bytes);
}

static struct record *first_of(const struct line *line)
{
    return container_of(list_first(&line->records), struct record, node);
}

static bool is_shut(const struct cause *cause)
{
    for (unsigned i = 0; i < cause->count; i++)
        if (cause->hurdles[i].kind != HURDLE_GATE || !gate_away(cause->hurdles[i].gate))
            return false;
    return cause->count > 0;
}

/* Whoever is to try whether the provider is back needs an attempt for it: rather those who have
 * made none. */
static void let_fresh_ones_try(struct line *line)
{
    for (int looks = 0; looks < LINES_PER_TURN && first_of(line)->memo; looks++)
        list_append(&line->records, list_pop(&line->records));
}

/* Up to `most` of a line, in one stretch. Returns how many; the line may be gone then. */
static size_t fetch_some(struct put_offs *p, struct line *line, size_t most)
{
    struct intake *intake = p->intake;
    struct tenant_queue *queue = line->queue;
    struct cause *cause = line->cause;
    struct run *run = NULL;
    size_t count = 0;
    if (is_shut(cause))
        let_fresh_ones_try(line);
    for (bool more = true; more && count < most;) {
        struct record *r = first_of(line);
        if (!queue_wants(intake, queue, r->stub.bytes) || (run && !run_goes_on(run, &r->stub)))
            break;
        if (!run)
            run = run_new(intake, queue, &queue->jobs, &r->stub);
        struct job *job = put_off_record_job(p, r);
        queue_add_job(intake, queue, job, &r->stub);
        if (cause->kind == CAUSE_HURDLES || cause->kind == CAUSE_MANY) {
            job->coming = cause;
            cause->coming++;
            p->coming++;
        }
        run_add(run, job);
        queue->put_off--;
        count++;
        more = line->records.count > 1;
        put_off_record_leave(p, r);
    }
    if (run)
        run_fetch(run);
    return count;
}

/* In a queue the one that has fewest on the way to it, by his weight: who waits there goes by turns
 * of tenants, and so whoever gets more is given more. Else they have turns. */
static struct line *next_line(const struct cause *cause)
{
    struct line *best = container_of(list_first(&cause->lines), struct line, cause_node);
    size_t looks = LINES_PER_TURN;
    if (!cause->has_queue)
        return best;
    LIST_EACH(&cause->lines, node)
    {
        struct line *line = container_of(node, struct line, cause_node);
        const struct tenant_queue *a = line->queue, *b = best->queue;
        size_t mine = a->inside + a->jobs.count, least = b->inside + b->jobs.count;
        if (mine * (size_t)b->share.weight < least * (size_t)a->share.weight)
            best = line;
        if (--looks == 0)
            break;
    }
    return best;
}

/* Tenants have turns. */
static void serve(struct put_offs *p, struct cause *cause)
{
    size_t lines = cause->lines.count, room = lines ? room_of(p, cause) : 0;
    size_t looks = lines < LINES_PER_TURN ? lines : LINES_PER_TURN;
    for (; looks > 0 && room > 0; looks--) {
        struct line *line = next_line(cause);
        struct tenant_queue *queue = line->queue;
        size_t each = room / lines && !cause->has_queue ? room / lines : 1,
               last = line->records.count;
        list_remove(&cause->lines, &line->cause_node);
        list_append(&cause->lines, &line->cause_node);
        size_t got = fetch_some(p, line, each);
        room -= got;
        queue_look(p->intake, queue);
        if (got == last && lines == 1)
            return; /* the cause may be gone */
        lines -= got == last;
    }
}

/* ---- when the time comes ---- */

static void fetch_late(struct put_offs *p, struct record *r, struct run **run)
{
    struct intake *intake = p->intake;
    struct tenant_queue *queue = r->line->queue;
    if (*run && !run_goes_on(*run, &r->stub)) {
        run_fetch(*run);
        *run = NULL;
    }
    if (!*run)
        *run = run_new(intake, queue, &p->late, &r->stub);
    struct job *job = put_off_record_job(p, r);
    queue_own_job(queue, job, &r->stub);
    list_append(&p->late, &job->node);
    run_add(*run, job);
    put_off_record_leave(p, r);
}

static void fetch_due(struct put_offs *p)
{
    int64_t now_ms = put_off_now_ms(p);
    struct run *run = NULL;
    for (struct heap_node *node; (node = heap_first(&p->due)) && node->key <= now_ms;) {
        struct record *r = container_of(node, struct record, due);
        int64_t end_ms = put_off_deadline_ms(p, r);
        if (now_ms >= end_ms && p->late.count >= LATE_MAX)
            break;
        if (now_ms >= end_ms) {
            fetch_late(p, r, &run);
            continue;
        }
        heap_remove(&p->due, node);
        heap_add(&p->due, node, end_ms);
        put_off_let_go_on(p, r);
    }
    if (run)
        run_fetch(run);
}

void put_off_fetch(struct intake *intake)
{
    struct put_offs *p = intake->put_offs;
    if (p->due.count == 0)
        return;
    fetch_due(p);
    serve(p, &p->none);
    serve(p, &p->many);
    if (!list_empty(&p->causes)) /* each is the first at times */
        list_append(&p->causes, list_pop(&p->causes));
    LIST_EACH(&p->causes, node)
    serve(p, container_of(node, struct cause, node));
}

static struct job *first_fetched(const struct list *jobs)
{
    LIST_EACH(jobs, node)
    {
        struct job *job = container_of(node, struct job, node);
        if (job->record)
            return job;
    }
    return NULL;
}

struct job *put_off_next_late(struct intake *intake)
{
    struct put_offs *p = intake->put_offs;
    size_t most = (size_t)intake->worker->conf->max_in_flight + LATE_MAX;
    struct job *job = intake->active_count < most ? first_fetched(&p->late) : NULL;
    if (!job)
        return NULL;
    list_remove(&p->late, &job->node);
    job->cost = 0;
    job->queue->share.running++;
    job->queue->inside++;
    job->queue->put_off--;
    queue_look(intake, job->queue);
    return job;
}
