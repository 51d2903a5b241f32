/*
 * patience.c -- who waits for a provider for so long that its place at work is better used by
 * others (put_off.h).
 *
 * A slot waits for long when none of the models it may ask is worth waiting for here: each rests
 * until a time that is far away, its gate has been shut for a while and others are there to try
 * whether it is back, or it stands in a queue (hurdle.h), and all that could be asked instead would
 * be queued for, too. A job is put off when all of its slots do, or have reported.
 */
#include "worker/call/candidates.h"
#include "worker/call/memo.h"
#include "worker/call/queue.h"

static void add(struct put_off_reason *reason, struct hurdle hurdle)
{
    for (unsigned i = 0; i < reason->count; i++) {
        if (!hurdle_is(&reason->hurdles[i], &hurdle))
            continue;
        if (hurdle.ahead < reason->hurdles[i].ahead)
            reason->hurdles[i] = hurdle;
        return;
    }
    reason->too_many |= reason->count == PUT_OFF_HURDLES_MAX;
    if (!reason->too_many)
        reason->hurdles[reason->count++] = hurdle;
    else if (hurdle.ahead != HURDLE_NOT_THERE)
        reason->hurdles[PUT_OFF_HURDLES_MAX - 1] = hurdle;
}

static void add_gate(struct put_off_reason *reason, struct gate *gate)
{
    add(reason, (struct hurdle){.kind = HURDLE_GATE, .gate = gate, .ahead = HURDLE_NOT_THERE});
}

/* ---- at queues ---- */

static bool has_choice(const struct slot *slot)
{
    return slot->candidate_count > 1 || slot->model->keys->count > 1;
}

static int64_t amount_of(const struct slot *slot, const struct limit *limit)
{
    int64_t amount = place_amount(&slot->share, limit);
    return amount || !slot->share.estimate ? amount : place_tokens(&slot->share);
}

static void add_limit(struct put_off_reason *reason, const struct slot *slot, struct limit *limit)
{
    bool here = slot->share.waits_at == limit;
    add(reason, (struct hurdle){.kind = HURDLE_LIMIT,
                                .limit = limit,
                                .amount = amount_of(slot, limit),
                                .ahead = here ? (uint32_t)limit_waiting(limit) : HURDLE_NOT_THERE});
}

static void add_crowd(struct put_off_reason *reason, struct crowd *crowd, uint32_t ahead)
{
    add(reason, (struct hurdle){.kind = HURDLE_CROWD, .crowd = crowd, .ahead = ahead});
}

/* It waits for a token, or would have to: whichever key is used. */
static bool lacks_token(const struct slot *slot, const struct candidate *c,
                        struct put_off_reason *reason)
{
    const struct gate_place fresh = {.needs_token = true};
    struct gate *gate = c->model->gate;
    bool mine = c == candidate_now(slot), here = mine && slot->place.queue;
    if (!(here ? slot->place.needs_token : c->needs_token) || !gate_closed(gate))
        return false;
    if (!here && (mine || gate_may(gate, &fresh, loop_now_ms(slot->job->worker->loop))))
        return false;
    add(reason,
        (struct hurdle){.kind = HURDLE_RETRIES,
                        .gate = gate,
                        .ahead = here ? gate_retries_ahead(gate, &slot->place) : HURDLE_NOT_THERE});
    return true;
}

static bool key_waits(const struct slot *slot, const struct candidate *c, int key,
                      struct put_off_reason *reason)
{
    struct quota *quota = c->model->quotas[key];
    bool mine = c == candidate_now(slot) && key == slot->key;
    struct limit *rate = mine ? slot->share.waits_at : quota ? quota_short_rate(quota) : NULL;
    if (rate)
        add_limit(reason, slot, rate);
    return rate != NULL;
}

/* For room and for what limits the caller it waits whoever else is there (docs/routes.md). */
static bool waits_for_good(const struct slot *slot, struct put_off_reason *reason)
{
    struct limit *limit = slot->share.waits_at;
    if (slot->crowd.queued)
        add_crowd(reason, quota_crowd(slot->quota),
                  (uint32_t)crowd_waiting(quota_crowd(slot->quota)));
    else if (limit && quota_is_callers(slot->quota, limit))
        add_limit(reason, slot, limit);
    else
        return false;
    return true;
}

