/*
 * call.c -- a slot's step "call": ask the provider, again if that is worth it, until the deadline.
 *
 * A slot holds one of `max_in_flight` permits only while its HTTP call runs, never while it waits
 * for the next attempt, nor at the model's gate for the provider to be back. Every call gets a run
 * id of its own (a row of the ledger) and tells the provider its call id: tenant, request, slot,
 * attempt. The same call after a crash has the same call id, so a ledger outside can judge us.
 */
#include "common/app/metrics.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/rand.h"
#include "common/data/digest.h"
#include "worker/call/model.h"
#include "worker/call/retry.h"
#include "worker/job.h"

enum { CALL_HEADERS_MAX = PROVIDER_HEADERS_MAX + 3, CLAIM_AGAIN_MS = 1000, CLAIM_STALE_MS = 10000 };

static bool plain(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c <= ' ' || c >= 127)
            return false;
    }
    return true;
}

/* Readable where id and tenant may stand in a header, else a hash of them. */
static struct str call_id(struct slot *slot)
{
    struct job *job = slot->job;
    struct str name =
        arena_printf(&job->arena, STR_FMT "/" STR_FMT, STR_ARG(job->tenant), STR_ARG(job->id));
    char hash[33];
    if (!plain(name)) {
        digest_sha256_hex(name, hash, 32);
        name = str_of(hash);
    }
    return arena_printf(&job->arena, STR_FMT "/%d/%u", STR_ARG(name), slot->number, slot->attempt);
}

static struct attempt *note_attempt(struct slot *slot)
{
    struct job *job = slot->job;
    struct worker *worker = job->worker;
    if (!slot->attempts)
        slot->attempts = arena_array(&job->arena, struct attempt, slot->model->attempts_max);
    struct attempt *a = &slot->attempts[slot->attempt++];
    char run_id[UUID_TEXT_LEN + 1];
    rand_uuid7(loop_rand(worker->loop), loop_wall_ms(worker->loop), run_id);
    contract_init(&contract_attempt, a);
    a->run_id = arena_str(&job->arena, str_of(run_id));
    a->call_id = call_id(slot);
    a->number = slot->attempt;
    a->model = slot->model->dialect.name;
    a->provider = str_of(slot->model->provider->name);
    a->started_at = loop_wall_ms(worker->loop);
    return a;
}

static void next_permit(struct worker *worker)
{
    struct list_node *node = list_pop(&worker->permit_queue);
    if (node)
        walk_answer(&container_of(node, struct slot, permit_node)->walk);
}

/* Bodies of all attempts stay in the arena; one too many ends the slot instead of the process. */
static void keep_body(struct slot *slot, struct str body)
{
    char *copy = arena_try(&slot->job->arena, body.len + 1);
    if (!copy) {
        err_set(&slot->call_err, ERR_TOO_BIG, "the request's replies need too much memory");
        return;
    }
    memcpy(copy, body.data, body.len);
    copy[body.len] = '\0';
    slot->reply.body = str_from(copy, body.len);
}

/* Only records: the reply's bytes are the door's and end with this call. */
static void call_done(const struct http_reply *reply, const struct err *err, void *context)
{
    struct slot *slot = context;
    must_be(slot, SLOT_MAGIC);
    struct arena *arena = &slot->job->arena;
    slot->call = NULL;
    slot->call_err = err ? *err : (struct err){0};
    slot->reply = (struct provider_reply){0};
    slot->first_byte_ms = reply ? reply->first_byte_us / 1000 : 0;
    if (!err) {
        slot->reply.status = reply->status;
        keep_body(slot, reply->body);
        if (reply->status != 200) {
            slot->reply.retry_after = arena_str(arena, http_reply_header(reply, "Retry-After"));
            slot->reply.retry_after_ms =
                arena_str(arena, http_reply_header(reply, "retry-after-ms"));
        }
    }
    CRASH_POINT(call_answered);
    slot->job->worker->calls_in_flight--;
    if (!PLANTED(20))
        next_permit(slot->job->worker);
    walk_answer(&slot->walk);
}

static void copy_headers(const struct slot *slot, struct str id, struct http_header *ret,
                         size_t *ret_count)
{
    const struct provider_request *request = &slot->request;
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++)
        ret[count++] = (struct http_header){request->headers[i].name, request->headers[i].value};
    ret[count++] = (struct http_header){STR("X-Request-Id"), id};
    ret[count++] = (struct http_header){STR("Idempotency-Key"), id};
    if (str_empty(slot->model->dialect.base_url)) /* OpenAI's own servers log it */
        ret[count++] = (struct http_header){STR("X-Client-Request-Id"), id};
    *ret_count = count;
}

