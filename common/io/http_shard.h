/*
 * http_shard.h -- the multi handles of libcurl on our loop; private to the HTTP door.
 *
 * libcurl looks through the connections of a host for every request, so one multi handle with
 * thousands of them spends its time walking a list. A shard is a multi handle with few calls; a
 * call goes to the lowest-numbered shard of its pool with room, which keeps connections busy when
 * calls are few. A shard without calls for a minute closes its connections and gives its memory
 * back; so does the one that rests longest when too many do, for there may be many pools.
 *
 * libcurl 7.88 may forget a call over HTTP/2, so those shards have a guard that looks at the clock.
 *
 * libcurl's callbacks only record. Transfers that ended stand in `finished` for the client.
 */
#ifndef QUERN_COMMON_IO_HTTP_SHARD_H
#define QUERN_COMMON_IO_HTTP_SHARD_H

#include <curl/curl.h>

#include "common/base/map.h"
#include "common/io/http_gate.h"
#include "common/io/http_pool.h"
#include "common/loop/loop.h"

struct http_socket;

struct http_shard {
    struct http_shards *set;
    struct http_pool *pool;
    size_t number;       /* in its pool */
    CURLM *multi;        /* NULL until it is used */
    struct list calls;   /* in flight */
    size_t socket_count; /* open */
    /* HTTP/2: */
    struct http_call *opener; /* NULL: nobody opens a connection */
    struct list waiting;      /* for the opener; only while there is one */
    struct timer timer;       /* libcurl's */
    struct timer rest;        /* to close what nobody uses */
    struct timer guard;       /* HTTP/2: looks after calls that were forgotten */
    struct list_node use;     /* in set->busy or set->unused while it is open */
    struct list_node due;     /* in set->due: wants to run at the end of the turn */
    int64_t last_used_ms;
};

struct http_shards {
    struct loop *loop;
    struct map pools;
    size_t calls_per_shard; /* of HTTP/1.1 */
    struct list busy;       /* open shards with calls */
    struct list unused;     /* open shards without, the one that rests longest first */
    size_t unused_max;
    struct http_gate gate;
    struct list due;
    struct list again; /* calls that waited for a connection, to be started */
    struct list finished;
    struct http_socket *sockets; /* by file descriptor */
    size_t socket_count;
    struct loop_hook turn_end;
    bool turn_end_ahead; /* set by the client's ready hook: a due shard need not ask for a turn */
};

void http_shards_init(struct http_shards *set, struct loop *loop, size_t calls_max,
                      size_t calls_per_shard);
void http_shards_done(struct http_shards *set); /* no call may be in flight */

/* The options that tie a handle to our sockets. */
void http_shards_adopt(struct http_shards *set, struct http_call *call);
bool http_shards_start(struct http_shards *set, struct http_call *call, struct err *err);
/* Starts calls again that waited for an address; true when there are more. */
bool http_shards_start_waiting(struct http_shards *set, size_t max);
/* Ends a call in flight, whose connection is closed, or one that waits. */
void http_shards_drop(struct http_call *call);

/* Later than its time-outs, by more than libcurl's own delay. */
bool http_shard_overdue(const struct http_call *call, int64_t now_ms);

/* Whether the connection whose end at our side has this port is open at both ends. */
bool http_shard_still_connected(const struct http_shard *shard, int port);

#endif
