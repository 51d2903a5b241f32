/*
 * redis_channel.c -- SUBSCRIBE is the greeting; after it only messages and pongs arrive.
 */
#include "common/io/redis_channel.h"

#include <hiredis/hiredis.h>

#include "common/base/xalloc.h"
#include "common/io/redis_resp.h"

#define PING_EVERY_MS 5000
#define SILENT_MS_MAX 12000 /* two pings unanswered */

struct redis_channel {
    struct redis_link link;
    struct loop *loop;
    char *name;
    struct timer ping;
    void (*on_message)(struct str message, void *context);
    void *context;
};

static void ping(void *context)
{
    struct redis_channel *channel = context;
    int64_t now_ms = loop_now_ms(channel->loop);
    if (now_ms - channel->link.heard_ms > SILENT_MS_MAX) {
        struct err why;
        err_set(&why, ERR_UNAVAILABLE, "redis: the subscription is silent");
        redis_link_break(&channel->link, &why);
        return;
    }
    redis_resp_command(redis_link_out(&channel->link), (struct str[]){STR("PING")}, 1);
    timer_set(channel->loop, &channel->ping, now_ms + PING_EVERY_MS, ping, channel);
}

static void opened(void *context)
{
    struct redis_channel *channel = context;
    redis_resp_command(redis_link_out(&channel->link),
                       (struct str[]){STR("SUBSCRIBE"), str_of(channel->name)}, 2);
}

static void closed(const struct err *why, void *context)
{
    (void)why; /* the connection for commands tells the same story */
    struct redis_channel *channel = context;
    timer_cancel(channel->loop, &channel->ping);
}

static bool is_word(const redisReply *reply, const char *word)
{
    return reply->type == REDIS_REPLY_STRING && str_is(str_from(reply->str, reply->len), word);
}

static void reply(const struct redisReply *reply, void *context)
{
    struct redis_channel *channel = context;
    if (reply->type == REDIS_REPLY_ERROR) {
        struct err why;
        err_set(&why, ERR_UNAVAILABLE, "redis: subscription refused: %.200s", reply->str);
        redis_link_break(&channel->link, &why);
        return;
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2)
        return;
    const redisReply *last = reply->element[reply->elements - 1];
    if (reply->elements == 3 && is_word(reply->element[0], "message") &&
        last->type == REDIS_REPLY_STRING) {
        channel->on_message(str_from(last->str, last->len), channel->context);
    } else if (is_word(reply->element[0], "subscribe") &&
               channel->link.state == REDIS_LINK_GREETING) {
        redis_link_greeted(&channel->link);
        timer_set(channel->loop, &channel->ping, loop_now_ms(channel->loop) + PING_EVERY_MS, ping,
                  channel);
    }
}

static const struct redis_link_calls calls = {.opened = opened, .reply = reply, .closed = closed};

struct redis_channel *redis_channel_new(struct loop *loop, const struct redis_url *url,
                                        int64_t connect_timeout_ms, struct str name,
                                        void (*on_message)(struct str message, void *context),
                                        void *context)
{
    struct redis_channel *channel = xzalloc(sizeof(*channel));
    channel->loop = loop;
    channel->name = xstrndup(name);
    channel->on_message = on_message;
    channel->context = context;
    redis_link_init(&channel->link, loop, url, connect_timeout_ms, &calls, channel);
    return channel;
}

void redis_channel_free(struct redis_channel *channel)
{
    if (!channel)
        return;
    timer_cancel(channel->loop, &channel->ping);
    redis_link_done(&channel->link);
    free(channel->name);
    free(channel);
}
