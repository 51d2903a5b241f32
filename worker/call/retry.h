/*
 * retry.h -- when to try a provider again: exponential backoff with full jitter. Pure.
 */
#ifndef QUERN_WORKER_CALL_RETRY_H
#define QUERN_WORKER_CALL_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/rand.h"

struct retry_rule {
    int64_t base_ms, cap_ms; /* the pause is drawn from [0, min(cap, base * 2^(attempt-1))] */
    unsigned attempts_max;
};

/* After `attempt` calls (1 = the first has failed with err): true and the time to wait, or false
 * when another one is not worth it or would begin past the deadline. What the other side asked for
 * (Retry-After) is the least pause; jitter comes on top of it, so that those who were sent away do
 * not all come back at once. */
bool retry_pause(const struct retry_rule *rule, const struct err *err, unsigned attempt,
                 int64_t now_ms, int64_t deadline_ms, struct rand *rand, int64_t *ret_pause_ms);

#endif
