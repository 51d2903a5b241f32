/*
 * rules.h -- what a link does to those who use it, as words: "latency 50", "cut 1000", "clear".
 *
 * Rules add up until "clear". A link without rules passes everything at once. Pure.
 *
 *   down              nobody gets in (connection refused); those inside are reset
 *   blackhole         connections are accepted and nothing passes, in neither direction
 *   hold up|down      nothing passes in one direction: up is from the client to the target
 *   latency MS        every byte arrives so much later
 *   rate BYTES MS     at most so many bytes per so many milliseconds, each way; "rate 1 1000" drips
 *   cut BYTES         after so many bytes from the target, counted from now, a connection is reset
 *   chance MILLIONTHS how probably a connection is reset at each piece that it passes on
 *   clear             all rules off
 *
 * To add one: a row in rules.c, a field here, and its meaning in link.c or lane.c.
 */
#ifndef QUERN_TESTS_CHAOS_PROXY_RULES_H
#define QUERN_TESTS_CHAOS_PROXY_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

enum { WAY_UP, WAY_DOWN, WAYS };

struct rules {
    bool down;
    bool blackhole;
    bool hold[WAYS];
    int64_t latency_ms;
    int64_t rate_bytes, rate_ms; /* 0: no bound */
    int64_t cut_bytes;           /* -1: never */
    int64_t chance_millionths;
};

void rules_clear(struct rules *rules);
/* `words`: a rule's name and its arguments, with single spaces. False leaves `rules` as it was. */
bool rules_apply(struct rules *rules, struct str words, struct err *err);
/* Nothing passes that way. */
static inline bool rules_hold(const struct rules *rules, int way)
{
    return rules->blackhole || rules->hold[way];
}

#endif
