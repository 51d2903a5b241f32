/*
 * told.c -- see told.h.
 */
#include "worker/call/told.h"

#include "worker/call/reset.h"

static const double number_max = 1e12;

static int64_t number_of(struct str headers, const char *const *names)
{
    double number;
    for (; *names; names++) {
        struct str text = rate_header(headers, *names);
        if (!str_empty(text) && str_to_f64(text, &number) && number >= 0 && number <= number_max)
            return (int64_t)number;
    }
    return -1;
}

void told_read(struct str headers, struct told *ret)
{
    static const char *const limit_requests[] = {"x-ratelimit-limit-requests",
                                                 "anthropic-ratelimit-requests-limit", NULL};
    static const char *const remaining_requests[] = {
        "x-ratelimit-remaining-requests", "anthropic-ratelimit-requests-remaining", NULL};
    static const char *const limit_tokens[] = {"x-ratelimit-limit-tokens",
                                               "anthropic-ratelimit-tokens-limit",
                                               "anthropic-ratelimit-input-tokens-limit", NULL};
    static const char *const remaining_tokens[] = {
        "x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-input-tokens-remaining", NULL};
    *ret =
        (struct told){{number_of(headers, limit_requests), number_of(headers, remaining_requests)},
                      {number_of(headers, limit_tokens), number_of(headers, remaining_tokens)}};
}

int64_t told_missing(const struct told_limit *told, int64_t free)
{
    if (told->limit <= 0 || told->remaining < 0)
        return 0;
    int64_t missing = free - told->remaining;
    return missing > told->limit / 4 ? missing : 0;
}
