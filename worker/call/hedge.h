/*
 * hedge.h -- a second call for the same answer, when the first shows no sign of one.
 *
 * The second call has a slot of its own beside the job's: whatever a call holds (places at gate,
 * limits and among the model's calls, key, stream, timers) it holds there, and each place that
 * gives it back does so for either. It makes one call and waits nowhere; its row stands among those
 * of the slot whose hedge it is, and its answer becomes that one's. It asks the same model, with
 * the key that has the fewest calls in flight.
 *
 * The first whole answer wins, or, where somebody reads along, the first whose text was passed on;
 * the other call is ended at once. docs/decisions/0018-hedging.md.
 */
#ifndef QUERN_WORKER_CALL_HEDGE_H
#define QUERN_WORKER_CALL_HEDGE_H

#include "worker/job.h"

#define HEDGE_LOST_TEXT "another call for the same answer was faster"

/* A call of the slot has left, it is none of a hedge: in a while a second one may. */
void hedge_watch(struct slot *slot);
/* It has ended. */
void hedge_unwatch(struct slot *slot);

/* Both are called for the slot or its hedge, whichever has lost, or has the answer. */
void hedge_lose(struct slot *slot);
void hedge_take_answer(struct slot *slot);
/* Whether the call's text is for whoever reads along: nobody does, or the other was first. */
bool hedge_speaks(struct slot *slot);
/* Whoever speaks has won. */
void hedge_end_silent(struct slot *slot);
/* One of its calls is under way. */
bool hedge_under_way(const struct slot *slot);

/* Whether the time of a call that ended with this error tells how long calls take: it was answered,
 * or given up for its silence, or lost behind another that was made for its silence. */
bool hedge_tells(const struct slot *slot, const struct err *err, int64_t took_ms);
/* Of such a call: until its first sign of an answer. */
void hedge_note(const struct slot *slot, int64_t took_ms);

#endif
