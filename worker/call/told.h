/*
 * told.h -- what a provider's headers tell of its limits: how much there is a minute, and how much
 * is left. Pure.
 *
 * Where input and output tokens have limits of their own (Anthropic), the input's counts: ours are
 * of both together, so that is careful. Numbers that make no sense are not told.
 */
#ifndef QUERN_WORKER_CALL_TOLD_H
#define QUERN_WORKER_CALL_TOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"

struct told_limit {
    int64_t limit, remaining; /* -1: not told */
};

struct told {
    struct told_limit requests, tokens;
};

/* From the lines that rate_headers_keep() has kept (reset.h). */
void told_read(struct str headers, struct told *ret);
/* How much less is left than we know of: others use the key. Within a quarter of the limit it
 * counts as the same: a burst that leaves the window is no news. 0: it is not less. */
int64_t told_missing(const struct told_limit *told, int64_t free);

#endif
