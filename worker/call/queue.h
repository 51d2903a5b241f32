/*
 * queue.h -- where a slot is while it has no call in flight: waiting for a permit, at the model's
 * gate, at the fleet's limit, for its next attempt; and how it leaves without a call.
 */
#ifndef QUERN_WORKER_CALL_QUEUE_H
#define QUERN_WORKER_CALL_QUEUE_H

#include "worker/job.h"

/* What is not paid for and left to the next owner of its partition, or to our next life; or for
 * good, because its id is another body's. */
bool queue_nobodys(const struct slot *slot);
/* At that moment in loop time others take us for dead, or did since it was claimed: somebody else
 * may be at it, or have answered it. */
bool queue_claim_is_dead(const struct slot *slot, int64_t now_ms);
/* That, or Redis did not hear us, or it was claimed too long ago: it is to be claimed again. */
bool queue_claim_lapsed(const struct slot *slot);
/* Whether the fleet's limits have room for it; "may" takes nothing yet. */
enum place_verdict queue_asks_limits(struct slot *slot);
/* Whether there is room among the model's calls in this process. */
bool queue_crowd_allows(const struct slot *slot);

/* Waiting; each gives back what the slot holds. */
enum verdict queue_for_permit(struct slot *slot);
enum verdict queue_at_gate(struct slot *slot);
enum verdict queue_at_limit(struct slot *slot);
enum verdict queue_at_crowd(struct slot *slot);
void queue_rest_until(struct slot *slot, int64_t at_ms);
/* Its call leaves: whoever waits from now on comes behind it. */
void queue_left(struct slot *slot);

/* There is no call after all: its places are for others. */
void queue_leave(struct slot *slot);
/* Leaving: without an answer, with ERR_EXPIRED, or back to the claim step. */
enum verdict queue_give_up(struct slot *slot);
enum verdict queue_expire(struct slot *slot);
enum verdict queue_cancelled(struct slot *slot); /* as ERR_CANCELLED */
enum verdict queue_claim_again(struct slot *slot);
enum verdict queue_refuse(struct slot *slot); /* a budget is used up: as after a failed call */

/* What it holds of the limits of its key, and its place where it waits for them, is for others. */
void queue_leave_limits(struct slot *slot);
/* A call has ended, or is none after all: its permit is for another. */
void queue_free_permit(struct worker *worker);

#endif
