/*
 * put_off.h -- schedules in which requests are put off, because their provider makes them wait, and
 * what must hold of them.
 *
 * One schedule in five without a route or hedges has workers that call a tenth of a second a long
 * wait, breakers that open after two failures, and an outage of alpha with requests for it. Half of
 * these are calm otherwise: then requests for beta must be answered soon, those whose deadline
 * passes be told so in time, and all others be answered.
 */
#ifndef QUERN_TESTS_SIM_HUNT_PUT_OFF_H
#define QUERN_TESTS_SIM_HUNT_PUT_OFF_H

#include "tests/sim/hunt/play.h"

/* Behind all other draws, from numbers of its own, so that these stay what they were. */
void put_off_draw(struct schedule *schedule);
/* Before the first process starts. */
void put_off_build(struct play *play);
void check_put_off(struct play *play);

#endif
