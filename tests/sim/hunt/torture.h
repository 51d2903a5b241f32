/*
 * torture.h -- each scene is played once to count its door calls, then again failing the 1st, 2nd,
 * 3rd .. of them, in every way that door can fail (curl's torture tests, for doors).
 */
#ifndef QUERN_TESTS_SIM_HUNT_TORTURE_H
#define QUERN_TESTS_SIM_HUNT_TORTURE_H

/* NULL: all scenes. The exit code: 0 nothing found, 1 something, 2 no such scene. */
int torture(const char *scene);

#endif
