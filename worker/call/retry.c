/*
 * retry.c -- see retry.h. Full jitter: M. Brooker, "Exponential Backoff And Jitter", 2015.
 */
#include "worker/call/retry.h"

#include "common/base/plant.h"

static int64_t ceiling_ms(const struct retry_rule *rule, unsigned attempt)
{
    int64_t ceiling = rule->base_ms;
    for (unsigned i = 1; i < attempt && ceiling < rule->cap_ms; i++)
        ceiling *= 2;
    return ceiling < rule->cap_ms ? ceiling : rule->cap_ms;
}

bool retry_pause(const struct retry_rule *rule, const struct err *err, unsigned attempt,
                 int64_t now_ms, int64_t deadline_ms, struct rand *rand, int64_t *ret_pause_ms)
{
    bool worth_it = err->retry == RETRY_LATER || PLANTED(18);
    if (!worth_it || attempt >= rule->attempts_max)
        return false;
    int64_t jitter = (int64_t)rand_below(rand, (uint64_t)ceiling_ms(rule, attempt) + 1);
    int64_t pause = err->retry_after_ms > 0 ? err->retry_after_ms + jitter / 4 : jitter;
    if (now_ms + pause >= deadline_ms)
        return false;
    *ret_pause_ms = pause;
    return true;
}
