/*
 * latency.h -- how long a model's calls take lately: a moving mean, and quantiles. Pure.
 *
 * The mean moves by an eighth with each call. Quantiles come from a histogram whose buckets are a
 * fifth wide (four to the doubling) and whose counts are halved when there are LATENCY_COUNT_MAX of
 * them, so that the last thousand or two count. What failed quickly is not told; what timed out is.
 */
#ifndef QUERN_WORKER_CALL_LATENCY_H
#define QUERN_WORKER_CALL_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

#define LATENCY_BUCKETS   96
#define LATENCY_COUNT_MAX 1024
/* After so long without a call what is known of a model is old. */
#define LATENCY_STALE_MS 30000

struct latency {
    unsigned holders; /* tables of models that share it; the caller's */
    double mean_ms;   /* 0: nothing seen yet */
    int64_t asked_ms; /* INT64_MIN: never */
    uint32_t count;
    uint16_t buckets[LATENCY_BUCKETS];
};

void latency_init(struct latency *latency);
/* A call is about to be made: it is not stale from now on, so that others need not try, too. */
void latency_ask(struct latency *latency, int64_t now_ms);
void latency_note(struct latency *latency, int64_t took_ms);
/* 0: nothing seen yet. `share` 0.95: the p95, at most a fifth too high. */
double latency_quantile_ms(const struct latency *latency, double share);
/* Not asked lately. */
bool latency_stale(const struct latency *latency, int64_t now_ms);

#endif
