/*
 * routes.h -- schedules with a route of two models, alpha and beta, and what must hold of it.
 *
 * One schedule in six has requests for the route among all its other troubles. One in six is calm:
 * nothing is wrong but alpha, which is away, refuses, or does not take one of its keys; then every
 * request must be answered by beta, soon, and nobody be asked in vain.
 */
#ifndef QUERN_TESTS_SIM_HUNT_ROUTES_H
#define QUERN_TESTS_SIM_HUNT_ROUTES_H

#include "tests/sim/hunt/play.h"

/* The row of models_of() that is the route. */
enum { ROUTE_ROW = 6 };

/* Behind all other draws, from numbers of its own, so that these stay what they were. */
void routes_draw(struct schedule *schedule);
/* Before the first process starts: settings, and what alpha says. */
void routes_build(struct play *play);
void check_routes(struct play *play);
/* The most calls that a request with that body may make in a slot. */
int routes_attempts_max(const struct play *play, int number, int attempts_max);

#endif
