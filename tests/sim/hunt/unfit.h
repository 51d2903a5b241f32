/*
 * unfit.h -- requests that are refused when they are read, and what must hold of them.
 *
 * Every other schedule that is not about one thing alone has some, each wrong in another way, and
 * each saying who asks: they must be failed, with the right code, at the place that they name, be
 * among the dead letters with the bytes they came with, and keep the order of their session.
 */
#ifndef QUERN_TESTS_SIM_HUNT_UNFIT_H
#define QUERN_TESTS_SIM_HUNT_UNFIT_H

#include "tests/sim/hunt/play.h"

/* Behind all other draws, from numbers of its own, so that these stay what they were. */
void unfit_draw(struct schedule *schedule);
/* The bytes of such a request, and its headers as sim_request has them. */
void unfit_write(const struct ask *ask, struct buf *ret);
const char *const *unfit_headers(const struct ask *ask);
const char *unfit_name(const struct ask *ask);
void check_unfit(struct play *play);

#endif
