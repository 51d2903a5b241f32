/*
 * redis_client.c -- the simulated body of common/io/redis.h.
 *
 * Commands of one client reach the server in their order. A server that goes down cuts every
 * connection: what is under way is a miss, whether or not it was done; 100 ms after it is back the
 * clients are, too.
 */
#include <stdlib.h>
#include <string.h>

#include "common/contract/redis_keys.h"
#include "tests/sim/redis_inside.h"

enum { SCRIPTS_MAX = 16, RECONNECT_US = 100000 };

struct redis {
    struct list_node node; /* in server->clients */
    struct sim_process *process;
    struct sim_redis *server;
    bool enabled, up, was_up;
    bool broken; /* its connection is, it finds out in a moment */
    void (*on_state)(bool up, const struct err *why, void *context);
    void *context;
    struct list ops, messages;
    int64_t last_us, timeout_us;
    size_t pending_max;
    const char *scripts[SCRIPTS_MAX];
    unsigned script_count;
    struct channel {
        char *name;
        void (*on_message)(struct str message, void *context);
        void *context;
    } channels[REDIS_CHANNELS_MAX];
    size_t channel_count;
    struct sim_event connect, breaks;
    struct redis_stats stats;
};

struct redis_op {
    struct sim_op op;
    struct redis *client;
    struct sim_redis *server;
    const char *script;
    size_t key_count;
    struct str *words;
    size_t count;
    redis_done *done;
    void *context;
    struct sim_answer answer;
};

struct message {
    struct channel *channel;
    struct list_node node;
    struct sim_event event;
    struct redis *client;
    struct str text;
};

static struct redis_reply reply_of(const struct sim_answer *answer)
{
    return (struct redis_reply){
        .kind = answer->kind,
        .text = str_from(answer->text, answer->len),
        .number = answer->number,
        .count = answer->count,
        .handle = answer,
    };
}

struct redis_reply redis_item(const struct redis_reply *list, size_t index)
{
    const struct sim_answer *answer = list->handle;
    must(index < answer->count);
    return reply_of(&answer->items[index]);
}

/* Keeps who got which claim. */
static void note_claim(struct sim_redis *redis, const char *process, const char *script,
                       struct str key, const struct sim_answer *answer)
{
    bool taken = script == lua_claim && answer->count > 0 &&
                 str_is(str_from(answer->items[0].text, answer->items[0].len), "claimed");
    bool stolen = script == lua_steal && answer->kind == REDIS_NUMBER && answer->number > 0;
    if (!taken && !stolen)
        return;
    if (redis->claimed_count == redis->claimed_cap) {
        redis->claimed_cap = redis->claimed_cap ? redis->claimed_cap * 2 : 64;
        redis->claimed = xrealloc(redis->claimed, redis->claimed_cap * sizeof(*redis->claimed));
    }
    redis->claimed[redis->claimed_count++] =
        (struct sim_claimed){process, xstrndup(key), redis->sim->now_us / 1000};
}

int64_t sim_claimed_ms(const struct sim *sim, const char *process, const char *key_part)
{
    const struct sim_redis *redis = sim->redis;
    for (size_t i = redis->claimed_count; i-- > 0;)
        if (strcmp(redis->claimed[i].process, process) == 0 &&
            strstr(redis->claimed[i].key, key_part))
            return redis->claimed[i].at_ms;
    return -1;
}

static void redis_arrive(struct sim_op *op)
{
    struct redis_op *ask = container_of(op, struct redis_op, op);
    if (ask->server->down || (!op->answered && ask->client->broken)) {
        op->lost = true;
        return;
    }
    if (op->way == SIM_WRONG) {
        sim_answer_fail(&ask->answer, "LOADING Redis is loading the dataset in memory");
        return;
    }
    if (!ask->script) {
        sim_redis_command(ask->server, ask->words, ask->count, &ask->answer);
        return;
    }
    sim_lua_run(ask->server, ask->script, ask->key_count, ask->words, ask->count, &ask->answer);
    note_claim(ask->server, op->process->name, ask->script, ask->words[0], &ask->answer);
}

