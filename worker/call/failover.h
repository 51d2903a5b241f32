/*
 * failover.h -- which model, and which of its keys, a slot asks next, and what a failed call means
 * for that.
 *
 * A slot stays with its model while that may answer: short pauses are waited for. It goes to the
 * next model of its route when this one said that it will not answer, has used up its attempts,
 * seems to be away (its gate lets nobody in), asks for a longer pause than another usually takes,
 * has its rate limit used up for a second, or has no key that works. Where nobody else is there it
 * waits at its own model, and looks around once a second.
 */
#ifndef QUERN_WORKER_CALL_FAILOVER_H
#define QUERN_WORKER_CALL_FAILOVER_H

#include "worker/job.h"

/* Before a call: settles on a model and a key. STEP_NEXT: ask its limit and its gate; STEP_WAIT: it
 * rests until there is something to ask; STEP_DONE: nobody is left, slot->err says why. */
enum verdict failover_ready(struct slot *slot);
/* A call of it leaves; one has ended: keys and latencies learn of it. */
void failover_began(struct slot *slot);
void failover_ended(struct slot *slot, const struct err *err);
/* The call failed: STEP_WAIT: it rests and is asked again, or another model is; else as it ends. */
enum verdict failover_next(struct slot *slot, const struct err *err);
/* Until when it may wait in one place. */
int64_t failover_look_ms(const struct slot *slot);

#endif
