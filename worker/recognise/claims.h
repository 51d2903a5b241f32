/*
 * claims.h -- who is at work on a slot, told through Redis.
 *
 * A worker's `alive` key, renewed every two seconds, makes all its claims live; a claim alone says
 * only who took it. Redis away: every claim is CLAIM_NONE, and the work goes on without.
 */
#ifndef QUERN_WORKER_RECOGNISE_CLAIMS_H
#define QUERN_WORKER_RECOGNISE_CLAIMS_H

#include "worker/job.h"

struct claims *claims_new(struct worker *worker);
/* Takes NULL. `leave`: our claims are dead from now on. */
void claims_free(struct claims *claims, bool leave);

/* Says at once that we live: when Redis is there (again). Takes NULL. */
void claims_renew(struct claims *claims);

/* Asks for the slot's claim; `walk` is asked once and answered once. Sets slot->claim, ->holder,
 * ->packed; a final result that is known sets `*ret_done` to its text "STATUS BODY_HASH PARTITION
 * OFFSET TOPIC". */
void claims_take(struct slot *slot, struct walk *walk, struct str *ret_done);
/* Asks whether slot->holder still lives; dead: takes its claim over. CLAIM_MINE or CLAIM_HELD
 * after. */
void claims_challenge(struct slot *slot, struct walk *walk);
/* A final result of this id is known, as "STATUS BODY_HASH PARTITION OFFSET TOPIC": sets
 * job->known,
 * ->repeat or ->conflict. Anything else is ignored. */
void recognise_done(struct job *job, struct str text);
/* The id belongs to another body: job->conflict and job->err. */
void recognise_conflict(struct job *job);
/* Gives back what was not used; nobody waits for it. */
void claims_release(struct slot *slot);
/* What is given back of the slot's claim is not said until claims_let() has had the key that this
 * returns, which lives in the job's arena; absent: there is nothing to hold. */
struct str claims_hold(struct slot *slot);
void claims_let(struct worker *worker, struct str key);
/* A second call is made beside the first: said in the claim. */
void claims_hedge(struct slot *slot);

#endif
