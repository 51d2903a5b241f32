/*
 * limit.h -- the fleet's rate limit for one model of one provider key, and who waits for it.
 *
 * A slot asks limit_may() before each call, queues with limit_wait() where it may not, and says
 * limit_take() when the call leaves and limit_settle() when its tokens are known. Redis is asked
 * for shares in the background (lease.h); no call waits for an answer of Redis while there is a
 * share. Who waits goes in the order of turns.h; whoever was woken goes before whoever comes.
 *
 * Without Redis (none is configured, or it is away) each process keeps to the part of the limit
 * that it had: the limit by the number of processes that shared it.
 *
 * A limit belongs to provider, address, key and the provider's name of the model; entries of the
 * configuration that have all of these in common share it, and the lower numbers count. It lives as
 * long as the process: a reload changes its numbers.
 */
#ifndef QUERN_WORKER_CALL_LIMIT_H
#define QUERN_WORKER_CALL_LIMIT_H

#include "common/base/list.h"
#include "common/flow/flow.h"
#include "common/io/redis.h"
#include "worker/call/lease.h"
#include "worker/call/turns.h"

#define LIMIT_WINDOW_MS 60000

struct limits; /* all of a worker */
struct limit;

/* `key_prefix`: of keys in Redis; `instance`: our name there, a text that stays. */
struct limits *limits_new(struct loop *loop, struct redis *redis, struct str key_prefix,
                          struct str instance);
void limits_free(struct limits *limits); /* behind redis_free(); takes NULL */
/* A configuration begins: the numbers of limit_of() count from now on. */
void limits_begin(struct limits *limits);
/* The limit of that id, which is part of a key in Redis, so nothing in it may be secret. `name`:
 * for metrics. Requests and tokens a minute; 0: no such limit, and NULL when there is neither. */
struct limit *limit_of(struct limits *limits, struct str id, struct str name, int64_t requests,
                       int64_t tokens);

/* In the slot; zeroed at first. */
struct limit_place {
    struct list_node node;
    uint64_t turn; /* whose is lower goes first (turns.h) */
    bool queued, woken;
    struct walk *walk;
    size_t bytes;       /* of the request */
    int64_t output_max; /* tokens that the answer may have; below 1: any number */
    int64_t tokens;     /* what both may cost, as far as is known now */
    /* of the call in flight */
    bool taken;
    int64_t taken_ms;
};

/* place->bytes and ->output_max are set. True: limit_take() or limit_leave() follows in the same
 * turn. */
bool limit_may(struct limit *limit, struct limit_place *place);
/* Others wait for it already. */
bool limit_busy(const struct limit *limit);
/* The walk sleeps (walk_sleep_until) and is woken when it may ask again. */
void limit_wait(struct limit *limit, struct limit_place *place, struct walk *walk);
/* Asks no more; in no queue: does nothing. */
void limit_leave(struct limit *limit, struct limit_place *place);
void limit_take(struct limit *limit, struct limit_place *place);
/* What became of the call: its tokens; none: nobody counted any (`is_free`), or nobody knows, and
 * the estimate stays. */
void limit_settle(struct limit *limit, struct limit_place *place, int64_t input, int64_t output,
                  bool is_free);
/* The provider itself says that it is too much: nothing leaves for so long. */
void limit_refused(struct limit *limit, int64_t pause_ms);

#endif