static bool send_call(struct slot *slot)
{
    struct job *job = slot->job;
    struct worker *worker = job->worker;
    int64_t now = loop_now_ms(worker->loop), left = job->deadline_ms - now;
    if (PLANTED(41))
        left = slot->model->timeout_ms;
    struct attempt *attempt = note_attempt(slot);
    struct http_header headers[CALL_HEADERS_MAX];
    struct http_request request = {
        .method = STR("POST"),
        .url = slot->request.url,
        .headers = headers,
        .body = slot->request.body,
        .connect_timeout_ms = slot->model->connect_timeout_ms,
        .total_timeout_ms = left < slot->model->timeout_ms ? left : slot->model->timeout_ms,
    };
    copy_headers(slot, attempt->call_id, headers, &request.header_count);
    slot->cut_short = left < slot->model->timeout_ms;
    slot->call_started_ms = now;
    slot->call = http_call(worker->http, &request, call_done, slot, &slot->err);
    if (!slot->call)
        return false;
    slot->calling = true;
    worker->calls_in_flight++;
    walk_ask(&slot->walk);
    CRASH_POINT(call_sent);
    return true;
}

/* What was not paid for is left to the next owner, or to the next life. */
static bool nobodys(const struct slot *slot)
{
    return !slot->paid && (!job_owned(slot->job) || slot->job->worker->draining);
}

static void leave_limit(struct slot *slot)
{
    if (slot->model->limit)
        limit_leave(slot->model->limit, &slot->share);
}

/* There is no call after all: the place at the gate and the permit are for others. */
static void step_aside(struct slot *slot)
{
    gate_leave(slot->model->gate, &slot->place, slot->job->worker->loop);
    leave_limit(slot);
    next_permit(slot->job->worker);
}

static enum verdict give_up(struct slot *slot)
{
    slot->abandoned = true;
    step_aside(slot);
    return STEP_FAIL;
}

/* The text says what the provider did last, for whoever asks why it took so long. */
static enum verdict expire(struct slot *slot)
{
    struct str last = slot->attempt ? slot->attempts[slot->attempt - 1].error_code : STR("");
    err_set(&slot->err, ERR_EXPIRED, "the deadline passed after %u calls%s%s" STR_FMT,
            slot->attempt, slot->place.queue ? ", waiting for the provider to be back" : "",
            str_empty(last) ? "" : "; the last one: ", STR_ARG(last));
    step_aside(slot);
    return STEP_NEXT;
}

static void rest_until(struct slot *slot, int64_t at_ms)
{
    list_append(&slot->job->worker->resting, &slot->permit_node);
    walk_sleep_until(&slot->walk, at_ms);
}

/* Until the gate wakes it, or the deadline. */
static enum verdict wait_at_gate(struct slot *slot)
{
    struct job *job = slot->job;
    leave_limit(slot);
    rest_until(slot, job->deadline_ms);
    gate_wait(slot->model->gate, &slot->place, &slot->walk);
    next_permit(job->worker); /* ours was not used */
    return STEP_WAIT;
}

/* Until there is a share of the fleet's limit for it, or the deadline. */
static enum verdict wait_at_limit(struct slot *slot)
{
    struct job *job = slot->job;
    rest_until(slot, job->deadline_ms);
    limit_wait(slot->model->limit, &slot->share, &slot->walk);
    next_permit(job->worker); /* ours was not used */
    return STEP_WAIT;
}

/* Whether the fleet's limit has room for it; true takes nothing yet. */
static bool limit_allows(struct slot *slot)
{
    struct limit *limit = slot->model->limit;
    if (!limit)
        return true;
    slot->share.bytes = slot->request.body.len;
    slot->share.output_max = provider_max_tokens(&slot->model->dialect, slot->prompt.params);
    return limit_may(limit, &slot->share);
}

/* We stood still, or Redis did not hear us: somebody else may be at it, or have answered it. Who
 * has no claim, for Redis did not answer, and had to wait since, asks again when Redis is back; so
 * does who had to wait for long, for another may have been at it without a claim. */
static bool claim_has_lapsed(const struct slot *slot)
{
    const struct worker *worker = slot->job->worker;
    int64_t now_ms = loop_now_ms(worker->loop);
    if (slot->claims_lapsed >= CLAIMS_LAPSED_MAX)
        return false;
    if (slot->claim == CLAIM_NONE)
        return redis_up(worker->redis) && now_ms - slot->claimed_ms > CLAIM_AGAIN_MS;
    return slot->claim == CLAIM_MINE &&
           (now_ms >= worker->alive_until_ms || slot->claimed_ms < worker->alive_since_ms ||
            (redis_up(worker->redis) && now_ms - slot->claimed_ms > CLAIM_STALE_MS));
}

static enum verdict claim_again(struct slot *slot)
{
    slot->claims_lapsed++;
    step_aside(slot);
    return STEP_BACK;
}

/* An error reply has cost no tokens; of a call that was cut nobody knows, and the estimate stays.
 */
