/*
 * attempt.h -- one call of a slot, or of its hedge, in all that hangs on it: what it takes when it
 * leaves, and what it gives back and teaches when it has ended.
 */
#ifndef QUERN_WORKER_CALL_ATTEMPT_H
#define QUERN_WORKER_CALL_ATTEMPT_H

#include "worker/job.h"

/* All that it needs is there, and the gate has let it in. False: it could not leave, slot->err says
 * why, and all is given back. */
bool attempt_begin(struct slot *slot);
/* What the call that has just ended was worth: its row, slot->answer, or slot->call_err. */
void attempt_settle(struct slot *slot);
/* The call that has just ended never left, because we kept it back: it is as if it had not begun.
 */
void attempt_undo(struct slot *slot);

#endif
