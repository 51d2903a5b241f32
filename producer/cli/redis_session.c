/*
 * redis_session.c -- see redis_session.h.
 */
#include "producer/cli/redis_session.h"

#include <stdlib.h>

#include "common/base/xalloc.h"

enum { TURN_MS = 50 };

struct redis_session {
    struct loop *loop;
    struct redis *redis;
    /* the question under way */
    void (*take)(const struct redis_reply *reply, void *context);
    void *context;
    bool back;
    struct err err;
};

static bool wait_up(struct redis_session *session)
{
    int64_t until_ms = loop_now_ms(session->loop) + CLI_TIMEOUT_MS;
    while (!redis_up(session->redis) && loop_now_ms(session->loop) < until_ms)
        loop_turn(session->loop, TURN_MS);
    return redis_up(session->redis);
}

struct redis_session *redis_session_new(const struct cli *cli, struct err *err)
{
    struct redis_conf conf;
    shared_redis_conf(cli->conf, &conf);
    conf.command_timeout_ms = CLI_TIMEOUT_MS;
    if (!conf.url.data) {
        err_set(err, ERR_CONFIG, "Redis is switched off; this command needs 'redis.url'");
        return NULL;
    }
    struct redis_session *session = xzalloc(sizeof(*session));
    session->loop = loop_new(err);
    session->redis = session->loop ? redis_new(session->loop, &conf, err) : NULL;
    if (session->redis && wait_up(session))
        return session;
    if (session->redis)
        err_set(err, ERR_UNAVAILABLE,
                "Redis cannot be reached; start it, or correct 'redis.url' (quern doctor says "
                "more)");
    redis_session_free(session);
    return NULL;
}

void redis_session_free(struct redis_session *session)
{
    if (!session)
        return;
    redis_free(session->redis);
    loop_free(session->loop);
    free(session);
}

static void answered(const struct redis_reply *reply, void *context)
{
    struct redis_session *session = context;
    session->back = true;
    if (!reply)
        err_set(&session->err, ERR_UNAVAILABLE, "Redis did not answer");
    else if (reply->kind == REDIS_FAILED)
        err_set(&session->err, ERR_INTERNAL, "Redis refused: " STR_FMT, STR_ARG(reply->text));
    else if (session->take)
        session->take(reply, session->context);
}

bool redis_session_ask(struct redis_session *session, const struct str *words, size_t count,
                       void (*take)(const struct redis_reply *reply, void *context), void *context,
                       struct err *err)
{
    session->take = take;
    session->context = context;
    session->back = false;
    session->err = (struct err){0};
    redis_ask(session->redis, words, count, answered, session);
    while (!session->back) /* the door has a time-out of its own */
        loop_turn(session->loop, TURN_MS);
    if (session->err.code)
        *err = session->err;
    return !session->err.code;
}

void redis_session_sleep(struct redis_session *session, int64_t ms)
{
    int64_t until_ms = loop_now_ms(session->loop) + ms;
    while (loop_now_ms(session->loop) < until_ms)
        loop_turn(session->loop, until_ms - loop_now_ms(session->loop));
}

int64_t redis_session_now_ms(const struct redis_session *session)
{
    return loop_now_ms(session->loop);
}
