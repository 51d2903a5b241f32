/*
 * redis_refusals.h -- commands that Redis answers with an error; private to the Redis door.
 *
 * To whoever asked it is a miss like any other. But a Redis that is full (OOM), a replica
 * (READONLY), or that may not write (MISCONF) or we may not ask (NOPERM), is there and of no use:
 * somebody has to be told, once a minute while it lasts.
 */
#ifndef QUERN_COMMON_IO_REDIS_REFUSALS_H
#define QUERN_COMMON_IO_REDIS_REFUSALS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"

struct redis_refusals {
    uint64_t count, told_count;
    int64_t told_ms, moved_ms; /* loop time; 0: never */
};

/* `error`: the reply's text. True: the connection should be made anew, at most every five seconds,
 * for a primary that has become a replica keeps its connections, and its name may lead to another
 * by now. */
bool redis_refused(struct redis_refusals *refusals, struct str error, int64_t now_ms);

#endif
