/*
 * claim.c -- a slot's step "claim": go on, use the answer that was kept, or wait for who is at
 * work.
 *
 * Who stood still for longer than its claims live comes back here from the call step: others may
 * have taken them over, and the answer may be there already.
 *
 * A live holder will publish its answer, so we look again until it has, or until it is dead and its
 * claim can be taken over, or until the deadline, after which the call step says "expired".
 */
#include "common/app/metrics.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "worker/recognise/claims.h"

enum { LOOK_AGAIN_MS = 250 };

/* What claim_finish() waits for. */
enum { LOOK_ALIVE = 1, LOOK_SLEPT, LOOK_CLAIM };

enum kept { KEPT_OURS, KEPT_OTHER_BODY, KEPT_FOREIGN };

/* A kept answer is believed only when it says whose it is, and it is ours. Another tenant's bytes
 * or half an answer are as if nothing was found. */
static enum kept kept_whose(struct slot *slot)
{
    struct job *job = slot->job;
    struct value document;
    struct err err;
    struct result result;
    if (PLANTED(8))
        return KEPT_OURS;
    if (!contract_parse(slot->packed, ENCODING_MSGPACK, &job->arena, &document, &err) ||
        !contract_read(&contract_result, &document, &job->arena, &result, &err))
        return KEPT_FOREIGN;
    if (!str_eq(result.request_id, job->id) || !str_eq(result.tenant, job->tenant))
        return KEPT_FOREIGN;
    if (!str_is(result.request.body_hash, job->body_hash))
        return KEPT_OTHER_BODY;
    return result.slot == slot->number ? KEPT_OURS : KEPT_FOREIGN;
}

static void judge_kept(struct slot *slot)
{
    switch (kept_whose(slot)) {
    case KEPT_OURS:
        metric_add(METRIC_kept_answers_used_total, 1);
        CRASH_POINT(kept_used);
        break;
    case KEPT_OTHER_BODY:
        recognise_conflict(slot->job);
        break;
    case KEPT_FOREIGN:
        log_warn("a kept answer in Redis is not this request's, it is not used",
                 LOG_S("tenant", slot->job->tenant), LOG_I("slot", slot->number));
        slot->claim = CLAIM_NONE;
        break;
    }
}

static enum verdict decide(struct slot *slot)
{
    struct job *job = slot->job;
    if (slot->claim == CLAIM_KEPT)
        judge_kept(slot);
    if (job->conflict)
        return STEP_DONE;
    if (slot->claim != CLAIM_HELD)
        return STEP_NEXT;
    if (!job_owned(job) || job->worker->draining)
        return STEP_FAIL;
    /* Past the deadline it is still of interest whether the holder died with a call of its own. */
    if (loop_now_ms(job->worker->loop) >= job->deadline_ms && slot->look == LOOK_ALIVE)
        return STEP_NEXT;
    claims_challenge(slot, &slot->walk);
    slot->look = LOOK_ALIVE;
    return STEP_WAIT;
}

enum verdict claim_begin(void *subject)
{
    struct slot *slot = subject;
    must_be(slot, SLOT_MAGIC);
    if (slot->stored)
        return STEP_DONE;
    if (slot->claims_lapsed) { /* back from the call step */
        slot->look = LOOK_CLAIM;
        claims_take(slot, &slot->walk, &slot->done_text);
        return STEP_WAIT;
    }
    if (slot->claim == CLAIM_HELD)
        metric_add(METRIC_claims_waited_total, 1);
    return decide(slot);
}

enum verdict claim_finish(void *subject)
{
    struct slot *slot = subject;
    struct job *job = slot->job;
    bool too_late = loop_now_ms(job->worker->loop) >= job->deadline_ms;
    if (slot->look == LOOK_ALIVE && slot->claim == CLAIM_HELD && !too_late) {
        slot->look = LOOK_SLEPT;
        walk_sleep_until(&slot->walk, loop_now_ms(job->worker->loop) + LOOK_AGAIN_MS);
        return STEP_WAIT;
    }
    if (slot->look == LOOK_SLEPT) {
        slot->look = LOOK_CLAIM;
        claims_take(slot, &slot->walk, &slot->done_text);
        return STEP_WAIT;
    }
    if (slot->done_text.data) { /* the holder's answer is stored: nothing is left to do */
        recognise_done(job, slot->done_text);
        if (job->known || job->conflict)
            return STEP_DONE;
        slot->done_text = (struct str){0}; /* not what the aggregator writes */
    }
    return decide(slot);
}
