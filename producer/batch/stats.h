/*
 * stats.h -- what a batch adds up to: outcomes, latencies, tokens, cost. Pure.
 *
 * Latencies go into a histogram whose buckets are at most 1/64 wide, relative to their value; up to
 * 128 ms it is exact.
 */
#ifndef QUERN_PRODUCER_BATCH_STATS_H
#define QUERN_PRODUCER_BATCH_STATS_H

#include "common/contract/contract.h"
#include "producer/cli/table.h"

enum { STATS_BUCKETS = 64 * 40, STATS_CODES_MAX = 64, STATS_CODE_BYTES = 65 };

struct stats {
    int64_t answered, failed;
    struct stats_code {
        char name[STATS_CODE_BYTES];
        int64_t count;
    } codes[STATS_CODES_MAX]; /* the last one takes what finds no place */
    size_t code_count;
    int64_t latencies, latency_buckets[STATS_BUCKETS];
    int64_t input_tokens, output_tokens, cost_microusd;
    bool cost_known;
};

void stats_reply(struct stats *stats, const struct reply *reply);
void stats_failure(struct stats *stats, struct str code);
void stats_latency(struct stats *stats, int64_t ms);
/* The latency that `share` of all stay at or below, rounded up to its bucket's end; 0 without any.
 */
int64_t stats_percentile(const struct stats *stats, double share);

#endif
