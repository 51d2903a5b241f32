/*
 * limit_inside.h -- what limits.c (all limits of a worker: made, found, forgotten) and limit.c
 * (one: its questions and who waits for it) share.
 */
#ifndef QUERN_WORKER_CALL_LIMIT_INSIDE_H
#define QUERN_WORKER_CALL_LIMIT_INSIDE_H

#include "common/base/map.h"
#include "worker/call/limit.h"

struct limits {
    struct limits_conf conf;
    unsigned script;
    char *key_prefix, *channel; /* copies: a reload frees the configuration */
    bool subscribed;
    struct map by_id;
    struct list idle; /* longest unused first */
};

struct limit {
    struct map_node map_node;
    struct list_node idle_node;
    struct limits *limits;
    char *id, *label, *owner;
    struct limit_budget budget;
    unsigned holders;
    int64_t idle_since_ms;
    struct lease lease;
    struct list waiting;
    int64_t woken, woken_tokens;              /* their turn has come, and they have not asked yet */
    int64_t expected, expected_tokens;        /* they wait elsewhere */
    int64_t held_until_ms;                    /* by the provider's word */
    struct told told;                         /* what the provider said last */
    int64_t told_ms, answered_ms;             /* and when; when Redis answered last */
    unsigned missing;                         /* answers in a row with less left than we know of */
    bool seeding;                             /* the store was asked */
    int64_t short_since_ms, used_up_until_ms; /* of a budget; 0: not */
    struct timer timer;
};

/* Redis has forgotten what the fleet has spent of it, or was away: it is told again. */
void limit_retell(struct limit *limit);

#endif
