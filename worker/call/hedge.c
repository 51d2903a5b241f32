/*
 * hedge.c -- see hedge.h.
 */
#include "worker/call/hedge.h"

#include "common/app/metrics.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "worker/call/attempt.h"
#include "worker/call/candidates.h"
#include "worker/call/keyring.h"
#include "worker/call/listen.h"
#include "worker/call/model.h"
#include "worker/call/queue.h"
#include "worker/call/relay.h"
#include "worker/call/send.h"

static const double median = 0.5;

static int64_t now_of(const struct slot *slot)
{
    return loop_now_ms(slot->job->worker->loop);
}

/* ---- whether ---- */

/* Another may be at it: what it would cost is paid twice already. */
static bool claim_holds(const struct slot *slot)
{
    const struct worker *worker = slot->job->worker;
    if (slot->claim != CLAIM_MINE)
        return !redis_enabled(worker->redis);
    return !queue_claim_is_dead(slot, now_of(slot));
}

static bool is_wanted(const struct slot *slot)
{
    const struct job *job = slot->job;
    return !job->cancelled && !job->worker->draining && job_owned(job) && claim_holds(slot);
}

/* It must be able to answer in time, too. */
static bool has_time(const struct slot *slot)
{
    return slot->job->deadline_ms - now_of(slot) >=
           (int64_t)latency_quantile_ms(slot->model->latency, median);
}

static bool has_room(const struct slot *slot)
{
    const struct worker *worker = slot->job->worker;
    return worker->calls_in_flight < (size_t)worker->conf->max_in_flight &&
           list_empty(&worker->permit_queue) &&
           slot->attempts_room - slot->calls_before < SLOT_ATTEMPTS_MAX &&
           !arena_overflowed(&slot->job->arena);
}

static bool may_hedge(const struct slot *slot)
{
    return slot->call && !slot->hedge && !listen_heard(slot) && !relay_has_spoken(slot) &&
           is_wanted(slot) && has_time(slot) && has_room(slot) && hedging_may(slot->model->hedging);
}

/* ---- the second call ---- */

/* NULL: no key is there for it, or no memory. */
static struct slot *make_hedge(struct slot *slot)
{
    struct job *job = slot->job;
    int key = keys_pick(slot->model->keys, now_of(slot));
    struct slot *hedge = key < 0 ? NULL : arena_try(&job->arena, sizeof(*hedge));
    if (!hedge)
        return NULL;
    *hedge = (struct slot){
        .magic = SLOT_MAGIC,
        .job = job,
        .number = slot->number,
        .hedge_of = slot,
        .model = slot->model,
        .prompt = slot->prompt,
        .request = keyring_request(candidate_now(slot)->request, slot->model->secrets[0],
                                   slot->model->secrets[key], &job->arena),
        .key = key,
        .quota = slot->model->quotas[key],
    };
    return hedge;
}

/* It never waits: where there is no room at once there is no second call. */
static bool is_let_in(struct slot *hedge)
{
    bool shares = PLANTED(68) || queue_asks_limits(hedge) == PLACE_MAY;
    if (shares && queue_crowd_allows(hedge) && gate_closed(hedge->model->gate) &&
        gate_enter(hedge->model->gate, &hedge->place, now_of(hedge)))
        return true;
    place_leaves(&hedge->share);
    return false;
}

static void begin(struct slot *slot)
{
    struct slot *hedge = make_hedge(slot);
    if (!hedge || !is_let_in(hedge))
        return;
    slot->hedge = hedge;
    slot->attempts_room++;
    hedging_take(slot->model->hedging);
    slot->job->worker->claim_hedge(slot);
    metric_add_for(METRIC_hedges_total, slot->model->dialect.name, 1);
    attempt_begin(hedge);
}

static void timer_strikes(void *context)
{
    struct slot *slot = context;
    must_be(slot, SLOT_MAGIC);
    if (may_hedge(slot))
        begin(slot);
}

/* The program may end in the midst of a call. */
static void forget_timer(void *context)
{
    hedge_unwatch(context);
}

void hedge_watch(struct slot *slot)
{
    const struct model *model = slot->model;
    struct job *job = slot->job;
    slot->lost = false;
    slot->speaker = NULL;
    if (!model->hedge.on || job->batch)
        return;
    if (slot->place.first)
        hedging_first_call(model->hedging, &model->hedge);
    slot->slow_ms = hedging_slow_ms(model->hedging, &model->hedge);
    if (slot->hedge || slot->slow_ms >= job->deadline_ms - slot->call_started_ms)
        return;
    if (!slot->hedge_timer_kept)
        arena_defer(&job->arena, forget_timer, slot);
    slot->hedge_timer_kept = true;
    timer_set(job->worker->loop, &slot->hedge_timer, slot->call_started_ms + slot->slow_ms,
              timer_strikes, slot);
}

void hedge_unwatch(struct slot *slot)
{
    timer_cancel(slot->job->worker->loop, &slot->hedge_timer);
}

/* ---- who wins ---- */

static struct slot *other_of(struct slot *slot)
{
    return slot->hedge_of ? slot->hedge_of : slot->hedge;
}

void hedge_lose(struct slot *slot)
{
    struct err err;
    if (!slot || !slot->calling)
        return;
    slot->lost = true;
    err_set(&err, ERR_CANCELLED, HEDGE_LOST_TEXT);
    if (slot->call)
        send_stop(slot, &err);
}

void hedge_take_answer(struct slot *hedge)
{
    struct slot *slot = hedge->hedge_of;
    slot->answer = hedge->answer;
    slot->streamed = hedge->streamed;
    slot->key = hedge->key;
    slot->first_byte_ms =
        hedge->call_started_ms - slot->call_started_ms + hedge->first_byte_ms; /* for who waits */
    if (slot->relay && !hedge->streamed)
        relay_begin(slot, hedge->row->run_id);
    metric_add_for(METRIC_hedges_won_total, slot->model->dialect.name, 1);
}

bool hedge_speaks(struct slot *slot)
{
    struct slot *owner = slot_owner(slot), *other = other_of(slot);
    if (!owner->relay)
        return false;
    if (!owner->speaker) {
        owner->speaker = slot;
        if (slot != owner)
            relay_begin(owner, slot->row->run_id);
        if (other && other->call)
            slot_has_news(owner); /* the other one is to be ended */
    }
    return owner->speaker == slot;
}

void hedge_end_silent(struct slot *slot)
{
    if (slot->speaker)
        hedge_lose(other_of(slot->speaker));
}

bool hedge_under_way(const struct slot *slot)
{
    return slot->call || (slot->hedge && slot->hedge->call);
}

bool hedge_tells(const struct slot *slot, const struct err *err, int64_t took_ms)
{
    const struct slot *owner = slot->hedge_of ? slot->hedge_of : slot;
    bool in_vain = err->code == ERR_PROVIDER_TIMEOUT && !slot->cut_short;
    bool was_slow = slot->lost && took_ms >= owner->slow_ms;
    return !err->code || in_vain || was_slow;
}

void hedge_note(const struct slot *slot, int64_t took_ms)
{
    const struct model *model = slot->model;
    if (model->hedge.on && !slot->job->batch)
        hedging_note(model->hedging, slot->sign_ms == INT_ABSENT ? took_ms : slot->sign_ms);
}
