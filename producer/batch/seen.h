/*
 * seen.h -- a set of names, kept as 16 bytes of SHA-256 each: a million names take 32 MiB, and
 * no two will ever be taken for each other. Pure.
 */
#ifndef QUERN_PRODUCER_BATCH_SEEN_H
#define QUERN_PRODUCER_BATCH_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/str.h"

struct seen {
    struct seen_name {
        uint64_t a, b; /* both 0: free */
    } * names;
    size_t count, cap;
};

void seen_init(struct seen *seen);
void seen_done(struct seen *seen);
bool seen_has(const struct seen *seen, struct str name);
bool seen_add(struct seen *seen, struct str name); /* false: was there already */

#endif