static void settle_share(struct slot *slot, bool is_free)
{
    const struct usage *usage = &slot->answer.usage;
    if (slot->model->limit)
        limit_settle(slot->model->limit, &slot->share, usage->input, usage->output, is_free);
}

/* Begins a call if it may, else says what to wait for. */
static enum verdict try_call(struct slot *slot)
{
    struct job *job = slot->job;
    struct worker *worker = job->worker;
    if (nobodys(slot))
        return give_up(slot);
    if (loop_now_ms(worker->loop) >= job->deadline_ms)
        return expire(slot);
    if (claim_has_lapsed(slot))
        return claim_again(slot);
    if (worker->calls_in_flight >= (size_t)worker->conf->max_in_flight && !PLANTED(46)) {
        walk_ask(&slot->walk);
        list_append(&worker->permit_queue, &slot->permit_node);
        return STEP_WAIT;
    }
    slot->place.first = slot->attempt == 0;
    if (!limit_allows(slot))
        return wait_at_limit(slot);
    if (!gate_enter(slot->model->gate, &slot->place, loop_now_ms(worker->loop)))
        return wait_at_gate(slot);
    if (slot->model->limit)
        limit_take(slot->model->limit, &slot->share);
    if (send_call(slot))
        return STEP_WAIT;
    gate_ended(slot->model->gate, &slot->place, BREAKER_NOTHING, slot->call_started_ms,
               worker->loop);
    settle_share(slot, true);
    next_permit(worker);
    return STEP_NEXT;
}

enum verdict call_begin(void *subject)
{
    struct slot *slot = subject;
    must_be(slot, SLOT_MAGIC);
    return slot_decided(slot) ? STEP_NEXT : try_call(slot);
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
    if (!err->code) {
        slot->reply.wall_ms = loop_wall_ms(job->worker->loop);
        a->http_status = slot->reply.status;
        slot->model->provider->decode(&slot->reply, &job->arena, &slot->answer, err);
    }
    a->latency_ms = loop_now_ms(job->worker->loop) - slot->call_started_ms;
    if (slot->reply.status == 200 && PLANTED(19))
        err->code = ERR_NONE;
    a->outcome = err->code ? STR("failed") : STR("ok");
    if (slot->answer.usage_known) {
        slot->paid = true;
        a->usage = slot->answer.usage;
        a->cost_microusd = model_cost_microusd(slot->model, &a->usage);
    }
    settle_share(slot, slot->reply.status >= 400);
    if (slot->model->limit && err->code == ERR_PROVIDER_RATE && err->retry_after_ms > 0)
        limit_refused(slot->model->limit, err->retry_after_ms);
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
    struct worker *worker = job->worker;
    struct err err = {0};
    settle_attempt(slot, &err);
    if (!err.code) {
        if (!slot->answer.text.data)
            slot->answer.text = STR("");
        return STEP_NEXT;
    }
    if (job_overflowed(job, &slot->err)) /* it would be the same again, and paid again */
        return STEP_NEXT;
    const struct retry_rule rule = {worker->conf->retry_base_ms, worker->conf->retry_cap_ms,
                                    slot->model->attempts_max};
    int64_t now = loop_now_ms(worker->loop), pause;
    log_debug("provider call failed", LOG_S("model", slot->model->dialect.name),
              LOG_I("attempt", slot->attempt), LOG_S("code", outcome_of(&err)),
              LOG_C("error", err.text));
    if (retry_pause(&rule, &err, slot->attempt, now, job->deadline_ms, loop_rand(worker->loop),
                    &pause)) {
        metric_add(METRIC_call_retries_total, 1);
        /* A time that the provider has named itself is no burden to it. */
        slot->place.needs_token = err.code != ERR_PROVIDER_RATE || err.retry_after_ms <= 0;
        if (nobodys(slot))
            return give_up(slot);
        rest_until(slot, now + pause);
        return STEP_WAIT;
    }
    slot->err = err;
    return now >= job->deadline_ms ? expire(slot) : STEP_NEXT;
}

/* Runs after a call, after a pause, and when a permit may be free. */
enum verdict call_finish(void *subject)
{
    struct slot *slot = subject;
    must_be(slot, SLOT_MAGIC);
    list_remove(&slot->job->worker->resting, &slot->permit_node);
    if (!slot->calling)
        return try_call(slot);
    slot->calling = false;
    return call_ended(slot);
}

void call_wake_unpaid(struct worker *worker)
{
    LIST_EACH(&worker->resting, node)
    {
        struct slot *slot = container_of(node, struct slot, permit_node);
        if (nobodys(slot))
            walk_wake(&slot->walk);
    }
    LIST_EACH(&worker->permit_queue, node)
    {
        struct slot *slot = container_of(node, struct slot, permit_node);
        if (!nobodys(slot))
            continue;
        list_remove(&worker->permit_queue, node);
        walk_answer(&slot->walk);
    }
}
