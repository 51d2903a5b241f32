/*
 * plant.c -- which planted mistake is made in this process.
 */
#include "common/base/plant.h"

#ifdef QUERN_PLANTS
int plant_now;
#endif
