/*
 * reset.h -- what a provider's headers say of its rate limits. Pure.
 *
 * OpenAI and who speaks its form: x-ratelimit-{limit,remaining,reset}-{requests,tokens}, a reset is
 * a duration ("1s", "6m0s", "20ms"). Anthropic: anthropic-ratelimit-{requests,tokens,input-tokens,
 * output-tokens}-{limit,remaining,reset}, a reset is a moment (RFC 3339).
 */
#ifndef QUERN_WORKER_CALL_RESET_H
#define QUERN_WORKER_CALL_RESET_H

#include "worker/call/provider.h"

#define RATE_HEADERS_BYTES_MAX 2048
/* Limits are per minute: a longer time is not meant for the next call. */
#define RESET_MS_MAX 60000

/* The lines of a reply's headers that speak of rate limits, copied; absent: there are none. */
struct str rate_headers_keep(struct str headers, struct arena *arena);
/* First header of this name in kept lines, any case; absent when missing. */
struct str rate_header(struct str kept, const char *name);
/* Milliseconds until what is used up is there again, at most RESET_MS_MAX: the longest of those of
 * which nothing remains, or the shortest of all, where each says that something does. 0: not said.
 */
int64_t rate_reset_ms(struct str kept, int64_t wall_ms);

#endif