static void redis_answer(struct sim_op *op)
{
    struct redis_op *ask = container_of(op, struct redis_op, op);
    struct redis_reply reply = reply_of(&ask->answer);
    op->lost |= op->way == SIM_LATE;
    ask->client->stats.misses += op->lost;
    if (ask->done)
        ask->done(op->lost ? NULL : &reply, ask->context);
}

static void redis_op_free(struct sim_op *op)
{
    struct redis_op *ask = container_of(op, struct redis_op, op);
    for (size_t i = 0; i < ask->count; i++)
        free((char *)(uintptr_t)ask->words[i].data);
    free(ask->words);
    sim_answer_done(&ask->answer);
    free(ask);
}

static void connected(void *context)
{
    struct redis *redis = context;
    redis->up = true;
    redis->stats.reconnects += redis->was_up;
    redis->was_up = true;
    if (redis->on_state)
        redis->on_state(true, NULL, redis->context);
}

static void cut(struct redis *redis)
{
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, "the server is down");
    sim_event_cancel(&redis->connect);
    if (!redis->up)
        return;
    redis->up = false;
    sim_wake(redis->process);
    if (redis->on_state)
        redis->on_state(false, &err, redis->context);
    for (struct list_node *node; (node = list_first(&redis->ops));)
        sim_op_lose(container_of(node, struct sim_op, client));
}

static void break_now(void *context)
{
    struct redis *redis = context;
    redis->broken = false;
    if (!redis->up)
        return;
    cut(redis);
    if (!redis->server->down)
        sim_event_set(redis->process->sim, &redis->connect, redis->process,
                      redis->process->sim->now_us + RECONNECT_US, connected, redis);
}

static void connection_breaks(struct sim_op *op)
{
    struct redis *redis = container_of(op, struct redis_op, op)->client;
    redis->broken = true;
    sim_event_set(op->sim, &redis->breaks, redis->process, op->sim->now_us, break_now, redis);
}

static void ask(struct redis *redis, const char *script, size_t key_count, const struct str *words,
                size_t count, redis_done *done, void *context)
{
    struct sim *sim = redis->process->sim;
    struct redis_op *op = xzalloc(sizeof(*op));
    op->client = redis;
    op->server = redis->server;
    op->script = script;
    op->key_count = key_count;
    op->words = xcalloc(count + 1, sizeof(*words));
    op->count = count;
    for (size_t i = 0; i < count; i++)
        op->words[i] = str_from(xstrndup(words[i].data ? words[i] : STR("")), words[i].len);
    op->done = done;
    op->context = context;
    op->op.arrive = redis_arrive;
    op->op.answer = redis_answer;
    op->op.free = redis_op_free;
    op->op.door = SIM_REDIS;
    op->op.way = sim_door(redis->process, SIM_REDIS, op->words[count > 1 && !script].data);
    op->op.give_up_us = sim->now_us + redis->timeout_us;
    op->op.cut = connection_breaks;
    redis->stats.commands++;

    int64_t there = -1, back = sim->now_us; /* down: a miss at the next turn */
    if (redis->up && redis->ops.count < redis->pending_max) {
        there = sim->now_us + sim_latency_us(sim, redis->server->latency_us);
        there = there < redis->last_us ? redis->last_us : there;
        redis->last_us = there;
        back = there + redis->server->latency_us / 2;
        if (back > sim->now_us + redis->timeout_us)
            back = sim->now_us + redis->timeout_us;
    }
    sim_op_start(sim, redis->process, &redis->ops, &op->op, there, back);
}

void redis_ask(struct redis *redis, const struct str *words, size_t count, redis_done *done,
               void *context)
{
    ask(redis, NULL, 0, words, count, done, context);
}

unsigned redis_script_add(struct redis *redis, const struct redis_script *script)
{
    must(redis->script_count < SCRIPTS_MAX);
    redis->scripts[redis->script_count] = script->lua;
    return redis->script_count++;
}

