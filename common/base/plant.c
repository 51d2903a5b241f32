/*
 * plant.c -- which planted mistake is made in this process.
 */
#include "common/base/plant.h"

#ifdef QUERN_PLANTS
int plant_now = QUERN_PLANTS; /* the build's own, else told at the start */
#endif