/* All of its keys that could be used are in use. */
static bool keys_wait(const struct slot *slot, const struct candidate *c,
                      struct put_off_reason *reason)
{
    int64_t now_ms = loop_now_ms(slot->job->worker->loop);
    bool some = false;
    for (int key = 0; key < (int)c->model->keys->count; key++) {
        if (has_choice(slot) && keys_benched(c->model->keys, key, now_ms))
            continue;
        if (!key_waits(slot, c, key, reason))
            return false;
        some = true;
    }
    return some;
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

/* `in_queue`: who waits in a queue leaves it when its turn is not soon. */
static bool candidate_waits_long(const struct slot *slot, const struct candidate *c, bool in_queue,
                                 struct put_off_reason *reason)
{
    bool rests = loop_now_ms(slot->job->worker->loop) < c->not_before_ms;
    if (rests && rests_long(slot, c) && others_rest(slot, c->model->gate)) {
        if (reason->due_ms > c->not_before_ms)
            reason->due_ms = c->not_before_ms;
        return true;
    }
    reason->has_tried |= slot->attempt > 0;
    if (is_long_shut(slot, c)) {
        add_gate(reason, c->model->gate);
        return true;
    }
    return !rests && (lacks_token(slot, c, reason) || (in_queue && keys_wait(slot, c, reason)));
}

static bool is_under_way(const struct slot *slot)
{
    return !list_linked(&slot->permit_node) || !timer_is_set(&slot->walk.timer) || slot->calling ||
           slot->place.woken || slot->crowd.woken || slot->paid ||
           (slot->hedge && slot->hedge->calling);
}

static bool slot_waits_long(const struct slot *slot, bool in_queue, struct put_off_reason *reason)
{
    bool some = false;
    if (is_under_way(slot))
        return false;
    if (in_queue && waits_for_good(slot, reason))
        return true;
    for (unsigned i = 0; i < slot->candidate_count; i++) {
        if (!candidate_usable(slot, &slot->candidates[i]))
            continue;
        if (!candidate_waits_long(slot, &slot->candidates[i], in_queue, reason))
            return false;
        some = true;
    }
    return some;
}

static bool job_waits_long(struct job *job, bool in_queue, struct put_off_reason *reason)
{
    bool some = false;
    *reason = (struct put_off_reason){.due_ms = PUT_OFF_NEVER};
    if (job->put_off || job->cancelled || job->conflict || !intake_may_put_off(job))
        return false;
    for (int i = 0; i < job->slot_count; i++) {
        if (job->slots[i].reported)
            continue;
        if (!slot_waits_long(&job->slots[i], in_queue, reason))
            return false;
        some = true;
    }
    return some && (reason->count == 0 || !intake_keeps_place(job, reason));
}

/* ---- leaving ---- */

/* Its slots give up as if their partition were gone (queue_nobodys), and intake keeps a record. */
static void leave(struct job *job, const struct put_off_reason *reason)
{
    struct worker *worker = job->worker;
    int64_t now_ms = loop_now_ms(worker->loop);
    job->put_off = true;
    job->reason = *reason;
    memo_make(job);
    for (int i = 0; i < job->slot_count; i++) {
        struct slot *slot = &job->slots[i];
        if (slot->reported)
            continue;
        const struct candidate *c = candidate_now(slot);
        if (c->named_time && now_ms < c->not_before_ms)
            gate_told_later(slot->model->gate, c->not_before_ms, now_ms);
        gate_leave(slot->model->gate, &slot->place, worker->loop);
        if (slot->share.waits_at || slot->crowd.queued) /* else it may be about to wait there */
            queue_leave_limits(slot);
        walk_wake(&slot->walk);
    }
}

static void look_at(struct job *job, bool in_queue)
{
    struct put_off_reason reason;
    if (job_waits_long(job, in_queue, &reason))
        leave(job, &reason);
}

void call_look_at(struct slot *slot)
{
    look_at(slot->job, false);
}

void call_look_at_queue(struct slot *slot)
{
    look_at(slot->job, true);
}

void call_look_at_rest(struct job *job)
{
    if (!list_empty(&job->worker->resting))
        look_at(job, true);
}

/* Who waits in a queue has been looked at when it came, but those that could answer instead may
 * have to be waited for since. */
void call_put_off_those_who_wait(struct worker *worker)
{
    LIST_EACH(&worker->resting, node)
    {
        struct slot *slot = container_of(node, struct slot, permit_node);
        look_at(slot->job, has_choice(slot));
    }
}

/* ---- jobs that have not begun ---- */

/* It would have to wait for room, and has no other key to ask with. */
static bool has_no_room(const struct model *model, struct put_off_reason *reason)
{
    struct quota *quota = model->keys->count == 1 ? model->quotas[0] : NULL;
    if (!quota || !crowd_full(quota_crowd(quota)))
        return false;
    add_crowd(reason, quota_crowd(quota), (uint32_t)crowd_waiting(quota_crowd(quota)) + 1);
    return true;
}

static bool lets_nobody_in(const struct worker *worker, const struct model *model,
                           struct put_off_reason *reason)
{
    int64_t now_ms = loop_now_ms(worker->loop);
    if (!gate_is_told_later(model->gate, now_ms) &&
        !gate_long_shut(model->gate, NULL, worker->conf->put_off_after_ms, now_ms))
        return has_no_room(model, reason);
    add_gate(reason, model->gate);
    return true;
}

/* Nor do those that may answer in its place. */
static bool model_lets_nobody_in(const struct worker *worker, const struct model *model,
                                 const struct route *route, struct put_off_reason *reason)
{
    if (model && !lets_nobody_in(worker, model, reason))
        return false;
    for (size_t i = 0; route && i < route->counts[ROUTE_MAIN]; i++)
        if (!lets_nobody_in(worker, route->models[ROUTE_MAIN][i].model, reason))
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
    return nobody_is_let_in(job, &job->reason) && intake_others_keep_place(job, &job->reason);
}
