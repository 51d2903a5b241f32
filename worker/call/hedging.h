/*
 * hedging.h -- when a call of a model is so slow that a second one may help, and how many second
 * ones there may be. Pure.
 *
 * What is measured is the time until the first sign of an answer. A call that was silent for longer
 * than 95 of 100 were lately is slow; as long as fewer than HEDGING_SEEN_MIN were seen nobody knows
 * what is slow. A call that was ended because another was faster counts with the time it had been
 * silent for, which is a part of what it would have taken: else the slow ones would vanish from
 * what is usual, and more and more calls would seem slow.
 *
 * How many: each first call puts in `percent` / 100 of a token, up to HEDGING_TOKENS_MAX, and a
 * second call takes one. There is none to begin with, and none comes by itself. So each process has
 * at most that share of its own first calls at any time, and so has the fleet.
 */
#ifndef QUERN_WORKER_CALL_HEDGING_H
#define QUERN_WORKER_CALL_HEDGING_H

#include "worker/call/latency.h"

enum { HEDGING_SEEN_MIN = 20, HEDGING_TOKENS_MAX = 10 };

struct hedge_rule {
    bool on;
    int64_t floor_ms; /* nothing is slow before */
    unsigned percent;
};

struct hedging {
    unsigned holders; /* tables of models that share it; the caller's */
    struct latency signs;
    int64_t cents; /* hundredths of a token */
};

void hedging_init(struct hedging *hedging);
/* A call showed its first sign of an answer, or was given up without one, after so long. */
void hedging_note(struct hedging *hedging, int64_t silent_ms);
/* After how long without a sign a call is slow; INT64_MAX: too few were seen. */
int64_t hedging_slow_ms(const struct hedging *hedging, const struct hedge_rule *rule);

void hedging_first_call(struct hedging *hedging, const struct hedge_rule *rule);
bool hedging_may(const struct hedging *hedging);
void hedging_take(struct hedging *hedging); /* it may */

#endif
