/*
 * queue.c -- see queue.h.
 */
#include "worker/call/queue.h"

#include "common/base/must.h"
#include "common/base/plant.h"
#include "worker/call/failover.h"
#include "worker/call/model.h"
#include "worker/call/send.h"

enum { CLAIM_AGAIN_MS = 1000, CLAIM_STALE_MS = 10000, CLAIM_STOLEN_STALE_MS = 400 };

/* What was not paid for is left to the next owner, to the next life, or to a later reading; a body
 * that is refused costs nothing more, and must not be in the way of the other's. */
bool queue_nobodys(const struct slot *slot)
{
    const struct job *job = slot->job;
    return !slot->paid &&
           (!job_owned(job) || job->worker->draining || job->put_off || job->conflict);
}

void queue_free_permit(struct worker *worker)
{
    struct list_node *node = list_pop(&worker->permit_queue);
    if (node)
        walk_answer(&container_of(node, struct slot, permit_node)->walk);
}

/* Once for each call, wherever it waits first. */
static void draw_turn(struct slot *slot, int64_t tokens)
{
    struct job *job = slot->job;
    if (!slot->turn)
        slot->turn = turn_draw(&job->worker->turns, job->tenant_turn, tokens);
}

void queue_left(struct slot *slot)
{
    turn_served(&slot->job->worker->turns, slot->turn);
    slot->turn = 0;
    if (slot->job->came)
        intake_called(slot->job);
}

enum verdict queue_for_permit(struct slot *slot)
{
    walk_ask(&slot->walk);
    draw_turn(slot, 1);
    turn_line_up(&slot->job->worker->permit_queue, &slot->permit_node,
                 offsetof(struct slot, turn) - offsetof(struct slot, permit_node));
    return STEP_WAIT;
}

void queue_leave_limits(struct slot *slot)
{
    place_leaves(&slot->share);
    if (slot->quota)
        crowd_leave(quota_crowd(slot->quota), &slot->crowd);
}

/* There is no call after all: the place at the gate and the permit are for others. */
void queue_leave(struct slot *slot)
{
    gate_leave(slot->model->gate, &slot->place, slot->job->worker->loop);
    queue_leave_limits(slot);
    queue_free_permit(slot->job->worker);
}

enum verdict queue_give_up(struct slot *slot)
{
    slot->abandoned = true;
    queue_leave(slot);
    return STEP_FAIL;
}

/* The text says what the provider did last, for whoever asks why it took so long. */
enum verdict queue_expire(struct slot *slot)
{
    struct str last = slot->attempt ? slot->attempts[slot->attempt - 1].error_code : STR("");
    err_set(&slot->err, ERR_EXPIRED, "the deadline passed after %u calls%s%s" STR_FMT,
            slot->calls_before + slot->attempt,
            slot->place.queue ? ", waiting for the provider to be back" : "",
            str_empty(last) ? "" : "; the last one: ", STR_ARG(last));
    queue_leave(slot);
    return STEP_NEXT;
}

enum verdict queue_cancelled(struct slot *slot)
{
    err_set(&slot->err, ERR_CANCELLED, "the request was cancelled %s",
            slot->calls_before + slot->attempt ? "between two calls" : "before it was asked");
    queue_leave(slot);
    return STEP_NEXT;
}

void queue_rest_until(struct slot *slot, int64_t at_ms)
{
    list_append(&slot->job->worker->resting, &slot->permit_node);
    walk_sleep_until(&slot->walk, at_ms);
    call_look_at(slot);
}

/* Until the gate wakes it, or the deadline; who has a choice looks around meanwhile. */
enum verdict queue_at_gate(struct slot *slot)
{
    struct job *job = slot->job;
    queue_leave_limits(slot);
    queue_rest_until(slot, failover_look_ms(slot));
    if (!slot->place.queue && !job->put_off) { /* else it has its place already */
        gate_wait(slot->model->gate, &slot->place, &slot->walk);
        call_look_at(slot);
    }
    queue_free_permit(job->worker); /* ours was not used */
    return STEP_WAIT;
}

/* Until there is a share of the fleet's limit for it, or the deadline. */
enum verdict queue_at_limit(struct slot *slot)
{
    struct job *job = slot->job;
    queue_rest_until(slot, failover_look_ms(slot));
    if (!slot->share.waits_at && !job->put_off) {
        draw_turn(slot, place_tokens(&slot->share));
        slot->share.turn = slot->turn;
        place_waits(&slot->share, &slot->walk);
        call_look_at_queue(slot);
    }
    crowd_leave(quota_crowd(slot->quota), &slot->crowd);
    queue_free_permit(job->worker); /* ours was not used */
    return STEP_WAIT;
}

