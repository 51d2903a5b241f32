/*
 * plant.h -- mistakes that are made on purpose, to see whether the tests find them.
 *
 *     if (!PLANTED(3)) return false;  // the check that mistake 3 leaves out
 *
 * Only builds with QUERN_PLANTS know them; in all others PLANTED() is the constant false. Its value
 * is the mistake that such a build makes unless it is told otherwise; 0: none. What each number
 * stands for: tests/sim/hunt/plants.def.
 */
#ifndef QUERN_COMMON_BASE_PLANT_H
#define QUERN_COMMON_BASE_PLANT_H

#include <stdbool.h>

#ifdef QUERN_PLANTS
extern int plant_now;
#define PLANTED(number) (plant_now == (number))
#else
#define PLANTED(number) false
#endif

/* False: this build has none. 0: no mistake. */
static inline bool plant_set(int number)
{
#ifdef QUERN_PLANTS
    plant_now = number;
    return true;
#else
    return number == 0;
#endif
}

#endif
