/*
 * budget.h -- how many retries of a model may be in vain: a token bucket. Pure.
 *
 * Each first call puts in `percent` / 100 of a token, up to BUDGET_MAX; a retry takes one and
 * brings it back if it is answered. So retries that help are free, and those that do not are at
 * most that share of the requests: in an outage a provider gets 1.2 calls per request and not
 * `attempts_max`. Shares of each process's own calls add up to that share of the fleet's.
 *
 * A few tokens a second come by themselves while there are less than BUDGET_FLOOR, so that a lone
 * request may always try again. That rate is the fleet's: of `members` processes each has its part,
 * and one token at hand at least.
 *
 * After Finagle's RetryBudget (share of requests, and a least rate) and the client throttling of
 * the SRE book, chapter 21. There a retry beyond the budget ends as an error; here it waits, and
 * who waits takes a place at work. Were a useful retry not given back, a share of errors above
 * `percent` would fill all places with waiters and leave the least rate as throughput, even after
 * it ended.
 */
#ifndef QUERN_WORKER_CALL_BUDGET_H
#define QUERN_WORKER_CALL_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BUDGET_FLOOR = 10, BUDGET_MAX = 100, BUDGET_REFILL_MS = 100 };

struct budget {
    int64_t cents;     /* hundredths of a token */
    int64_t filled_ms; /* -1: nobody has asked yet */
    unsigned members;  /* processes that share the rate; 1 at first */
};

void budget_init(struct budget *budget); /* one token */
void budget_members(struct budget *budget, unsigned members);
void budget_first_call(struct budget *budget, unsigned percent);
/* Whole tokens there are now. */
size_t budget_tokens(struct budget *budget, int64_t now_ms);
void budget_take(struct budget *budget); /* there is one */
void budget_give_back(struct budget *budget);
/* Tokens that come by themselves in a second, while there are few. */
size_t budget_per_second(const struct budget *budget);
/* When the next token comes by itself. */
int64_t budget_next_ms(const struct budget *budget);

#endif
