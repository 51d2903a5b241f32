/*
 * fleet.c -- see fleet.h.
 */
#include "worker/fleet.h"

#include <stdlib.h>

#include "common/app/metrics.h"
#include "common/base/xalloc.h"
#include "common/contract/redis_keys.h"

enum { SAY_MS = 2000, LIFE_MS = 6000, MEMBERS_MAX = 100000 };

static const struct redis_script script_members = {.name = "members", .lua = lua_members};

struct fleet {
    struct worker *worker;
    unsigned script;
    struct timer timer;
};

static void told(const struct redis_reply *reply, void *context)
{
    struct fleet *fleet = context;
    if (!reply || reply->kind != REDIS_NUMBER || reply->number < 1 || reply->number > MEMBERS_MAX)
        return;
    metric_set(METRIC_workers, reply->number);
    model_table_members(fleet->worker->models, (unsigned)reply->number);
}

static void say(struct fleet *fleet, int64_t life_ms, redis_done *done)
{
    struct worker *worker = fleet->worker;
    struct arena arena;
    arena_init(&arena, worker->pool, 4096);
    const struct str words[] = {
        redis_key_members(&arena, worker->conf->shared.redis_key_prefix, worker->conf->group),
        str_of(worker->instance), arena_i64(&arena, life_ms)};
    redis_script_ask(worker->redis, fleet->script, 1, words, 3, done, fleet);
    arena_done(&arena);
}

static void say_again(void *context)
{
    struct fleet *fleet = context;
    struct loop *loop = fleet->worker->loop;
    say(fleet, LIFE_MS, told);
    timer_set(loop, &fleet->timer, loop_now_ms(loop) + SAY_MS, say_again, fleet);
}

struct fleet *fleet_new(struct worker *worker)
{
    struct fleet *fleet = xzalloc(sizeof(*fleet));
    fleet->worker = worker;
    fleet->script = redis_script_add(worker->redis, &script_members);
    if (redis_enabled(worker->redis))
        timer_set(worker->loop, &fleet->timer, loop_now_ms(worker->loop), say_again, fleet);
    return fleet;
}

void fleet_leave(struct fleet *fleet)
{
    if (!fleet)
        return;
    timer_cancel(fleet->worker->loop, &fleet->timer);
    if (redis_enabled(fleet->worker->redis))
        say(fleet, 0, NULL);
}

void fleet_free(struct fleet *fleet)
{
    free(fleet);
}
