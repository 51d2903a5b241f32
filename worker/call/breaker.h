/*
 * breaker.h -- a circuit breaker: who may call a model while it is, or seems to be, away. Pure.
 *
 * CLOSED lets everybody go. `failures` calls in a row that failed as if the provider were away (no
 * connection, cut before the answer, time-out, 5xx) open it. OPEN lets a single call go at a time,
 * a probe, after a pause that doubles up to `pause_max_ms`; the first one that is answered makes it
 * HALF_OPEN: a few calls at once, and twice as many each RAMP_MS, until nobody was held back. A
 * shorter row of failures opens it again. A refusal that only a living provider gives (429, 400)
 * counts as an answer.
 *
 * Two things come from calls that are long. Calls that began before the breaker opened say nothing
 * about now: each call carries the ticket it was let go with, and a ticket of an earlier opening is
 * ignored. And a probe that lives much longer than the last failure took need not be waited for: it
 * is not failing as the others did, so the ramp begins. (A provider that hangs fails by time-out;
 * there only an answer counts, and a silent probe keeps the next one back for SILENT_MS at most.)
 *
 * The rule "failures in a row" is Envoy's outlier detection (consecutive_gateway_failure), the
 * three states are Nygard's ("Release It!") as in resilience4j. A share of failures over a window
 * is not used: there is no other host to go to, so holding back calls half of which succeed would
 * only lower what gets done; there the budget of retries is at work (budget.h).
 *
 * Times are milliseconds of any one clock. No memory of its own.
 */
#ifndef QUERN_WORKER_CALL_BREAKER_H
#define QUERN_WORKER_CALL_BREAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum breaker_state { BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN };

/* NOTHING: the call says nothing of the provider (our own limit, the request's short deadline). */
enum breaker_news { BREAKER_ANSWERED, BREAKER_FAILED, BREAKER_NOTHING };

struct breaker_rule {
    unsigned failures; /* in a row; 0: never opens */
    int64_t pause_max_ms;
};

struct breaker {
    enum breaker_state state;
    unsigned ticket;  /* counts openings */
    unsigned row;     /* failures in a row */
    size_t in_flight; /* calls of this ticket */
    int64_t pause_ms;
    int64_t next_ms;    /* open: the next probe; half-open: the next doubling */
    int64_t lives_ms;   /* open: a probe in flight then is good news; INT64_MAX: none is */
    int64_t failure_ms; /* how long the last failure took */
    size_t allowed;     /* half-open: calls in flight */
    bool held;          /* somebody was held back since the last doubling */
};

void breaker_init(struct breaker *breaker);
/* How many calls may begin now; SIZE_MAX when closed. */
size_t breaker_room(struct breaker *breaker, int64_t now_ms);
/* Somebody waits because there was no room: the ramp goes on. */
void breaker_hold(struct breaker *breaker);
/* A call begins; there was room. The ticket goes with it to breaker_ended(). */
unsigned breaker_began(struct breaker *breaker, int64_t now_ms);
void breaker_ended(struct breaker *breaker, const struct breaker_rule *rule, unsigned ticket,
                   enum breaker_news news, int64_t began_ms, int64_t now_ms);
/* When time alone may change something; INT64_MAX when closed. */
int64_t breaker_next_ms(const struct breaker *breaker);
const char *breaker_state_name(enum breaker_state state);

#endif
