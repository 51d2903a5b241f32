/*
 * attempt.c -- see attempt.h.
 */
#include "worker/call/attempt.h"

#include "common/app/metrics.h"
#include "common/base/log.h"
#include "common/base/plant.h"
#include "worker/call/candidates.h"
#include "worker/call/failover.h"
#include "worker/call/hedge.h"
#include "worker/call/model.h"
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

static void give_back(struct slot *slot, const struct err *err)
{
    failover_ended(slot, err);
    gate_ended(slot->model->gate, &slot->place, BREAKER_NOTHING, slot->call_started_ms,
               slot->job->worker->loop);
    settle_share(slot, true);
    leave_crowd(slot, CONCURRENCY_NOTHING);
}

bool attempt_begin(struct slot *slot)
{
    take_share(slot);
    failover_began(slot);
    if (send_call(slot))
        return true;
    give_back(slot, &slot->err);
    return false;
}

/* Its row is not told, unless one of a hedge stands behind it. */
void attempt_undo(struct slot *slot)
{
    struct slot *owner = slot_owner(slot);
    give_back(slot, &slot->call_err);
    if (slot == owner)
        candidate_now(slot)->attempts--;
    if (slot->row == &owner->attempts[owner->attempt - 1])
        owner->attempt--;
    else
        slot->row->outcome = STR("cancelled");
    slot->answer = (struct answer){0};
    slot->streamed = false;
}

/* The answer, or the error, of what came. */
static void read_reply(struct slot *slot, struct err *err)
{
    struct job *job = slot->job;
    err_copy(err, &slot->call_err);
    if (!slot->streamed && !err->code) {
        slot->reply.wall_ms = loop_wall_ms(job->worker->loop);
        if (slot->reply.status != 200) /* some show the key that they refuse */
            log_redact_text((char *)(uintptr_t)slot->reply.body.data, slot->reply.body.len);
        provider_decode(slot->model->provider, &slot->prompt, &slot->reply, &job->arena,
                        &slot->answer, err);
    }
    if (err->code)
        log_redact_text(err->text, strlen(err->text));
    if (slot->reply.status == 200 && PLANTED(19))
        err->code = ERR_NONE;
    if (slot->lost && !err->code) /* a moment too late */
        err_set(err, ERR_CANCELLED, HEDGE_LOST_TEXT);
}

static void fill_row(struct slot *slot, const struct err *err)
{
    struct attempt *a = slot->row;
    a->http_status = slot->reply.status;
    a->latency_ms = loop_now_ms(slot->job->worker->loop) - slot->call_started_ms;
    a->outcome = ledger_outcome(slot, err);
    if (slot->sends > 1)
        ledger_note_resent(slot_owner(slot), a);
    a->usage = slot->answer.usage;         /* also of half an answer */
    if (a->usage.input || a->usage.output) /* else it was not told, or not so that we can read it */
        a->cost_microusd = model_cost_microusd(slot->model, &a->usage);
    if (!err->code)
        return;
    a->error_code = str_of(err_name(err->code));
    a->error_message = arena_str(&slot->job->arena, str_of(err->text));
}

static void settle_limits(struct slot *slot, const struct err *err)
{
    if (slot->quota && (!err->code || slot->reply.rate_headers.len))
        quota_told(slot->quota, &slot->share, slot->reply.rate_headers);
    if (slot->quota && err->code == ERR_PROVIDER_RATE && err->retry_after_ms > 0)
        quota_refused(slot->quota, &slot->share, err->retry_after_ms);
    settle_share(slot, slot->reply.status >= 400);
    leave_crowd(slot, crowd_news(slot, err));
}

void attempt_settle(struct slot *slot)
{
    struct err err;
    struct str model = slot->model->dialect.name;
    read_reply(slot, &err);
    fill_row(slot, &err);
    slot_owner(slot)->paid |= slot->answer.usage_known;
    settle_limits(slot, &err);
    failover_ended(slot, &err);
    gate_ended(slot->model->gate, &slot->place,
               gate_news(&err, slot->reply.status, slot->cut_short), slot->call_started_ms,
               slot->job->worker->loop);
    if (err.code)
        slot->answer = (struct answer){0};
    if (err.code && !(slot->lost && err.code == ERR_CANCELLED))
        metric_add_for(METRIC_call_errors_total, str_of(err_name(err.code)), 1);
    metric_add_for(METRIC_calls_total, model, 1);
    metric_observe_ms_for(METRIC_call_seconds, model, (double)slot->row->latency_ms);
    err_copy(&slot->call_err, &err);
}
