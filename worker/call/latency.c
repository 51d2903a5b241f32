/*
 * latency.c -- see latency.h.
 */
#include "worker/call/latency.h"

#include <math.h>
#include <string.h>

static const double weight = 1.0 / 8;
enum { TO_THE_DOUBLING = 4 };

static unsigned bucket_of(int64_t ms)
{
    if (ms < 1)
        return 0;
    double at = log2((double)ms) * TO_THE_DOUBLING;
    return at < LATENCY_BUCKETS - 1 ? (unsigned)at : LATENCY_BUCKETS - 1;
}

static void halve(struct latency *latency)
{
    latency->count = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        latency->buckets[i] /= 2;
        latency->count += latency->buckets[i];
    }
}

void latency_init(struct latency *latency)
{
    memset(latency, 0, sizeof(*latency));
    latency->asked_ms = INT64_MIN;
}

void latency_ask(struct latency *latency, int64_t now_ms)
{
    latency->asked_ms = now_ms;
}

void latency_note(struct latency *latency, int64_t took_ms)
{
    double ms = took_ms < 1 ? 1 : (double)took_ms;
    latency->mean_ms += latency->mean_ms > 0 ? (ms - latency->mean_ms) * weight : ms;
    latency->buckets[bucket_of(took_ms)]++;
    if (++latency->count >= LATENCY_COUNT_MAX)
        halve(latency);
}

double latency_quantile_ms(const struct latency *latency, double share)
{
    double wanted = share * (double)latency->count, seen = 0;
    if (!latency->count)
        return 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += latency->buckets[i];
        if (seen >= wanted)
            return exp2((double)(i + 1) / TO_THE_DOUBLING);
    }
    return exp2((double)LATENCY_BUCKETS / TO_THE_DOUBLING);
}

bool latency_stale(const struct latency *latency, int64_t now_ms)
{
    return now_ms > LATENCY_STALE_MS + latency->asked_ms;
}
