/*
 * limit.h -- one limit that the whole fleet keeps to: so many requests and tokens a minute, or a
 * budget in millionths of a dollar; and who waits for it.
 *
 * Redis is asked for shares in the background (lease.h); no call waits for an answer of Redis while
 * there is a share. Who waits goes in the order of turns.h. A call
 * passes all limits that hold for it at once (place.h is that way); here is one of them.
 *
 * Without Redis (none is configured, or it is away) each process keeps to the part of the limit
 * that it had: the limit by the number of processes that shared it.
 *
 * Limits are made when somebody asks for them by their id, and counted by who holds them. Nobody
 * holds one any more: it is forgotten after a while, the longest unused first, as soon as Redis
 * knows all that was spent. So many users are no more memory than those who ask now.
 *
 * A budget that Redis does not know yet begins with what the store knows: `unseeded` is called and
 * answers with limit_seeded(). One that is used up is not waited for: limit_refuses().
 */
#ifndef QUERN_WORKER_CALL_LIMIT_H
#define QUERN_WORKER_CALL_LIMIT_H

#include "common/base/list.h"
#include "common/flow/flow.h"
#include "common/io/redis.h"
#include "worker/call/estimate.h"
#include "worker/call/lease.h"
#include "worker/call/told.h"
#include "worker/call/turns.h"

enum { LIMIT_WINDOW_MS = 60000, LIMIT_HOLDS_MAX = 8 };

struct limits; /* all of a worker */
struct limit;

/* Whose money a budget is, for who asks the store: a tenant's, or that of a key of that id. */
struct limit_budget {
    bool of_tenant;
    struct str owner;
    char first[11], next[11]; /* days, "2026-11-21": the first of it, the first behind it */
};

struct limits_conf {
    struct loop *loop;
    struct redis *redis;
    struct str key_prefix; /* of keys in Redis */
    struct str instance;   /* our name there, a text that stays */
    /* May answer with limit_seeded() from inside; it holds the limit until then. */
    void (*unseeded)(struct limit *limit, const struct limit_budget *budget, void *context);
    void *context;
};

struct limits *limits_new(const struct limits_conf *conf);
void limits_free(struct limits *limits); /* behind redis_free(); takes NULL */
/* Whoever waits asks again, in the same order: other limits may hold for him. */
void limits_wake_all(struct limits *limits);
/* Whether others wait for the limit of that id, or it rests. */
bool limits_busy(const struct limits *limits, struct str id);
/* The limit of that id, if nothing of it is at hand now: whoever goes there waits, if only until
 * Redis has answered. Else NULL. */
struct limit *limits_short(const struct limits *limits, struct str id);
size_t limits_count(const struct limits *limits);

/* The limit of that id, which is part of a key in Redis, so nothing in it may be secret. `label`:
 * for metrics, few different ones. The rule holds from now on. `budget`: NULL for a rate. Followed
 * by limit_release(). */
struct limit *limit_hold(struct limits *limits, struct str id, struct str label,
                         const struct lease_rule *rule, const struct limit_budget *budget);
struct limit *limit_keep(struct limit *limit); /* one more holder */
void limit_release(struct limit *limit);       /* takes NULL */
/* How many wait for it, and how many that cost so much it lets go in a second. */
size_t limit_waiting(const struct limit *limit);
size_t limit_per_second(const struct limit *limit, int64_t amount);
/* How many of that cost it would let go at once. */
size_t limit_at_hand(const struct limit *limit, int64_t amount);
/* Somebody waits elsewhere, and will come here then: a little is kept at hand. */
void limit_expect(struct limit *limit, int64_t amount, int more);
struct str limit_name(const struct limit *limit); /* its id */
bool limit_is_money(const struct limit *limit);
const struct limit_budget *limit_budget(const struct limit *limit); /* of one in money */
/* What the store knows as spent, in millionths of a dollar; -1: it did not answer. */
void limit_seeded(struct limit *limit, int64_t spent);
/* The provider itself says that it is too much: nothing leaves for so long, in the whole fleet. */
void limit_refused(struct limit *limit, int64_t pause_ms);

/* What is left of it, by the provider's word: others may use the key, too. */
void limit_told(struct limit *limit, const struct told *told);

/* ---- for place.c ---- */

/* A call on its way past all limits that hold for it; in the slot, zeroed at first. */
struct limit_place {
    struct list_node node;
    struct walk *walk;
    uint64_t turn;          /* whose is lower goes first (turns.h); 0: it has not waited yet */
    struct limit *waits_at; /* NULL: in no queue */
    struct limit *turn_at;  /* a part of its share is kept for us until we have asked again */
    struct limit *lacks;    /* the one that had no room when it was asked last */
    int64_t turn_amount;
    /* what it may cost: set by who asks */
    const struct estimate *estimate;
    double price_input, price_output; /* dollars per million tokens; NAN: none */
    size_t bytes;                     /* of the request */
    int64_t output_max;               /* tokens that the answer may have; see estimate.h */
    /* the limits that hold for it, held */
    struct {
        struct limit *limit;
        int64_t amount; /* tokens, or millionths of a dollar, as far as is known now */
    } holds[LIMIT_HOLDS_MAX];
    unsigned count;
    unsigned current; /* quota.c's: of which day and configuration they are */
    bool taken;       /* a call is in flight */
    int64_t taken_ms;
};

/* The amounts, by what answers that came meanwhile have taught us. */
void place_estimate(struct limit_place *place);

/* Whether there is room for hold `i` of the place; takes nothing. */
bool limit_may(const struct limit *limit, const struct limit_place *place, unsigned i);
/* Whether it is a budget that is used up. */
bool limit_refuses(const struct limit *limit);
void limit_enqueue(struct limit *limit, struct limit_place *place);
void limit_dequeue(struct limit *limit, struct limit_place *place);
/* Its turn has passed: it is the next one's. */
void limit_pass_turn(struct limit *limit, struct limit_place *place);
void limit_take(struct limit *limit, struct limit_place *place, unsigned i);
void limit_settle(struct limit *limit, int64_t taken_ms, int64_t more);
int64_t limit_now_ms(const struct limit *limit);

#endif
