/*
 * redis_inside.h -- the simulated Redis: a server with keys, Lua and channels (redis_server.c,
 * redis_lua.c), and the door (redis_client.c).
 */
#ifndef QUERN_TESTS_SIM_REDIS_INSIDE_H
#define QUERN_TESTS_SIM_REDIS_INSIDE_H

#include "tests/sim/inside.h"

struct lua_State;

/* An answer of the server; `items` of a list. */
struct sim_answer {
    enum redis_kind kind;
    bool status; /* a simple string: "OK" */
    char *text;
    size_t len;
    int64_t number;
    struct sim_answer *items;
    size_t count;
};
void sim_answer_done(struct sim_answer *answer);
void sim_answer_text(struct sim_answer *answer, struct str text);
void sim_answer_fail(struct sim_answer *answer, const char *text);

struct sim_redis {
    struct sim *sim;
    struct map keys;
    struct list clients;
    struct lua_State *lua;
    int64_t latency_us, connect_us;
    bool down, deaf;
    struct sim_claimed *claimed; /* in the order of their moments */
    size_t claimed_count, claimed_cap;
};

/* A process got the claim on a slot. */
struct sim_claimed {
    const char *process;
    char *key;
    int64_t at_ms;
};

/* redis_server.c */
void sim_redis_command(struct sim_redis *redis, const struct str *words, size_t count,
                       struct sim_answer *ret);

/* redis_lua.c */
void sim_lua_open(struct sim_redis *redis);
void sim_lua_close(struct sim_redis *redis);
void sim_lua_run(struct sim_redis *redis, const char *script, size_t key_count,
                 const struct str *words, size_t count, struct sim_answer *ret);

/* redis_client.c: the message goes to whoever listens; how many they are. */
size_t sim_redis_publish(struct sim_redis *redis, struct str channel, struct str message);

#endif
