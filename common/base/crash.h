/*
 * crash.h -- places where a program under test can be told to die.
 *
 * CRASH_POINT(name) marks a moment that a sudden death must not spoil. With QUERN_CRASH_AT="name:n"
 * in the environment the program kills itself by SIGKILL when it passes the point for the n-th time
 * (n is 1 when left out): nothing is flushed, closed or told to anybody, as if the machine had lost
 * its power. With "name:n!" it aborts instead, as it does at a mistake of its own. Its last words,
 * written straight to stderr, say where it was. The walks of common/flow call crash_step() around
 * every step.
 *
 * All names stand in schemas/crash_points.def; one that does not, does not compile. Points are
 * compiled in with QUERN_CRASH_POINTS (the presets for tests) and cost one branch there; elsewhere
 * they are nothing at all.
 *
 * Points are passed by the thread of the loop only.
 */
#ifndef QUERN_COMMON_BASE_CRASH_H
#define QUERN_COMMON_BASE_CRASH_H

#include <stdbool.h>

#include "common/base/err.h"

enum crash_point {
#define CRASH_STEP(program, step, text)  CRASH_step_##step, CRASH_step_##step##_end,
#define CRASH_ROW(programs, point, text) CRASH_##point,
#include "schemas/crash_points.def"
#undef CRASH_STEP
#undef CRASH_ROW
    CRASH_NONE
};

#ifdef QUERN_CRASH_POINTS

extern enum crash_point crash_armed; /* CRASH_NONE: the program lives */

#define CRASH_POINT(point) (crash_armed == CRASH_##point ? crash_pass() : (void)0)

/* Reads $QUERN_CRASH_AT. False: it names no point of this program. */
bool crash_init(const char *program, struct err *err);
/* One passing of the point that is armed; the last one does not return. */
void crash_pass(void);
void crash_pass_step(const char *step, bool ended);

static inline void crash_step(const char *step, bool ended)
{
    if (crash_armed != CRASH_NONE)
        crash_pass_step(step, ended);
}

#else

#define CRASH_POINT(point) ((void)CRASH_##point)

static inline bool crash_init(const char *program, struct err *err)
{
    (void)program, (void)err;
    return true;
}

static inline void crash_step(const char *step, bool ended)
{
    (void)step, (void)ended;
}

#endif

#endif
