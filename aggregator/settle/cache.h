/*
 * cache.h -- what Redis is told of a stored final result; fire and forget.
 */
#ifndef QUERN_AGGREGATOR_SETTLE_CACHE_H
#define QUERN_AGGREGATOR_SETTLE_CACHE_H

#include "aggregator/aggregator.h"

/* The mark that the request is done, the claims and kept answers dropped, whoever waits told. */
void cache_mark(const struct aggregator *aggregator, const struct group *group,
                struct arena *arena);
/* The turn goes to the end of the conversation's list. `scratch` is cleared. */
void cache_turn(const struct aggregator *aggregator, const struct group *group, int64_t turn,
                struct arena *arena, struct buf *scratch);

#endif
