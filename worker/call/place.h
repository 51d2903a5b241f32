/*
 * place.h -- a call's way past all limits that hold for it: of its model, its tenant, its user, and
 * the budgets. It takes from all of them at once or from none.
 *
 * A slot fills the place (quota.h does), asks place_asks() before each call, queues with
 * place_waits() at the one limit that has no room, and is woken to ask again. What is kept for it
 * at one while another refuses is given back; it keeps its rank by when it came first, and the
 * others keep a little at hand while it waits. place_takes() when the call leaves, place_settles()
 * when its tokens are known, place_leaves() when there will be no call.
 */
#ifndef QUERN_WORKER_CALL_PLACE_H
#define QUERN_WORKER_CALL_PLACE_H

#include "worker/call/limit.h"

enum place_verdict {
    PLACE_MAY,     /* place_takes() or place_leaves() follows in the same turn */
    PLACE_WAITS,   /* place->lacks has no room now */
    PLACE_REFUSED, /* place->lacks is a budget that is used up */
};

/* One more that holds for it; the place releases it. */
void place_add(struct limit_place *place, struct limit *limit);
/* What it may cost at that limit, in what that counts. */
int64_t place_amount(const struct limit_place *place, const struct limit *limit);
/* What the call may cost, in tokens, as far as is known now. */
int64_t place_tokens(const struct limit_place *place);
enum place_verdict place_asks(struct limit_place *place);
/* The walk sleeps (walk_sleep_until) and is woken when it may ask again. */
void place_waits(struct limit_place *place, struct walk *walk);
/* Asks no more, holds nothing any more; of a call in flight it does nothing. */
void place_leaves(struct limit_place *place);
void place_takes(struct limit_place *place);
/* What became of the call. Tokens and millionths of a dollar; none of both: nobody counted any
 * (`is_free`), or nobody knows, and the estimates stay. */
void place_settles(struct limit_place *place, int64_t tokens, int64_t cost, bool is_free);

#endif
