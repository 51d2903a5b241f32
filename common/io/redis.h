/*
 * redis.h -- the Redis door (hiredis inside). A dead or slow Redis is a miss and a counter, never
 * an error of the request.
 *
 * One connection for commands (pipelined: all commands of a turn leave in one write at the turn's
 * end) and one for each channel of redis_subscribe(). Each command has a time-out; after
 * it, or while the connection is down, the answer is a miss (ok = false). Reconnects by itself with
 * jitter, 100 ms to 5 s. After several time-outs in a row the connection is dropped and made anew.
 * URL: redis://[user:password@]host:port/db, unix:///path. An absent URL switches Redis off: every
 * answer is a miss, given at once at the next turn, and redis_enabled() is false.
 */
#ifndef QUERN_COMMON_IO_REDIS_H
#define QUERN_COMMON_IO_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/loop/loop.h"

struct redis;

enum redis_kind { REDIS_NIL, REDIS_TEXT, REDIS_NUMBER, REDIS_LIST, REDIS_FAILED };

struct redis_reply {
    enum redis_kind kind;
    struct str
        text; /* of REDIS_TEXT (also simple statuses) and REDIS_FAILED (the server's error) */
    int64_t number;
    size_t count; /* of REDIS_LIST */
    const void *handle;
};
struct redis_reply redis_item(const struct redis_reply *list, size_t index);

/* reply is NULL on a miss of the whole command (down, time-out, cancelled); valid during the call.
 */
typedef void redis_done(const struct redis_reply *reply, void *context);

struct redis_conf {
    struct str url;
    struct str password;        /* absent: the URL's */
    int64_t connect_timeout_ms; /* default 1000 */
    int64_t command_timeout_ms; /* default 500 */
    size_t pending_max;         /* commands under way; beyond it: misses. default 65536 */
    void (*on_state)(bool up, const struct err *why, void *context); /* may be NULL */
    void *context;
};

struct redis *redis_new(struct loop *loop, const struct redis_conf *conf, struct err *err);
/* Takes NULL; no more answers. What was asked before is sent, where the socket takes it at once. */
void redis_free(struct redis *redis);
bool redis_enabled(const struct redis *redis);
bool redis_up(const struct redis *redis);

/* Words are copied before it returns. done may be NULL. Never answered from inside this call. */
void redis_ask(struct redis *redis, const struct str *words, size_t count, redis_done *done,
               void *context);

/* A script is known by its SHA-1 (EVALSHA); it is loaded on each connection before anything else.
 */
struct redis_script {
    const char *name;
    const char *lua;
};
/* At most 16 scripts, registered before the first command; returns its number. The
 * struct is copied, its texts must stay. */
unsigned redis_script_add(struct redis *redis, const struct redis_script *script);
void redis_script_ask(struct redis *redis, unsigned script, size_t key_count,
                      const struct str *words, size_t count, redis_done *done, void *context);

/* Messages of a channel, resubscribed after each reconnect; a connection of its own each, at most
 * REDIS_CHANNELS_MAX. */
#define REDIS_CHANNELS_MAX 4
void redis_subscribe(struct redis *redis, struct str channel,
                     void (*on_message)(struct str message, void *context), void *context);

struct redis_stats {
    uint64_t commands, misses, timeouts, reconnects;
    uint64_t refused; /* answered with an error, which is told in the log, too */
    size_t pending;
};
void redis_stats(const struct redis *redis, struct redis_stats *ret);

/* For the command line (doctor): connects, PING, blocking with a time-out. */
bool redis_check(const struct redis_conf *conf, int64_t timeout_ms, struct err *err);

#endif