/* Whether the fleet's limits have room for it; "may" takes nothing yet. */
enum place_verdict queue_asks_limits(struct slot *slot)
{
    struct job *job = slot->job;
    struct quota *quota = slot->quota;
    if (!quota)
        return PLACE_MAY;
    const struct quota_caller caller = {job->tenant, job->request.user,
                                        loop_wall_ms(job->worker->loop)};
    slot->share.bytes = estimate_bytes(slot->prompt.messages, slot->request->body.len);
    slot->share.output_max = slot->prompt.inputs
                                 ? ESTIMATE_NO_OUTPUT
                                 : provider_max_tokens(&slot->model->dialect, slot->prompt.params);
    slot->share.turn = slot->turn;
    quota_fill(quota, &caller, &slot->share);
    enum place_verdict verdict = place_asks(&slot->share);
    if (verdict == PLACE_REFUSED)
        quota_refusal(quota, &caller, &slot->share, &slot->call_err);
    return verdict;
}

bool queue_crowd_allows(const struct slot *slot)
{
    return !slot->quota || crowd_may(quota_crowd(slot->quota), &slot->crowd);
}

/* Until a call of the model ends, or the deadline. */
enum verdict queue_at_crowd(struct slot *slot)
{
    struct job *job = slot->job;
    place_leaves(&slot->share);
    queue_rest_until(slot, failover_look_ms(slot));
    if (!slot->crowd.queued && !job->put_off) {
        draw_turn(slot, 1);
        slot->crowd.turn = slot->turn;
        crowd_wait(quota_crowd(slot->quota), &slot->crowd, &slot->walk);
        call_look_at_queue(slot);
    }
    queue_free_permit(job->worker); /* ours was not used */
    return STEP_WAIT;
}

/* A budget is used up: another model or nobody. */
enum verdict queue_refuse(struct slot *slot)
{
    const struct err err = slot->call_err;
    queue_leave(slot);
    return failover_next(slot, &err);
}

bool queue_claim_is_dead(const struct slot *slot, int64_t now_ms)
{
    const struct worker *worker = slot->job->worker;
    return slot->claim == CLAIM_MINE &&
           (now_ms >= worker->alive_until_ms || slot->claimed_ms < worker->alive_since_ms);
}

/* Who has no claim, for Redis did not answer, and had to wait since, asks again when Redis is back;
 * so does who had to wait for long, for another may have been at it without a claim; sooner, when
 * he took the claim over: who was taken for dead may have slept, and come back with an answer. */
bool queue_claim_lapsed(const struct slot *slot)
{
    const struct worker *worker = slot->job->worker;
    int64_t now_ms = loop_now_ms(worker->loop);
    if (slot->claims_lapsed >= CLAIMS_LAPSED_MAX)
        return false;
    if (slot->claim == CLAIM_NONE)
        return redis_up(worker->redis) && now_ms - slot->claimed_ms > CLAIM_AGAIN_MS;
    int64_t stale_ms = slot->holder.data ? CLAIM_STOLEN_STALE_MS : CLAIM_STALE_MS;
    return queue_claim_is_dead(slot, now_ms) ||
           (slot->claim == CLAIM_MINE && redis_up(worker->redis) &&
            now_ms - slot->claimed_ms > stale_ms);
}

enum verdict queue_claim_again(struct slot *slot)
{
    slot->claims_lapsed++;
    queue_leave(slot);
    return STEP_BACK;
}

/* Whoever leaves without a call need not wait for its turn. */
static void wake_those_who_leave(struct worker *worker, bool (*leaves)(const struct slot *slot))
{
    LIST_EACH(&worker->resting, node)
    {
        struct slot *slot = container_of(node, struct slot, permit_node);
        if (leaves(slot))
            walk_wake(&slot->walk);
    }
    LIST_EACH(&worker->permit_queue, node)
    {
        struct slot *slot = container_of(node, struct slot, permit_node);
        if (!leaves(slot))
            continue;
        list_remove(&worker->permit_queue, node);
        walk_answer(&slot->walk);
    }
}

void call_wake_unpaid(struct worker *worker)
{
    wake_those_who_leave(worker, queue_nobodys);
}

static bool is_cancelled(const struct slot *slot)
{
    return slot->job->cancelled;
}

void call_cancel(struct job *job)
{
    struct err err;
    err_set(&err, ERR_CANCELLED, "the request was cancelled while the model was answering");
    job->cancelled = true;
    for (int i = 0; i < job->slot_count; i++) {
        struct slot *slot = &job->slots[i], *hedge = slot->hedge;
        if (slot->call)
            send_stop(slot, &err);
        if (hedge && hedge->call)
            send_stop(hedge, &err);
    }
    wake_those_who_leave(job->worker, is_cancelled);
}
