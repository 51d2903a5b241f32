/*
 * call.c -- a slot's step "call": ask the provider, again if that is worth it, until the deadline.
 *
 * A slot holds one of `max_in_flight` permits only while its HTTP call runs, never while it waits
 * for the next attempt, nor at the model's gate for the provider to be back. Where it waits:
 * queue.c; the call itself: send.c.
 */
#include "common/app/metrics.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "worker/call/failover.h"
#include "worker/call/model.h"
#include "worker/call/queue.h"
#include "worker/call/relay.h"
#include "worker/call/send.h"

/* An error reply has cost no tokens; of a call that was cut nobody knows, and the estimate stays.
 */
static void settle_share(struct slot *slot, bool is_free)
{
    const struct usage none = {0}, *usage = slot->answer.usage_known ? &slot->answer.usage : &none;
    if (slot->quota)
        quota_settle(slot->quota, &slot->share, usage, model_cost_microusd(slot->model, usage),
                     is_free);
}

static void take_share(struct slot *slot)
{
    place_takes(&slot->share);
    if (slot->quota)
        crowd_enter(quota_crowd(slot->quota), &slot->crowd);
}

static void leave_crowd(struct slot *slot, enum concurrency_news news)
{
    int64_t now_ms = loop_now_ms(slot->job->worker->loop);
    int64_t took_ms =
        slot->first_byte_ms > 0 ? slot->first_byte_ms : now_ms - slot->call_started_ms;
    if (slot->quota)
        crowd_ended(quota_crowd(slot->quota), &slot->crowd, news, slot->call_started_ms, took_ms,
                    now_ms);
}

/* What a call's end says of how many at once the provider bears. */
static enum concurrency_news crowd_news(const struct slot *slot, const struct err *err)
{
    if (!err->code)
        return CONCURRENCY_WELL;
    if (err->code == ERR_PROVIDER_RATE || slot->reply.status == 503 || slot->reply.status == 529 ||
        (err->code == ERR_PROVIDER_TIMEOUT && !slot->cut_short))
        return CONCURRENCY_OVERLOADED;
    return CONCURRENCY_NOTHING;
}

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
    take_share(slot);
    queue_left(slot);
    failover_began(slot);
    if (send_call(slot))
        return STEP_WAIT;
    failover_ended(slot, &slot->err);
    gate_ended(slot->model->gate, &slot->place, BREAKER_NOTHING, slot->call_started_ms,
               worker->loop);
    settle_share(slot, true);
    leave_crowd(slot, CONCURRENCY_NOTHING);
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

static struct str outcome_of(const struct err *err)
{
    return err->code ? str_of(err_name(err->code)) : STR("ok");
}

/* What the call that just ended was worth: the attempt's row, the answer or the error. */
static void settle_attempt(struct slot *slot, struct err *err)
{
    struct job *job = slot->job;
    struct attempt *a = &slot->attempts[slot->attempt - 1];
    *err = slot->call_err;
    if (slot->streamed) {
        a->http_status = slot->reply.status;
    } else if (!err->code) {
        slot->reply.wall_ms = loop_wall_ms(job->worker->loop);
        a->http_status = slot->reply.status;
        if (slot->reply.status != 200) /* some show the key that they refuse */
            log_redact_text((char *)(uintptr_t)slot->reply.body.data, slot->reply.body.len);
        slot->model->provider->decode(&slot->reply, &job->arena, &slot->answer, err);
    }
    if (err->code)
        log_redact_text(err->text, strlen(err->text));
    a->latency_ms = loop_now_ms(job->worker->loop) - slot->call_started_ms;
    if (slot->reply.status == 200 && PLANTED(19))
        err->code = ERR_NONE;
    a->outcome = ledger_outcome(slot, err);
    if (slot->sends > 1)
        ledger_note_resent(slot, a);
    slot->paid |= slot->answer.usage_known;
    if (slot->answer.usage_known || slot->answer.usage.input) { /* also of half an answer */
        a->usage = slot->answer.usage;
        a->cost_microusd = model_cost_microusd(slot->model, &a->usage);
    }
    if (slot->quota)
        quota_told(slot->quota, &slot->share, slot->reply.rate_headers);
    if (slot->quota && err->code == ERR_PROVIDER_RATE && err->retry_after_ms > 0)
        quota_refused(slot->quota, &slot->share, err->retry_after_ms);
    settle_share(slot, slot->reply.status >= 400);
    leave_crowd(slot, crowd_news(slot, err));
    failover_ended(slot, err);
    if (err->code) {
        a->error_code = str_of(err_name(err->code));
        a->error_message = arena_str(&job->arena, str_of(err->text));
        slot->answer = (struct answer){0};
        metric_add_for(METRIC_call_errors_total, outcome_of(err), 1);
    }
    gate_ended(slot->model->gate, &slot->place, gate_news(err, slot->reply.status, slot->cut_short),
               slot->call_started_ms, job->worker->loop);
    metric_add_for(METRIC_calls_total, slot->model->dialect.name, 1);
    metric_observe_ms_for(METRIC_call_seconds, slot->model->dialect.name, (double)a->latency_ms);
}

static enum verdict call_ended(struct slot *slot)
{
    struct job *job = slot->job;
    struct err err = {0};
    settle_attempt(slot, &err);
    if (!err.code) {
        if (!slot->answer.text.data)
            slot->answer.text = STR("");
        if (slot->relay && !slot->streamed)
            relay_add(slot->relay, slot->answer.text);
        return STEP_NEXT;
    }
    if (job_overflowed(job, &slot->err)) /* it would be the same again, and paid again */
        return STEP_NEXT;
    log_debug("provider call failed", LOG_S("model", slot->model->dialect.name),
              LOG_I("attempt", slot->attempt), LOG_S("code", outcome_of(&err)),
              LOG_C("error", err.text));
    return failover_next(slot, &err);
}

/* Runs after a call, after a pause, and when a permit may be free. */
enum verdict call_finish(void *subject)
{
    struct slot *slot = subject;
    must_be(slot, SLOT_MAGIC);
    list_remove(&slot->job->worker->resting, &slot->permit_node);
    bool calling = slot->calling;
    slot->calling = false;
    return ended(slot, calling ? call_ended(slot) : try_call(slot));
}
