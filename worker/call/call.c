/*
 * call.c -- a slot's step "call": ask the provider, again if that is worth it, until the deadline.
 *
 * A slot holds one of `max_in_flight` permits only while its HTTP call runs, never while it waits
 * for the next attempt, nor at the model's gate for the provider to be back. Where it waits:
 * queue.c; the call itself: send.c.
 */
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "worker/call/attempt.h"
#include "worker/call/failover.h"
#include "worker/call/hedge.h"
#include "worker/call/model.h"
#include "worker/call/queue.h"
#include "worker/call/relay.h"

/* Begins a call if it may, else says what to wait for. */
static enum verdict try_call(struct slot *slot)
{
    struct job *job = slot->job;
    struct worker *worker = job->worker;
    if (queue_nobodys(slot))
        return queue_give_up(slot);
    if (job->cancelled && !PLANTED(64))
        return queue_cancelled(slot);
    if (loop_now_ms(worker->loop) >= job->deadline_ms)
        return queue_expire(slot);
    if (queue_claim_lapsed(slot))
        return queue_claim_again(slot);
    if (worker->calls_in_flight >= (size_t)worker->conf->max_in_flight && !PLANTED(46))
        return queue_for_permit(slot);
    enum verdict ready = failover_ready(slot);
    if (ready != STEP_NEXT)
        return ready == STEP_DONE ? STEP_NEXT : ready;
    if (!queue_crowd_allows(slot))
        return queue_at_crowd(slot);
    enum place_verdict verdict = queue_asks_limits(slot);
    if (verdict != PLACE_MAY)
        return verdict == PLACE_WAITS ? queue_at_limit(slot) : queue_refuse(slot);
    if (!gate_enter(slot->model->gate, &slot->place, loop_now_ms(worker->loop)))
        return queue_at_gate(slot);
    queue_left(slot);
    if (attempt_begin(slot))
        return STEP_WAIT;
    queue_free_permit(worker);
    return STEP_NEXT;
}

/* Nobody waits for chunks behind the last call. */
static enum verdict ended(struct slot *slot, enum verdict verdict)
{
    if (verdict == STEP_NEXT)
        relay_end(slot);
    return verdict;
}

enum verdict call_begin(void *subject)
{
    struct slot *slot = subject;
    must_be(slot, SLOT_MAGIC);
    return slot_decided(slot) ? STEP_NEXT : ended(slot, try_call(slot));
}

/* Settles its call if that has ended; true: there is an answer. */
static bool settle(struct slot *slot)
{
    if (!slot || !slot->calling || slot->call)
        return false;
    slot->calling = false;
    if (slot->withheld)
        attempt_undo(slot);
    else
        attempt_settle(slot);
    return !slot->call_err.code;
}

/* Of the slot's call and its hedge's, whichever has ended; one answer ends both. */
static bool settle_both(struct slot *slot)
{
    hedge_end_silent(slot);
    if (settle(slot)) {
        hedge_lose(slot->hedge);
        settle(slot->hedge);
        return true;
    }
    if (!settle(slot->hedge))
        return false;
    hedge_lose(slot);
    settle(slot);
    hedge_take_answer(slot->hedge);
    return true;
}

/* Of both failures: not that of one that was ended, and rather one that will not change. */
static const struct err *failure_of(const struct slot *slot)
{
    const struct slot *hedge = slot->hedge;
    bool final = hedge && !hedge->lost && !hedge->withheld && hedge->call_err.retry == RETRY_NEVER;
    return slot->lost || final ? &hedge->call_err : &slot->call_err;
}

static enum verdict call_ended(struct slot *slot)
{
    struct job *job = slot->job;
    if (settle_both(slot)) {
        if (!slot->answer.text.data)
            slot->answer.text = STR("");
        if (slot->relay && !slot->streamed)
            relay_add(slot->relay, slot->answer.text);
        return STEP_NEXT;
    }
    if (hedge_under_way(slot)) {
        slot->awaited = true;
        walk_ask(&slot->walk);
        return STEP_WAIT;
    }
    if (job_overflowed(job, &slot->err)) /* it would be the same again, and paid again */
        return STEP_NEXT;
    if (slot->withheld)
        return try_call(slot);
    const struct err err = *failure_of(slot);
    log_debug("provider call failed", LOG_S("model", slot->model->dialect.name),
              LOG_I("attempt", slot->attempt), LOG_C("code", err_name(err.code)),
              LOG_C("error", err.text));
    return failover_next(slot, &err);
}

/* Runs when something became of a call, after a pause, and when a permit may be free. */
enum verdict call_finish(void *subject)
{
    struct slot *slot = subject;
    must_be(slot, SLOT_MAGIC);
    list_remove(&slot->job->worker->resting, &slot->permit_node);
    bool calling = slot->calling || (slot->hedge && slot->hedge->calling);
    return ended(slot, calling ? call_ended(slot) : try_call(slot));
}
