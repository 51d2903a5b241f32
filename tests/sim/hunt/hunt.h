/*
 * hunt.h -- plays many seeds in several processes.
 */
#ifndef QUERN_TESTS_SIM_HUNT_HUNT_H
#define QUERN_TESTS_SIM_HUNT_HUNT_H

#include <stdbool.h>
#include <stdint.h>

struct hunt {
    uint64_t from, seeds;
    int64_t minutes; /* 0: no limit */
    int64_t jobs, failures_max, plant;
};

/* False: it is no option of a hunt. */
bool hunt_option(struct hunt *hunt, const char *name, int64_t number);
/* The exit code. Prints the first failure at length, the others in a line, and a last line
 * "N schedules, N failed, N s, N/s, from S to T". */
int hunt(const struct hunt *hunt);
/* Prints the smallest schedule of that seed that still fails, or the whole one. */
void hunt_explain(uint64_t seed, bool whole);

#endif
