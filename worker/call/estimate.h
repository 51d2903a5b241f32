/*
 * estimate.h -- how many tokens a call will cost, learned from those that ended. Pure.
 *
 * Input: bytes of the request by bytes per token. Output: what the answers had lately and a quarter
 * more, at most the request's own limit. Both means move by a sixteenth with each answer. Too high
 * keeps a part of the limit unused until the answer is there, too low is made up for afterwards.
 */
#ifndef QUERN_WORKER_CALL_ESTIMATE_H
#define QUERN_WORKER_CALL_ESTIMATE_H

#include <stddef.h>
#include <stdint.h>

struct estimate {
    double bytes_per_token, output; /* 0: nothing learned yet */
};

/* output_max: the request's max_tokens; below 1: none. */
int64_t estimate_tokens(const struct estimate *estimate, size_t bytes, int64_t output_max);
/* Millionths of a dollar, by prices in dollars per million tokens; NAN: there is no price, 0. */
int64_t estimate_cost(const struct estimate *estimate, size_t bytes, int64_t output_max,
                      double price_input, double price_output);
void estimate_learn(struct estimate *estimate, size_t bytes, int64_t input, int64_t output);

#endif
