/*
 * stalls.h -- schedules in which workers stand still with calls under way, for a little longer than
 * their sessions last, and then go on.
 *
 * One schedule in four of those without a burst, a route, hedges or an outage: a model that is
 * called once at a time, and slowly, so that whoever takes over from those who stand still has to
 * wait, and they are back before he has asked. In half of them nothing else is wrong.
 */
#ifndef QUERN_TESTS_SIM_HUNT_STALLS_H
#define QUERN_TESTS_SIM_HUNT_STALLS_H

#include "tests/sim/hunt/play.h"

/* Behind all other draws, from numbers of its own, so that these stay what they were. */
void stalls_draw(struct schedule *schedule);
/* Before the first process starts. */
void stalls_build(struct play *play);

#endif
