/*
 * put_off_causes.c -- what those wait for who are put off: causes, and for each a line per tenant;
 * and who of them keeps his place at work. See put_off.c.
 *
 * A cause is a set of hurdles (worker/hurdle.h), any of which would do. There are at most
 * CAUSES_MAX of them; what waits for others, or for very many hurdles, stands in the lines of one
 * cause, of which some are looked at each second.
 */
#include <stdlib.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "worker/intake/put_off_inside.h"

/* ---- causes ---- */

static bool has_queue(const struct put_off_reason *reason)
{
    for (unsigned i = 0; i < reason->count; i++)
        if (reason->hurdles[i].kind != HURDLE_GATE)
            return true;
    return false;
}

/* The same hurdles, in whatever order. */
static bool is_cause_of(const struct cause *cause, const struct put_off_reason *reason)
{
    for (unsigned i = 0; i < reason->count; i++) {
        unsigned k = 0;
        while (k < cause->count && !hurdle_is(&cause->hurdles[k], &reason->hurdles[i]))
            k++;
        if (k == cause->count)
            return false;
    }
    return cause->count == reason->count;
}

/* NULL: nobody waits for just these. */
static struct cause *cause_find(struct put_offs *p, const struct put_off_reason *reason)
{
    if (reason->too_many)
        return &p->many;
    LIST_EACH(&p->causes, node)
    {
        struct cause *cause = container_of(node, struct cause, node);
        if (is_cause_of(cause, reason))
            return cause;
    }
    return NULL;
}

static struct cause *cause_new(struct put_offs *p, const struct put_off_reason *reason)
{
    struct cause *cause = xzalloc(sizeof(*cause));
    list_init(&cause->lines);
    cause->count = reason->count;
    cause->has_queue = has_queue(reason);
    p->queues += cause->has_queue;
    for (unsigned i = 0; i < reason->count; i++) {
        cause->hurdles[i] = reason->hurdles[i];
        hurdle_keep(&cause->hurdles[i]);
    }
    list_append(&p->causes, &cause->node);
    return cause;
}

struct cause *put_off_cause_of(struct put_offs *p, const struct put_off_reason *reason)
{
    if (reason->count == 0)
        return reason->due_ms == PUT_OFF_NEVER ? &p->none : &p->time;
    struct cause *known = cause_find(p, reason);
    if (known)
        return known;
    return p->causes.count < CAUSES_MAX ? cause_new(p, reason) : &p->many;
}

void put_off_cause_unused(struct put_offs *p, struct cause *cause)
{
    if (cause->kind != CAUSE_HURDLES || cause->coming || cause->arrived || cause->keepers ||
        cause->lines.count)
        return;
    for (unsigned i = 0; i < cause->count; i++)
        hurdle_release(&cause->hurdles[i]);
    p->queues -= cause->has_queue;
    list_remove(&p->causes, &cause->node);
    free(cause);
}

/* What let it come lets nobody come for a moment, nor do gates that it is sent away from; of very
 * many causes nobody knows which it was. */
void put_off_came_in_vain(struct put_offs *p, const struct job *job, struct cause *cause)
{
    struct cause *from = job->came ? job->came : job->coming;
    if (cause->kind == CAUSE_HURDLES && !cause->has_queue)
        cause->not_before_ms = put_off_now_ms(p) + IN_VAIN_MS;
    if (from && from->kind == CAUSE_HURDLES)
        from->not_before_ms = put_off_now_ms(p) + IN_VAIN_MS;
    else if (from)
        p->in_vain++;
}

/* ---- lines ---- */

static struct line *line_find(const struct tenant_queue *queue, const struct cause *cause)
{
    LIST_EACH(&queue->lines, node)
    {
        struct line *line = container_of(node, struct line, queue_node);
        if (line->cause == cause)
            return line;
    }
    return NULL;
}

static struct line *line_of(struct tenant_queue *queue, struct cause *cause)
{
    struct line *known = line_find(queue, cause);
    if (known)
        return known;
    struct line *line = xzalloc(sizeof(*line));
    line->cause = cause;
    line->queue = queue;
    list_init(&line->records);
    list_append(&queue->lines, &line->queue_node);
    list_append(&cause->lines, &line->cause_node);
    return line;
}

void put_off_line_up(struct record *r, struct tenant_queue *queue, struct cause *cause)
{
    r->line = line_of(queue, cause);
    list_append(&r->line->records, &r->node);
}

void put_off_leave_line(struct put_offs *p, struct record *r)
{
    struct line *line = r->line;
    struct cause *cause = line->cause;
    list_remove(&line->records, &r->node);
    r->line = NULL;
    if (line->records.count)
        return;
    list_remove(&line->queue->lines, &line->queue_node);
    list_remove(&cause->lines, &line->cause_node);
    free(line);
    put_off_cause_unused(p, cause);
}

