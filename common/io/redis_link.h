/*
 * redis_link.h -- one connection to Redis that keeps coming back. Only for common/io/redis*.c.
 *
 * The link connects without blocking, says AUTH and SELECT, then lets its owner add a greeting of
 * its own (opened). When the owner is content with the answers it calls redis_link_greeted(); until
 * then the connect time-out runs. All output is collected in redis_link_out() and leaves in one
 * write at the end of the turn.
 *
 * hiredis makes the socket and reads the replies (its reader); its asynchronous part is not used:
 * our own queue knows which reply belongs to whom, without an allocation for each command and
 * without contexts that free themselves inside their own callbacks.
 *
 * What stays true: the connection is never closed inside `reply` or `opened`, nor at the end of a
 * turn; `closed` is called once for each connection that was `opened` or failed to be.
 */
#ifndef QUERN_COMMON_IO_REDIS_LINK_H
#define QUERN_COMMON_IO_REDIS_LINK_H

#include "common/base/buf.h"
#include "common/io/redis_url.h"
#include "common/loop/loop.h"

struct redisContext;
struct redisReply;

struct redis_link_calls {
    void (*opened)(void *context);
    void (*reply)(const struct redisReply *reply, void *context); /* valid during the call */
    void (*closed)(const struct err *why, void *context);
};

enum redis_link_state {
    REDIS_LINK_DOWN,
    REDIS_LINK_CONNECTING,
    REDIS_LINK_GREETING,
    REDIS_LINK_UP
};

struct redis_link {
    struct loop *loop;
    const struct redis_url *url;
    int64_t connect_timeout_ms;
    const struct redis_link_calls *calls;
    void *context;

    enum redis_link_state state;
    struct redisContext *hiredis;
    struct loop_watch *watch;
    int watched;
    struct buf out;
    unsigned greeting_left; /* answers to AUTH and SELECT still to come */
    struct timer timer;
    struct loop_hook turn_end;
    struct timer nudge; /* so that the next turn does not wait while output does */
    unsigned attempt;
    uint64_t connected; /* how often it came up */
    int64_t heard_ms;   /* when the last byte came */
    bool broken;
    struct err why;
};

/* The link is part of its owner and connects at the next turn. url stays the owner's. */
void redis_link_init(struct redis_link *link, struct loop *loop, const struct redis_url *url,
                     int64_t connect_timeout_ms, const struct redis_link_calls *calls,
                     void *context);
void redis_link_done(struct redis_link *link);

/* Only while it is GREETING or UP. */
struct buf *redis_link_out(struct redis_link *link);
void redis_link_greeted(struct redis_link *link);
/* Closes the connection soon, never from inside this call; the first reason is told. */
void redis_link_break(struct redis_link *link, const struct err *why);

#endif
