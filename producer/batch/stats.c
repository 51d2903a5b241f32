/*
 * stats.c -- see stats.h.
 */
#include "producer/batch/stats.h"

#include "common/base/must.h"

enum { SUB_BITS = 6, SUB = 1 << SUB_BITS };

/* Below 2*SUB every value has its own bucket; above, each power of two is cut into SUB pieces. */
static size_t bucket_of(int64_t ms)
{
    if (ms < 2 * SUB)
        return (size_t)ms;
    int shift = 63 - __builtin_clzll((unsigned long long)ms) - SUB_BITS;
    size_t bucket = (size_t)shift * SUB + (size_t)(ms >> shift);
    return bucket < STATS_BUCKETS ? bucket : STATS_BUCKETS - 1;
}

static int64_t bucket_end(size_t bucket)
{
    if (bucket < 2 * SUB)
        return (int64_t)bucket;
    size_t shift = bucket / SUB - 1;
    int64_t piece = (int64_t)(bucket % SUB) + SUB;
    return ((piece + 1) << shift) - 1;
}

void stats_latency(struct stats *stats, int64_t ms)
{
    stats->latency_buckets[bucket_of(ms < 0 ? 0 : ms)]++;
    stats->latencies++;
}

int64_t stats_percentile(const struct stats *stats, double share)
{
    int64_t seen = 0;
    double want = share * (double)stats->latencies;
    if (stats->latencies == 0)
        return 0;
    for (size_t i = 0; i < STATS_BUCKETS; i++) {
        seen += stats->latency_buckets[i];
        if (seen > 0 && (double)seen >= want)
            return bucket_end(i);
    }
    must_not_reach("the buckets hold all latencies");
}

static struct stats_code *code_of(struct stats *stats, struct str name)
{
    name = str_utf8_cut(name, STATS_CODE_BYTES - 1);
    for (size_t i = 0; i < stats->code_count; i++)
        if (str_is(name, stats->codes[i].name))
            return &stats->codes[i];
    if (stats->code_count == STATS_CODES_MAX)
        return &stats->codes[STATS_CODES_MAX - 1];
    struct stats_code *code = &stats->codes[stats->code_count++];
    memcpy(code->name, name.data ? name.data : "", name.len);
    code->name[name.len] = '\0';
    return code;
}

void stats_failure(struct stats *stats, struct str code)
{
    stats->failed++;
    code_of(stats, code)->count++;
}

void stats_reply(struct stats *stats, const struct reply *reply)
{
    if (str_is(reply->status, "done"))
        stats->answered++;
    else
        stats_failure(stats, str_empty(reply->error.code) ? reply->status : reply->error.code);
    stats->input_tokens += reply->usage.input;
    stats->output_tokens += reply->usage.output;
    if (reply->cost_microusd == INT_ABSENT)
        return;
    stats->cost_microusd += reply->cost_microusd;
    stats->cost_known = true;
}
