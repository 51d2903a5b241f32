/*
 * rooms.h -- schedules in which requests wait for room among a model's calls, or for a token of the
 * budget of retries, and what must hold of them.
 *
 * One schedule in five without a route or hedges has few places and very many requests for alpha,
 * which may have one or two calls at once in each process, or answers nothing but errors. Where all
 * else is calm, requests for beta must be answered soon, those for alpha as soon as its calls take,
 * and retries that help nobody be as few as the budget says.
 */
#ifndef QUERN_TESTS_SIM_HUNT_ROOMS_H
#define QUERN_TESTS_SIM_HUNT_ROOMS_H

#include "tests/sim/hunt/play.h"

/* Behind all other draws, from numbers of its own, so that these stay what they were. */
void rooms_draw(struct schedule *schedule);
/* Before the first process starts. */
void rooms_build(struct play *play);
void check_rooms(struct play *play);

#endif
