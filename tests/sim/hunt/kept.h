/*
 * kept.h -- the smallest schedules of bugs that were found and mended: played in each test run, so
 * that they stay away.
 */
#ifndef QUERN_TESTS_SIM_HUNT_KEPT_H
#define QUERN_TESTS_SIM_HUNT_KEPT_H

/* The exit code: 0 nothing found, 1 something. */
int kept(void);

#endif
