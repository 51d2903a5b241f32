/*
 * estimate.h -- how many tokens a call will cost, learned from those that ended. Pure.
 *
 * Input: bytes of the messages' text by bytes per token; for short questions four, and what they
 * have beyond. Output: what the answers had lately and a quarter more, at most the request's own
 * limit. All means move by a sixteenth with each answer. Too high keeps a part of the limit unused
 * until the answer is there, too low is made up for afterwards.
 *
 * The text and not the request's bytes, the mean of bytes by the mean of tokens, and that not of
 * short questions: their bytes say more of what stands around the text. Many of them would teach
 * that a long one has few tokens, and a burst of long ones would leave at once.
 */
#ifndef QUERN_WORKER_CALL_ESTIMATE_H
#define QUERN_WORKER_CALL_ESTIMATE_H

#include <stddef.h>
#include <stdint.h>

#include "common/data/value.h"

struct estimate {
    double bytes, tokens; /* of the input, means; tokens 0: nothing learned yet */
    double more;          /* tokens that a short question has beyond its text */
    double output;        /* 0: nothing learned yet */
};

/* What counts as text in messages: their strings, and some bytes for what stands around each
 * message. An image within them has about as many tokens whatever its bytes. `otherwise` when there
 * are no messages. */
size_t estimate_bytes(const struct value *messages, size_t otherwise);

/* output_max: the request's max_tokens; 0 and absent: none is said. */
#define ESTIMATE_NO_OUTPUT (-1) /* an output_max: there is none, as of embeddings */
int64_t estimate_tokens(const struct estimate *estimate, size_t bytes, int64_t output_max);
/* Millionths of a dollar, by prices in dollars per million tokens; NAN: there is no price, 0. */
int64_t estimate_cost(const struct estimate *estimate, size_t bytes, int64_t output_max,
                      double price_input, double price_output);
void estimate_learn(struct estimate *estimate, size_t bytes, int64_t input, int64_t output);

#endif
