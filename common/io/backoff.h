/*
 * backoff.h -- how long a door waits before it connects again: 100 ms doubling to 5 s, and a random
 * half of that taken off, so that a fleet does not come back in step.
 */
#ifndef QUERN_COMMON_IO_BACKOFF_H
#define QUERN_COMMON_IO_BACKOFF_H

#include <stdint.h>

#include "common/base/rand.h"

#define BACKOFF_MS_MIN 100
#define BACKOFF_MS_MAX 5000

/* attempt: how many attempts failed since the last connection that worked, from 0. */
static inline int64_t backoff_ms(struct rand *rand, unsigned attempt)
{
    int64_t ceiling_ms = attempt < 6 ? BACKOFF_MS_MIN << attempt : BACKOFF_MS_MAX;
    uint64_t half = (uint64_t)ceiling_ms / 2;
    return (int64_t)(half + rand_below(rand, half + 1));
}

#endif
