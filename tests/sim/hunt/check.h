/*
 * check.h -- what must hold, computed from outside: what was published, what the providers'
 * ledger says, and what is in the store.
 *
 * Numbers are those of the list of invariants in docs/reliability.md.
 */
#ifndef QUERN_TESTS_SIM_HUNT_CHECK_H
#define QUERN_TESTS_SIM_HUNT_CHECK_H

#include "tests/sim/hunt/play.h"

enum {
    CHECK_LOOKED_MS = 500,      /* who looked just before it was final did not see it */
    CHECK_PARKED_MAX = 4,       /* worker.parked_max */
    CHECK_READ_AHEAD = 6,       /* worker.read_ahead */
    CHECK_LIMIT = 20,           /* models.alpha.requests_per_minute, where there is a limit */
    CHECK_TENANT_LIMIT = 20,    /* tenants.default.requests_per_minute, the same */
    CHECK_CALL_MICROUSD = 1000, /* what a call costs where there is a budget .. */
    CHECK_BUDGET_CALLS = 12     /* .. which is enough for so many */
};

/* I3, at the moment of each commit: nothing below it is unfinished. */
void check_commits(struct play *play);
/* Every fourth schedule has a rate limit, but those whose workers die with two calls under way. */
bool check_has_limit(const struct schedule *schedule);
/* Others limit the tenant, or its money. */
bool check_has_tenant_limit(const struct schedule *schedule);
bool check_has_budget(const struct schedule *schedule);
bool check_has_limits(const struct schedule *schedule); /* any of these */
/* X3, of the ledger: no more was spent than the budget, and nobody was refused while half was left.
 */
void check_budget(struct play *play);
/* X3, of the ledger: no minute has more calls than the limit. */
void check_limit(struct play *play);
/* X6, of a burst: who comes behind another's very many does not wait for them. */
void check_shares(struct play *play);
/* I7, at each moment. */
void check_bounds(struct play *play);
/* All others, when the fleet has settled. */
void check_end(struct play *play);

/* check_calls.c: order and history of turns (I4, I10, I14), paid calls (I5), money (I6). */
void check_turns(struct play *play);
void check_repeats(struct play *play);
void check_deadlines(struct play *play); /* I8 */
/* check_tries.c: which calls, by their index, only tried whether a provider that seemed to be away
 * was back; malloc'ed. */
bool *check_tries(const struct play *play);
/* Those of a call's slot. */
int check_tries_of(const struct play *play, const bool *tries, const struct sim_call *call);
/* 3 of "default/r7/1/3". */
int check_attempt_number(const struct sim_call *call);
/* A provider that refuses connections has no line for them. */
bool check_tries_unseen(const struct schedule *schedule);
/* check_books.c: money (I6), what is there together (I13), replies. */
void check_books(struct play *play);
/* check_ledger.c: every send is a row (I6). */
void check_ledger(struct play *play);
/* Whether all providers answered all calls, as far as the list of replies says. */
bool check_providers_were_well(const struct schedule *schedule);
/* Somebody cancelled it at some time. */
bool check_was_cancelled(const struct play *play, int number);
/* Whether Redis was there all the time: claims and kept answers are its. */
bool check_redis_was_well(const struct schedule *schedule);
/* Neither Redis nor PostgreSQL may have known of what was asked before: it is asked anew. */
bool check_nobody_knew(const struct schedule *schedule);
/* How many calls may have come twice. */
int check_came_twice(const struct schedule *schedule);
/* Of "default/r7/1/..": 7 and 1; false: not ours. */
bool check_call_name(struct str id, int *ret_number, int *ret_slot);
/* Whether it was made for that request; for the same slot of the same request as the other. */
bool check_call_of(const struct sim_call *call, int number);
bool check_same_slot(const struct sim_call *a, const struct sim_call *b);
/* Whether the record makes a request: the first of its id, not garbage. */
bool check_makes_request(const struct published *p);
/* Of whichever tenant; no two have the same id. */
const struct sim_final *check_final(const struct sim *sim, const char *id);
/* With another body or not. */
size_t check_times_published(const struct play *play, int number);

#endif
