/*
 * limits.c -- see limit.h: all limits of a worker, made when somebody asks for them, and forgotten
 * when nobody has for a while.
 */
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/contract/redis_keys.h"
#include "worker/call/limit_inside.h"

static const struct redis_script script = {.name = "limit", .lua = lua_limit};

enum {
    IDLE_MAX = 4096, /* limits that nobody holds */
    IDLE_MS = 120000 /* then they are forgotten */
};

struct limits *limits_new(const struct limits_conf *conf)
{
    struct limits *limits = xzalloc(sizeof(*limits));
    struct buf channel;
    limits->conf = *conf;
    limits->script = redis_script_add(conf->redis, &script);
    limits->key_prefix = xstrndup(conf->key_prefix);
    map_init(&limits->by_id);
    list_init(&limits->idle);
    buf_init(&channel, 4096);
    buf_printf(&channel, STR_FMT "notify-limits", STR_ARG(conf->key_prefix));
    limits->channel = xstrndup(buf_str(&channel));
    buf_done(&channel);
    return limits;
}

static void limit_free(struct limit *limit)
{
    timer_cancel(limit->limits->conf.loop, &limit->timer);
    list_remove(&limit->limits->idle, &limit->idle_node);
    map_remove(&limit->limits->by_id, &limit->map_node);
    free(limit->id);
    free(limit->label);
    free(limit->owner);
    free(limit);
}

void limits_free(struct limits *limits)
{
    if (!limits)
        return;
    for (struct map_node *node; (node = map_any(&limits->by_id));)
        limit_free(container_of(node, struct limit, map_node));
    map_done(&limits->by_id);
    free(limits->key_prefix);
    free(limits->channel);
    free(limits);
}

size_t limits_count(const struct limits *limits)
{
    return limits->by_id.count;
}

static void wake_all(struct map_node *node, void *context)
{
    struct limit *limit = container_of(node, struct limit, map_node);
    (void)context;
    for (struct list_node *first; (first = list_first(&limit->waiting));) {
        struct limit_place *place = container_of(first, struct limit_place, node);
        limit_dequeue(limit, place);
        walk_wake(place->walk);
    }
}

void limits_wake_all(struct limits *limits)
{
    map_each(&limits->by_id, wake_all, NULL);
}

static struct limit *find(const struct limits *limits, struct str id)
{
    struct map_node *node = map_find(&limits->by_id, id);
    return node ? container_of(node, struct limit, map_node) : NULL;
}

static bool is_busy(const struct limit *limit)
{
    return !list_empty(&limit->waiting) || limit_now_ms(limit) < limit->held_until_ms;
}

bool limits_busy(const struct limits *limits, struct str id)
{
    const struct limit *limit = find(limits, id);
    return limit && is_busy(limit);
}

struct limit *limits_short(const struct limits *limits, struct str id)
{
    struct limit *limit = find(limits, id);
    if (!limit || (!is_busy(limit) && lease_may(&limit->lease, 1, limit_now_ms(limit))))
        return NULL;
    return limit;
}

/* Redis has forgotten what the fleet has spent of a limit, or was away. */
static void somebody_asks(struct str message, void *context)
{
    struct limit *limit = find(context, message);
    if (limit)
        limit_retell(limit);
}

static struct limit *limit_new(struct limits *limits, struct str id, struct str label,
                               const struct lease_rule *rule, const struct limit_budget *budget)
{
    if (!limits->subscribed) /* who has no limit needs no connection for them */
        redis_subscribe(limits->conf.redis, str_of(limits->channel), somebody_asks, limits);
    limits->subscribed = true;
    struct limit *limit = xzalloc(sizeof(*limit));
    limit->limits = limits;
    limit->id = xstrndup(id);
    limit->label = xstrndup(label);
    if (budget) {
        limit->budget = *budget;
        limit->owner = xstrndup(budget->owner);
        limit->budget.owner = str_of(limit->owner);
    }
    lease_init(&limit->lease, rule);
    if (redis_enabled(limits->conf.redis)) /* others are there, and nobody has told us how many */
        limit->lease.members = LEASE_MEMBERS_UNKNOWN;
    list_init(&limit->waiting);
    map_add(&limits->by_id, &limit->map_node, str_of(limit->id));
    return limit;
}

struct limit *limit_keep(struct limit *limit)
{
    list_remove(&limit->limits->idle, &limit->idle_node);
    limit->holders++;
    return limit;
}

struct limit *limit_hold(struct limits *limits, struct str id, struct str label,
                         const struct lease_rule *rule, const struct limit_budget *budget)
{
    struct limit *limit = find(limits, id);
    if (!limit)
        limit = limit_new(limits, id, label, rule, budget);
    limit->lease.rule = *rule;
    return limit_keep(limit);
}

/* The longest unused, as far as nothing is lost with them. */
static void forget_some(struct limits *limits)
{
    int64_t now_ms = loop_now_ms(limits->conf.loop);
    for (int looks = 0; looks < 4 && limits->idle.count; looks++) {
        struct limit *limit = container_of(list_first(&limits->idle), struct limit, idle_node);
        if (limits->idle.count <= IDLE_MAX && now_ms - limit->idle_since_ms < IDLE_MS)
            return;
        if (!lease_is_idle(&limit->lease, now_ms) || limit->seeding) {
            list_remove(&limits->idle, &limit->idle_node); /* its turn comes again */
            list_append(&limits->idle, &limit->idle_node);
        } else {
            limit_free(limit);
        }
    }
}

void limit_release(struct limit *limit)
{
    if (!limit)
        return;
    must(limit->holders > 0);
    if (--limit->holders)
        return;
    limit->idle_since_ms = limit_now_ms(limit);
    list_append(&limit->limits->idle, &limit->idle_node);
    forget_some(limit->limits);
}
