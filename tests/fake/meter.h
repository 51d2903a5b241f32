/*
 * meter.h -- the sliding window of one key and model; the inside of limit.c.
 */
#ifndef FAKE_METER_H
#define FAKE_METER_H

#include "tests/fake/limit.h"

#define METER_SECONDS_MAX 3600 /* arrivals are counted by second for this long */

struct event {
    uint64_t us;
    uint32_t tokens;
    uint32_t calls; /* 1, or 0 for output that came later */
};

struct meter {
    uint64_t pair, key_hash;
    bool has_key;
    struct limit_rule rule;
    char model[LIMIT_NAME_MAX + 1];

    struct event *events; /* ring */
    size_t cap, first, len;
    uint64_t calls, tokens; /* sums of the ring */

    struct {
        uint64_t arrivals, admitted, refused_requests, refused_tokens;
        uint64_t tokens;
        uint64_t calls_highest, tokens_highest;
        uint64_t first_us, last_us; /* arrivals */
    } total;
    uint32_t *seconds; /* arrivals by second since the first one; NULL before */
};

struct meter *meter_new(const struct limit_rule *rule, struct slice model);
void meter_free(struct meter *meter);
void meter_clear(struct meter *meter);
void meter_admit(struct meter *meter, const struct limit_call *call, struct limit_verdict *ret);
void meter_output(struct meter *meter, uint64_t tokens, uint64_t now_us);
void meter_print(struct meter *meter, uint64_t now_us, struct buf *out);

#endif