/* ---- those who keep their place ---- */

size_t intake_keepers(const struct worker *worker)
{
    int64_t some = worker->conf->max_in_flight / 16, most = worker->conf->put_off_keep;
    return (size_t)(some < 1 ? 1 : some < most ? some : most);
}

void put_off_keeps_no_more(struct job *job)
{
    struct cause *cause = job->keeper_of;
    job->keeper_of = NULL;
    if (!cause)
        return;
    must(cause->keepers > 0);
    cause->keepers--;
    put_off_cause_unused(job->worker->intake->put_offs, cause);
}

static size_t at_least(size_t number, size_t least)
{
    return number < least ? least : number;
}

/* Places for those who wait that are not taken: a quarter of all are for others. */
size_t put_off_seats(const struct worker *worker)
{
    size_t places = (size_t)worker->conf->max_in_flight, most = places - places / 4;
    return worker->resting.count < most ? most - worker->resting.count : 0;
}

/* In a queue so many may wait in place as leave it within a second, or as there are places enough
 * for. All queues but those of limits have half of the places together: calls that are short leave
 * them quickly, but nobody knows for how long they stay so. */
size_t put_off_waiters(const struct worker *worker, const struct hurdle *hurdle)
{
    size_t places = (size_t)worker->conf->max_in_flight, keepers = intake_keepers(worker);
    size_t rest = worker->resting.count, queues = worker->intake->put_offs->queues;
    size_t some = at_least(rest > places / 2 ? keepers : places / 8, keepers);
    size_t per_second = hurdle_per_second(hurdle), most = at_least(some, per_second);
    size_t part = places / 2 / at_least(queues, 1);
    if (put_off_seats(worker) == 0)
        return per_second < some ? per_second : some;
    if (hurdle->kind == HURDLE_LIMIT)
        return most;
    return at_least(most < part ? most : part, keepers);
}

/* Who has few at work waits in place, so that it is his turn when there is one. */
static bool has_few(const struct job *job, size_t waiters)
{
    const struct intake *intake = job->worker->intake;
    size_t part = waiters / (intake->shares.known ? intake->shares.known : 1);
    size_t places = (size_t)job->worker->conf->max_in_flight;
    return job->queue->inside <= (part ? part : 1) && job->worker->resting.count <= places / 2;
}

/* Whoever came because there was room stays. Whoever comes anew does not pass those of his tenant
 * that were put off. */
static bool waits_in_queue(const struct job *job, const struct cause *cause,
                           const struct put_off_reason *reason)
{
    bool passes = !job->was_put_off && cause && line_find(job->queue, cause);
    for (unsigned i = 0; i < reason->count; i++) {
        const struct hurdle *hurdle = &reason->hurdles[i];
        if (hurdle->ahead == HURDLE_NOT_THERE)
            continue;
        size_t most = put_off_waiters(job->worker, hurdle);
        bool had_room = job->came && job->came->has_queue && job->came->arrived <= most;
        if (had_room || (!passes && (hurdle->ahead <= most || has_few(job, most))))
            return true;
    }
    return false;
}

bool intake_keeps_place(struct job *job, const struct put_off_reason *reason)
{
    struct put_offs *p = job->worker->intake->put_offs;
    if (has_queue(reason))
        return waits_in_queue(job, cause_find(p, reason), reason);
    struct cause *cause = put_off_cause_of(p, reason);
    bool is_keeper = job->keeper_of == cause;
    bool others = cause->lines.count > 0 || cause->keepers > is_keeper;
    bool may = !(reason->has_tried && others) &&
               (is_keeper || cause->keepers < intake_keepers(job->worker));
    if (may && !is_keeper) {
        cause->keepers++;
        put_off_keeps_no_more(job);
        job->keeper_of = cause;
    } else if (!may) {
        put_off_keeps_no_more(job);
    }
    return may;
}

/* Nobody needs to try: the provider has said when to come. */
bool put_off_told_later(const struct hurdle *gates, unsigned count, int64_t now_ms)
{
    for (unsigned i = 0; i < count; i++)
        if (!gate_is_told_later(gates[i].gate, now_ms))
            return false;
    return true;
}

bool intake_others_keep_place(struct job *job, const struct put_off_reason *reason)
{
    struct put_offs *p = job->worker->intake->put_offs;
    if (has_queue(reason))
        return !waits_in_queue(job, cause_find(p, reason), reason);
    if (put_off_told_later(reason->hurdles, reason->count, put_off_now_ms(p)))
        return true;
    const struct cause *cause = cause_find(p, reason);
    return cause && cause->keepers + cause->coming >= intake_keepers(job->worker);
}
