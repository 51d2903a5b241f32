/*
 * patience.c -- who waits for a provider for so long that its place at work is better used by
 * others (put_off.h).
 *
 * A slot waits for long when none of the models it may ask is worth waiting for here: each rests
 * until a time that is far away, or its gate has been shut for a while and others are there to try
 * whether it is back. A job is put off when all of its slots do, or have reported.
 */
#include "common/base/plant.h"
#include "worker/call/candidates.h"
#include "worker/call/queue.h"

static bool add_gate(struct put_off_reason *reason, struct gate *gate)
{
    for (unsigned i = 0; i < reason->count; i++)
        if (reason->gates[i] == gate)
            return true;
    if (reason->count == PUT_OFF_GATES_MAX)
        return false;
    reason->gates[reason->count++] = gate;
    return true;
}

/* ---- jobs that have begun ---- */

static bool rests_long(const struct slot *slot, const struct candidate *c)
{
    const struct worker *worker = slot->job->worker;
    return c->not_before_ms - loop_now_ms(worker->loop) >= worker->conf->put_off_after_ms;
}

/* So many others rest for the same model's sake as may keep their place. */
static bool others_rest(const struct slot *slot, const struct gate *gate)
{
    const struct worker *worker = slot->job->worker;
    size_t count = 0;
    LIST_EACH(&worker->resting, node)
    {
        const struct slot *other = container_of(node, struct slot, permit_node);
        const struct candidate *c = candidate_now(other);
        if (other != slot && !other->job->put_off && c->model->gate == gate && rests_long(other, c))
            count++;
        if (count >= intake_keepers(worker))
            return true;
    }
    return false;
}

static bool is_long_shut(const struct slot *slot, const struct candidate *c)
{
    static const struct gate_place nowhere;
    const struct worker *worker = slot->job->worker;
    return gate_long_shut(c->model->gate, c == candidate_now(slot) ? &slot->place : &nowhere,
                          worker->conf->put_off_after_ms, loop_now_ms(worker->loop));
}

static bool candidate_waits_long(const struct slot *slot, const struct candidate *c,
                                 struct put_off_reason *reason)
{
    bool rests = loop_now_ms(slot->job->worker->loop) < c->not_before_ms;
    if (rests && rests_long(slot, c) && others_rest(slot, c->model->gate)) {
        if (reason->due_ms > c->not_before_ms)
            reason->due_ms = c->not_before_ms;
        return true;
    }
    reason->has_tried |= slot->attempt > 0;
    return is_long_shut(slot, c) && add_gate(reason, c->model->gate);
}

/* Only where there is nothing else to ask: others look around meanwhile. */
static bool waits_at_limit(const struct slot *slot, struct put_off_reason *reason)
{
    struct limit *limit = slot->share.waits_at;
    if (!limit || slot->candidate_count > 1 || slot->model->keys->count > 1 ||
        (reason->limit && reason->limit != limit))
        return false;
    reason->limit = limit;
    reason->per_second = limit_per_second(limit, place_amount(&slot->share, limit));
    return true;
}

static bool slot_waits_long(const struct slot *slot, bool at_limit, struct put_off_reason *reason)
{
    bool some = false;
    if (!list_linked(&slot->permit_node) || !timer_is_set(&slot->walk.timer) || slot->calling ||
        slot->place.woken || slot->paid || (slot->hedge && slot->hedge->calling))
        return false;
    if (at_limit && waits_at_limit(slot, reason))
        return true;
    for (unsigned i = 0; i < slot->candidate_count; i++) {
        if (!candidate_usable(slot, &slot->candidates[i]))
            continue;
        if (!candidate_waits_long(slot, &slot->candidates[i], reason))
            return false;
        some = true;
    }
    return some;
}

static bool job_waits_long(struct job *job, bool at_limit, struct put_off_reason *reason)
{
    bool some = false;
    *reason = (struct put_off_reason){.due_ms = PUT_OFF_NEVER};
    if (job->put_off || job->cancelled || job->conflict || !intake_may_put_off(job))
        return false;
    for (int i = 0; i < job->slot_count; i++) {
        if (job->slots[i].reported)
            continue;
        if (!slot_waits_long(&job->slots[i], at_limit, reason))
            return false;
        some = true;
    }
    bool is_for_time = reason->count == 0 && !reason->limit;
    return some && (is_for_time || !intake_keeps_place(job, reason));
}

/* ---- what they remember ---- */

static void remember_slot(const struct slot *slot, struct put_off_memo *memo, size_t *at)
{
    memo->slot[slot->number] =
        (struct put_off_slot){.calls = (uint32_t)(slot->calls_before + slot->attempt),
                              .part = (unsigned char)slot->part,
                              .reported = slot->reported};
    for (unsigned i = 0; i < slot->candidate_count; i++) {
        const struct candidate *c = &slot->candidates[i];
        memo->candidate[(*at)++] =
            (struct put_off_candidate){.model = str_hash(c->model->dialect.name),
                                       .slot = (unsigned char)slot->number,
                                       .part = (unsigned char)c->part,
                                       .attempts = (uint32_t)c->attempts,
                                       .probes = (uint32_t)c->probes,
                                       .out = c->out,
                                       .why = c->why,
                                       .named_time = c->named_time,
                                       .needs_token = c->needs_token,
                                       .not_before_ms = c->not_before_ms};
    }
}

