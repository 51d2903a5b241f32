/*
 * shrink.h -- makes a schedule that fails smaller: items are left out as long as it still fails.
 */
#ifndef QUERN_TESTS_SIM_HUNT_SHRINK_H
#define QUERN_TESTS_SIM_HUNT_SHRINK_H

#include "tests/sim/hunt/play.h"

/* Afterwards no single item can be left out. Plays it at most some thousand times. */
void shrink(struct schedule *schedule);

#endif
