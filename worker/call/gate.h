/*
 * gate.h -- the way to one model: its circuit breaker, its budget of retries, and who waits.
 *
 * A slot asks gate_enter() before each call and tells gate_ended() what came of it. Where it may
 * not go it queues with gate_wait() and sleeps until its deadline; the gate wakes it when there is
 * room, and it asks again. Whoever has been woken goes before whoever comes. Waiting costs neither
 * an attempt nor a place among the calls in flight.
 *
 * First calls, and retries at a time the provider itself has named (429 with Retry-After), need the
 * breaker's leave only. Other retries need a token of the budget too, but not while the breaker is
 * open or half-open: then the breaker lets go few enough.
 *
 * A gate belongs to a provider's address and model. Tables of models share it across reloads
 * (holders are counted), so that a reload neither forgets an outage nor wakes everybody.
 */
#ifndef QUERN_WORKER_CALL_GATE_H
#define QUERN_WORKER_CALL_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/list.h"
#include "common/flow/flow.h"
#include "worker/call/breaker.h"

struct gate;

struct gate_rule {
    struct breaker_rule breaker;
    unsigned budget_percent;
};

/* In the slot; zeroed at first. */
struct gate_place {
    struct list_node node;
    struct list *queue; /* NULL: in none */
    struct walk *walk;
    bool first;       /* no call was made for it yet */
    bool needs_token; /* a retry that nobody asked for */
    bool woken;       /* its turn has come */
    uint32_t number;  /* by when it came to the queue */
    /* of the call in flight */
    unsigned ticket;
    bool token;
    bool probed; /* it was let go to try whether the provider is back; behind its end: which it is
                    not */
};

struct gate *gate_new(struct str name, const struct gate_rule *rule);
struct gate *gate_hold(struct gate *gate, const struct gate_rule *rule); /* the newer rule holds */
void gate_release(struct gate *gate);                                    /* takes NULL */

/* So many processes share what retries the fleet may make of itself (budget.h). */
void gate_members(struct gate *gate, unsigned members);
/* Whether gate_enter() would say so now. */
bool gate_may(struct gate *gate, const struct gate_place *place, int64_t now_ms);
/* The provider seems to be away: the breaker is open. */
bool gate_away(const struct gate *gate);
/* Nothing is known against it. */
bool gate_closed(const struct gate *gate);
/* One more holder, with the same rule. */
struct gate *gate_keep(struct gate *gate);
/* Its calls have been held back for `after_ms` at least, and nobody gets in. In a ramp some do:
 * whoever waits behind more than that has a long wait, too. */
bool gate_long_shut(struct gate *gate, const struct gate_place *place, int64_t after_ms,
                    int64_t now_ms);
/* How many of those who did not wait may come now. */
size_t gate_room(struct gate *gate, int64_t now_ms);
/* How many wait there for a token, of these up to this one at most; tokens that come by themselves
 * in a second. */
size_t gate_retries(const struct gate *gate);
uint32_t gate_retries_ahead(const struct gate *gate, const struct gate_place *place);
size_t gate_retries_per_second(const struct gate *gate);
size_t gate_retries_at_hand(struct gate *gate, int64_t now_ms);
/* A call was told by the provider to come again that much later, and rests; one was answered. Many
 * of the first without one of the second, and new ones need not go there to hear the same. */
void gate_told_later(struct gate *gate, int64_t until_ms, int64_t now_ms);
bool gate_is_told_later(const struct gate *gate, int64_t now_ms);
void gate_well(struct gate *gate);
/* True: the call begins now, and gate_ended() follows. */
bool gate_enter(struct gate *gate, struct gate_place *place, int64_t now_ms);
/* The walk is asleep (walk_sleep_until) and is woken when it may ask again. */
void gate_wait(struct gate *gate, struct gate_place *place, struct walk *walk);
/* Asks no more; not waiting: does nothing. */
void gate_leave(struct gate *gate, struct gate_place *place, struct loop *loop);
void gate_ended(struct gate *gate, struct gate_place *place, enum breaker_news news,
                int64_t began_ms, struct loop *loop);

/* What a call's end says of the provider. `status` 0: there was no reply. `cut_short`: it was given
 * less time than the model's own. */
enum breaker_news gate_news(const struct err *err, int status, bool cut_short);

#endif