static void remember(struct job *job)
{
    size_t candidates = 0, at = 0;
    bool some = false;
    for (int i = 0; i < job->slot_count; i++) {
        const struct slot *slot = &job->slots[i];
        candidates += slot->candidate_count;
        some |= slot->reported || (slot->calls_before + slot->attempt > 0 && !PLANTED(70));
    }
    put_off_memo_free(job->memo);
    job->memo = some ? put_off_memo_new((size_t)job->slot_count, candidates) : NULL;
    for (int i = 0; some && i < job->slot_count; i++)
        remember_slot(&job->slots[i], job->memo, &at);
}

static void recall_candidate(struct slot *slot, const struct put_off_candidate *before)
{
    for (unsigned i = 0; i < slot->candidate_count; i++) {
        struct candidate *c = &slot->candidates[i];
        if ((unsigned char)c->part != before->part ||
            str_hash(c->model->dialect.name) != before->model)
            continue;
        c->attempts = before->attempts;
        c->probes = before->probes;
        c->out = before->out;
        c->why = before->why;
        c->named_time = before->named_time;
        c->needs_token = before->needs_token;
        c->not_before_ms = before->not_before_ms;
        return;
    }
}

/* What is left to ask, of the part it was at; a reload may have taken all of that away, then it
 * begins anew. */
void call_recall(struct slot *slot)
{
    const struct put_off_slot *before = put_off_recall(slot);
    const struct put_off_memo *memo = slot->job->memo;
    enum route_part part = slot->part;
    bool some = false;
    if (!before)
        return;
    for (size_t i = 0; i < memo->candidates; i++)
        if (memo->candidate[i].slot == slot->number)
            recall_candidate(slot, &memo->candidate[i]);
    candidate_probed_before(slot);
    slot->part = (enum route_part)before->part;
    for (unsigned i = 0; i < slot->candidate_count; i++)
        some |= candidate_usable(slot, &slot->candidates[i]);
    slot->part = some ? slot->part : part;
    for (unsigned i = 0; i < slot->candidate_count && !some; i++)
        slot->candidates[i].out = false;
}

/* ---- leaving ---- */

/* Its slots give up as if their partition were gone (queue_nobodys), and intake keeps a record. */
static void leave(struct job *job, const struct put_off_reason *reason)
{
    struct worker *worker = job->worker;
    int64_t now_ms = loop_now_ms(worker->loop);
    job->put_off = true;
    job->reason = *reason;
    remember(job);
    for (int i = 0; i < job->slot_count; i++) {
        struct slot *slot = &job->slots[i];
        if (slot->reported)
            continue;
        const struct candidate *c = candidate_now(slot);
        if (c->named_time && now_ms < c->not_before_ms)
            gate_told_later(slot->model->gate, c->not_before_ms, now_ms);
        gate_leave(slot->model->gate, &slot->place, worker->loop);
        if (slot->share.waits_at) /* else it may be about to wait there */
            queue_leave_limits(slot);
        walk_wake(&slot->walk);
    }
}

void call_look_at(struct slot *slot)
{
    struct put_off_reason reason;
    if (job_waits_long(slot->job, false, &reason))
        leave(slot->job, &reason);
}

void call_look_at_limit(struct slot *slot)
{
    struct put_off_reason reason;
    if (job_waits_long(slot->job, true, &reason))
        leave(slot->job, &reason);
}

void call_put_off_those_who_wait(struct worker *worker)
{
    LIST_EACH(&worker->resting, node)
    call_look_at(container_of(node, struct slot, permit_node));
}

/* ---- jobs that have not begun ---- */

static bool lets_nobody_in(const struct worker *worker, struct gate *gate,
                           struct put_off_reason *reason)
{
    int64_t now_ms = loop_now_ms(worker->loop);
    return (gate_is_told_later(gate, now_ms) ||
            gate_long_shut(gate, NULL, worker->conf->put_off_after_ms, now_ms)) &&
           add_gate(reason, gate);
}

/* Nor do those that may answer in its place. */
static bool model_lets_nobody_in(const struct worker *worker, const struct model *model,
                                 const struct route *route, struct put_off_reason *reason)
{
    if (model && !lets_nobody_in(worker, model->gate, reason))
        return false;
    for (size_t i = 0; route && i < route->counts[ROUTE_MAIN]; i++)
        if (!lets_nobody_in(worker, route->models[ROUTE_MAIN][i].model->gate, reason))
            return false;
    return true;
}

static bool nobody_is_let_in(struct job *job, struct put_off_reason *reason)
{
    if (job->route)
        return model_lets_nobody_in(job->worker, NULL, job->route, reason);
    for (size_t i = 0; i < job->request.models.count; i++) {
        const struct model *model = model_find(job->models, job->request.models.items[i]);
        if (!model || !model_lets_nobody_in(job->worker, model, model->fallback, reason))
            return false;
    }
    return true;
}

bool call_expects_to_wait(struct job *job)
{
    job->reason = (struct put_off_reason){.due_ms = PUT_OFF_NEVER};
    return nobody_is_let_in(job, &job->reason) &&
           intake_others_keep_place(job->worker, &job->reason);
}