void redis_script_ask(struct redis *redis, unsigned script, size_t key_count,
                      const struct str *words, size_t count, redis_done *done, void *context)
{
    must(script < redis->script_count && key_count <= count);
    ask(redis, redis->scripts[script], key_count, words, count, done, context);
}

/* Channels */

static void message_free(struct message *message)
{
    list_remove(&message->client->messages, &message->node);
    sim_event_cancel(&message->event);
    free((char *)(uintptr_t)message->text.data);
    free(message);
}

static void message_come(void *context)
{
    struct message *message = context;
    struct redis *redis = message->client;
    if (redis->up)
        message->channel->on_message(message->text, message->channel->context);
    message_free(message);
}

static void message_send(struct redis *redis, struct channel *channel, struct str text)
{
    struct sim_redis *server = redis->server;
    struct message *message = xzalloc(sizeof(*message));
    message->client = redis;
    message->channel = channel;
    message->text = str_from(xstrndup(text), text.len);
    list_append(&redis->messages, &message->node);
    sim_event_set(server->sim, &message->event, redis->process,
                  server->sim->now_us + sim_latency_us(server->sim, server->latency_us),
                  message_come, message);
}

size_t sim_redis_publish(struct sim_redis *server, struct str channel, struct str text)
{
    size_t heard = 0;
    LIST_EACH(&server->clients, node)
    {
        struct redis *redis = container_of(node, struct redis, node);
        for (size_t i = 0; !server->deaf && redis->up && i < redis->channel_count; i++) {
            if (!str_is(channel, redis->channels[i].name))
                continue;
            message_send(redis, &redis->channels[i], text);
            heard++;
        }
    }
    return heard;
}

void redis_subscribe(struct redis *redis, struct str channel,
                     void (*on_message)(struct str message, void *context), void *context)
{
    must(redis->channel_count < REDIS_CHANNELS_MAX);
    redis->channels[redis->channel_count++] =
        (struct channel){xstrndup(channel), on_message, context};
}

/* Up and down */

void sim_redis_down(struct sim *sim, bool down)
{
    if (sim->redis->down == down)
        return;
    sim->redis->down = down;
    LIST_EACH(&sim->redis->clients, node)
    {
        struct redis *redis = container_of(node, struct redis, node);
        if (!redis->enabled)
            continue;
        if (down)
            cut(redis);
        else
            sim_event_set(sim, &redis->connect, redis->process, sim->now_us + RECONNECT_US,
                          connected, redis);
    }
}

struct redis *redis_new(struct loop *loop, const struct redis_conf *conf, struct err *err)
{
    (void)err;
    struct redis *redis = xzalloc(sizeof(*redis));
    redis->process = loop_process(loop);
    redis->server = redis->process->sim->redis;
    redis->enabled = conf->url.data != NULL;
    redis->on_state = conf->on_state;
    redis->context = conf->context;
    redis->timeout_us = 1000 * (conf->command_timeout_ms ? conf->command_timeout_ms : 500);
    redis->pending_max = conf->pending_max ? conf->pending_max : 65536;
    list_init(&redis->ops);
    list_init(&redis->messages);
    list_append(&redis->server->clients, &redis->node);
    if (redis->enabled && !redis->server->down)
        sim_event_set(redis->process->sim, &redis->connect, redis->process,
                      redis->process->sim->now_us + redis->server->connect_us, connected, redis);
    return redis;
}

void redis_free(struct redis *redis)
{
    if (!redis)
        return;
    list_remove(&redis->server->clients, &redis->node);
    sim_event_cancel(&redis->connect);
    sim_event_cancel(&redis->breaks);
    LIST_EACH(&redis->messages, node)
    message_free(container_of(node, struct message, node));
    sim_ops_abandon(&redis->ops);
    for (size_t i = 0; i < redis->channel_count; i++)
        free(redis->channels[i].name);
    free(redis);
}

bool redis_enabled(const struct redis *redis)
{
    return redis->enabled;
}

bool redis_up(const struct redis *redis)
{
    return redis->up;
}

void redis_stats(const struct redis *redis, struct redis_stats *ret)
{
    *ret = redis->stats;
    ret->pending = redis->ops.count;
}
