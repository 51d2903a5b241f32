/*
 * lease.h -- a process's share of a rate limit that the whole fleet shares. Pure.
 *
 * The window is Redis's (schemas/lua/limit.lua): it lends each process that asks a few requests and
 * tokens for LEASE_MS. They are spent here without asking anybody. With the next question goes what
 * was spent when, and what is left comes back, so the fleet together never exceeds the limit in any
 * window, and Redis is asked about once a second and not once a request.
 *
 * Questions are rationed: at once when enough was spent since the last one, else a second apart.
 *
 * When Redis is away, a process keeps to its own part: the limit by the number of processes that
 * shared it, less what it has spent itself within the window.
 *
 * A budget is the same with a window that is a day or a month (`calendar`): what was spent never
 * leaves it, it begins with what the store knows (`unseeded`: tell that), and its shares live
 * longer, since nothing is lost by that. Without Redis a process lends itself its part of what the
 * store says is left, once.
 *
 * Times are loop milliseconds; a share lives from the moment the question left, so a slow answer
 * makes it shorter and never longer than Redis thinks.
 */
#ifndef QUERN_WORKER_CALL_LEASE_H
#define QUERN_WORKER_CALL_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LEASE_MS = 1000,
    LEASE_CALENDAR_MS = 5000,
    LEASE_CALENDAR_ASK_MS = 2000,
    LEASE_ASK_MS = 1000,     /* between two questions, when little was spent */
    LEASE_ASK_SOON_MS = 300, /* when some was */
    LEASE_SOME = 8,          /* requests */
    LEASE_MANY = 25,         /* then at once */
    LEASE_RENEW_MS = 100,    /* before a share ends that is to be kept */
    LEASE_BUCKET_MS = 100,
    LEASE_SPENDS_MAX = 32,
    LEASE_TOLD_MAX = 16,       /* in one question */
    LEASE_MEMBERS_UNKNOWN = 8, /* until Redis has said how many there are */
    LEASE_SECONDS = 64,        /* the window, and a little more */
    LEASE_GUARD_MS = 1000      /* a call may arrive that much later than it left */
};

struct lease_rule {
    int64_t requests, tokens; /* per window; 0: no such limit */
    int64_t window_ms;        /* of a budget: how much of it is told again to a Redis that forgot */
    bool calendar;            /* a budget; `tokens` are what it is of */
};

/* What this process spent in a second of the loop's time. */
struct lease_second {
    int64_t second, requests, tokens;
};

struct lease_spend {
    int64_t at_ms, requests, tokens;
};

struct lease {
    struct lease_rule rule;
    int64_t left_requests, left_tokens;
    int64_t until_ms;                            /* then what is left is not ours any more */
    uint64_t generation;                         /* 0: Redis does not know what we hold */
    int64_t members;                             /* processes that share the limit */
    struct lease_spend spends[LEASE_SPENDS_MAX]; /* not yet told */
    size_t spend_count, told_count;
    struct lease_second own[LEASE_SECONDS];
    int64_t spent, spent_tokens; /* requests and their tokens since the last question */
    bool asking, asks_now;
    bool others_told; /* since the last answer */
    bool keeps;       /* set by the owner: the share is wanted, though it cannot be spent at once */
    bool retells, was_away; /* with the next question; asked_away: with the one under way */
    bool asked_away;
    bool lent_itself;                   /* of a budget, since Redis is away */
    int64_t seed;                       /* goes with the next question; -1: nothing */
    int64_t pause_ms;                   /* the same; 0: nothing */
    int64_t free_requests, free_tokens; /* that nobody had when Redis was asked last */
    int64_t told_ms;                    /* what was spent before it, Redis knows */
    int64_t asked_ms, next_ms;          /* the last question; not before */
};

/* What goes to Redis. */
struct lease_question {
    uint64_t generation;
    int64_t left_requests, left_tokens, want_requests, want_tokens;
    int64_t seed, pause_ms;
    bool was_away; /* the spends are what Redis did not hear of, by the second */
    struct lease_spend spends[LEASE_SECONDS];
    size_t spend_count;
};

struct lease_answer {
    uint64_t generation;
    int64_t requests, tokens, members, wait_ms;
    bool forgot;   /* it knows nothing of us any more */
    bool unseeded; /* it does not know what the store knows of this budget */
    int64_t free_requests, free_tokens;
};

void lease_init(struct lease *lease, const struct lease_rule *rule);
/* Whether a request of so many tokens may leave. One that is larger than the limit needs all of it.
 */
bool lease_may(const struct lease *lease, int64_t tokens, int64_t now_ms);
void lease_take(struct lease *lease, int64_t tokens, int64_t now_ms); /* it may */
/* The request that left at taken_ms had so many tokens more (or less) than was thought. */
void lease_settle(struct lease *lease, int64_t taken_ms, int64_t more);

/* When a question may be asked: now or later. */
int64_t lease_ask_ms(const struct lease *lease);
/* There is something that others could use, or that Redis counts too high. */
bool lease_should_return(const struct lease *lease, int64_t now_ms);
void lease_ask(struct lease *lease, int64_t want_requests, int64_t want_tokens, int64_t now_ms,
               struct lease_question *ret);
/* The provider wants to see nobody for so long: so the whole fleet is told with the next question.
 */
void lease_pause(struct lease *lease, int64_t pause_ms);
/* What the store knows as spent of a budget: goes to Redis with the next question. */
void lease_seed(struct lease *lease, int64_t spent);
/* Redis is away; `spent` is what the store knows. */
void lease_lend_of_budget(struct lease *lease, int64_t spent, int64_t now_ms);
/* Redis is back: what was lent that way ends. */
void lease_end_loan(struct lease *lease);
/* Others, who do not ask Redis, have spent so much of it: our part of that word goes to Redis, once
 * per answer. */
void lease_others_spent(struct lease *lease, int64_t requests, int64_t tokens, int64_t now_ms);
/* Nothing of it would be lost with it: no share, nothing untold. */
bool lease_is_idle(const struct lease *lease, int64_t now_ms);
/* How long a share lives. */
int64_t lease_life_ms(const struct lease *lease);
/* Redis wants to know what was spent: with the next question, which may be asked at once. */
void lease_retell(struct lease *lease);
void lease_answered(struct lease *lease, const struct lease_answer *answer);
/* No answer; `away`: Redis is not there, so the process lends itself its part. */
void lease_unanswered(struct lease *lease, bool away, int64_t now_ms);

#endif
