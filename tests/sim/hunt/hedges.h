/*
 * hedges.h -- schedules in which alpha may be called a second time for one answer, and what must
 * hold of that.
 *
 * Two schedules in five that have neither a burst nor a route: many quick calls, so that each
 * worker knows what is usual, and then some of which some are slow. In one of the two nothing else
 * is wrong; in half of the other, workers die or stand still in the midst of it, and nothing else;
 * in half of the rest alpha goes away at times, too, and requests are put off between their calls.
 * In a fifth of them alpha has no second calls after all, and must get none.
 */
#ifndef QUERN_TESTS_SIM_HUNT_HEDGES_H
#define QUERN_TESTS_SIM_HUNT_HEDGES_H

#include "tests/sim/hunt/play.h"

/* Behind all other draws, from numbers of its own, so that these stay what they were. */
void hedges_draw(struct schedule *schedule);
/* Before the first process starts: settings, and what alpha says behind its other replies. */
void hedges_build(struct play *play);
/* Whether the second call may be a hedge of the first: both are of one answer. */
bool hedges_are_pair(const struct play *play, const struct sim_call *first,
                     const struct sim_call *second);
/* How many calls more a slot may make. */
int hedges_attempts_more(const struct schedule *schedule);
/* Never three at once, and never more than the share. */
void check_hedges(struct play *play);

#endif
