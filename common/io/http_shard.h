/*
 * http_shard.h -- the multi handles of libcurl on our loop; private to the HTTP door.
 *
 * libcurl looks through the connections of a host for every request, so one multi handle with
 * thousands of them spends its time walking a list. A shard is a multi handle with few calls; a
 * call goes to the lowest-numbered shard of its pool with room, which keeps connections busy when
 * calls are few. A shard without calls for a minute closes its connections and gives its memory
 * back; so does the one that rests longest when too many do, for there may be many pools.
 *
 * libcurl does not watch the time of a call that waits for another one's HTTP/2 connection, and
 * 7.88 has been seen to forget streams. So the shards of HTTP/2 look at the clock themselves.
 *
 * Sockets are watched for as long as they are open, not only while a request is on them: libcurl
 * takes its interest back after each reply and shows it again with the next request, and following
 * it would cost two system calls per request. A socket that becomes readable without a request
 * (the server closed it) is no longer watched until it is wanted; libcurl sees it by itself when it
 * takes it up.
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
    size_t number;        /* in its pool */
    CURLM *multi;         /* NULL until it is used */
    struct list calls;    /* in flight */
    struct timer timer;   /* libcurl's */
    struct timer rest;    /* to close what nobody uses */
    struct timer guard;   /* HTTP/2: looks after calls that libcurl has lost */
    struct list_node use; /* in set->busy or set->unused while it is open */
    struct list_node due; /* in set->due: wants to run at the end of the turn */
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

/* Whether the connection whose end at our side has this port is open at both ends. */
bool http_shard_still_connected(const struct http_shard *shard, int port);

#endif
