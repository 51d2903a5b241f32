/*
 * limit.c -- see limit.h. The script is schemas/lua/limit.lua.
 */
#include "worker/call/limit.h"

#include <stdlib.h>

#include "common/app/metrics.h"
#include "common/base/arena.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/contract/redis_keys.h"
#include "worker/call/estimate.h"

static const struct redis_script script = {.name = "limit", .lua = lua_limit};

enum { RETURN_BEFORE_MS = 50, WORDS_MAX = 14 + 3 * LEASE_SECONDS, QUESTION_BYTES = 16384 };

struct limits {
    struct loop *loop;
    struct redis *redis;
    unsigned script, round;
    char *key_prefix, *channel; /* copies: a reload frees the configuration */
    struct str instance;
    struct list all;
};

struct limit {
    struct list_node node;
    struct limits *limits;
    char *id, *name;
    unsigned round; /* the configuration its numbers are of */
    struct lease lease;
    struct estimate estimate;
    struct list waiting;
    int64_t woken, woken_tokens; /* their turn has come, and they have not asked yet */
    int64_t held_until_ms;       /* by the provider's word */
    struct timer timer;
};

static void somebody_asks(struct str message, void *context);

struct limits *limits_new(struct loop *loop, struct redis *redis, struct str key_prefix,
                          struct str instance)
{
    struct limits *limits = xzalloc(sizeof(*limits));
    struct buf channel;
    *limits = (struct limits){.loop = loop,
                              .redis = redis,
                              .script = redis_script_add(redis, &script),
                              .key_prefix = xstrndup(key_prefix),
                              .instance = instance};
    list_init(&limits->all);
    buf_init(&channel, 4096);
    buf_printf(&channel, STR_FMT "notify-limits", STR_ARG(key_prefix));
    limits->channel = xstrndup(buf_str(&channel));
    buf_done(&channel);
    return limits;
}

void limits_free(struct limits *limits)
{
    if (!limits)
        return;
    for (struct list_node *node; (node = list_pop(&limits->all));) {
        struct limit *limit = container_of(node, struct limit, node);
        timer_cancel(limits->loop, &limit->timer);
        free(limit->id);
        free(limit->name);
        free(limit);
    }
    free(limits->key_prefix);
    free(limits->channel);
    free(limits);
}

void limits_begin(struct limits *limits)
{
    limits->round++;
}

static struct limit *find(const struct limits *limits, struct str id)
{
    LIST_EACH(&((struct limits *)(uintptr_t)limits)->all, node)
    {
        struct limit *limit = container_of(node, struct limit, node);
        if (str_is(id, limit->id))
            return limit;
    }
    return NULL;
}

static struct limit *limit_new(struct limits *limits, struct str id, struct str name)
{
    if (list_empty(&limits->all)) /* who has no limit needs no connection for them */
        redis_subscribe(limits->redis, str_of(limits->channel), somebody_asks, limits);
    struct limit *limit = xzalloc(sizeof(*limit));
    const struct lease_rule rule = {.window_ms = LIMIT_WINDOW_MS};
    limit->limits = limits;
    limit->id = xstrndup(id);
    limit->name = xstrndup(name);
    lease_init(&limit->lease, &rule);
    if (redis_enabled(limits->redis)) /* others are there, and nobody has told us how many */
        limit->lease.members = LEASE_MEMBERS_UNKNOWN;
    list_init(&limit->waiting);
    list_append(&limits->all, &limit->node);
    return limit;
}

static int64_t lower(int64_t a, int64_t b)
{
    return !a ? b : !b ? a : a < b ? a : b;
}

struct limit *limit_of(struct limits *limits, struct str id, struct str name, int64_t requests,
                       int64_t tokens)
{
    if (!requests && !tokens)
        return NULL;
    struct limit *limit = find(limits, id);
    if (!limit)
        limit = limit_new(limits, id, name);
    struct lease_rule *rule = &limit->lease.rule;
    bool again = limit->round == limits->round;
    rule->requests = again ? lower(rule->requests, requests) : requests;
    rule->tokens = again ? lower(rule->tokens, tokens) : tokens;
    limit->round = limits->round;
    return limit;
}

static int64_t now_of(const struct limit *limit)
{
    return loop_now_ms(limit->limits->loop);
}

/* ---- questions ---- */

static void schedule(struct limit *limit);

/* Answers that came meanwhile have taught us better. */
static void estimate(const struct limit *limit, struct limit_place *place)
{
    place->tokens = estimate_tokens(&limit->estimate, place->bytes, place->output_max);
}

/* As many as the share is enough for, in their order. */
static void wake_some(struct limit *limit)
{
    int64_t now_ms = now_of(limit);
    const struct lease *lease = &limit->lease;
    for (struct list_node *node; (node = list_first(&limit->waiting));) {
        struct limit_place *place = container_of(node, struct limit_place, node);
        int64_t requests = lease->left_requests - limit->woken;
        estimate(limit, place);
        if (now_ms < limit->held_until_ms || (lease->rule.requests && requests < 1) ||
            !lease_may(lease, place->tokens + limit->woken_tokens, now_ms))
            break;
        list_remove(&limit->waiting, node);
        place->queued = false;
        place->woken = true;
        limit->woken++;
        limit->woken_tokens += place->tokens;
        walk_wake(place->walk);
    }
    metric_set_for(METRIC_limit_waiting, str_of(limit->name), (int64_t)limit->waiting.count);
    schedule(limit);
}

static int64_t number(const struct redis_reply *reply, size_t at)
{
    struct redis_reply item = redis_item(reply, at);
    return item.kind == REDIS_NUMBER ? item.number : 0;
}

static void told(const struct redis_reply *reply, void *context)
{
    struct limit *limit = context;
    if (reply && reply->kind == REDIS_LIST && reply->count == 6) {
        const struct lease_answer answer = {(uint64_t)number(reply, 0), number(reply, 1),
                                            number(reply, 2),           number(reply, 3),
                                            number(reply, 4),           number(reply, 5) != 0};
        lease_answered(&limit->lease, &answer);
    } else { /* one lost answer is not yet an outage */
        lease_unanswered(&limit->lease, !redis_up(limit->limits->redis), now_of(limit));
    }
    wake_some(limit);
}

static struct str decimal(struct arena *arena, int64_t n)
{
    return arena_printf(arena, "%lld", (long long)n);
}

static void send_question(struct limit *limit, const struct lease_question *q)
{
    const struct limits *desk = limit->limits;
    struct str words[WORDS_MAX];
    struct arena arena;
    size_t n = 0;
    arena_init(&arena, NULL, QUESTION_BYTES);
    words[n++] = redis_key_limit(&arena, str_of(desk->key_prefix), str_of(limit->id));
    words[n++] = desk->instance;
    const int64_t numbers[] = {(int64_t)q->generation,
                               limit->lease.rule.requests,
                               limit->lease.rule.tokens,
                               LIMIT_WINDOW_MS + LEASE_GUARD_MS,
                               LEASE_MS,
                               q->left_requests,
                               q->left_tokens,
                               q->want_requests,
                               q->want_tokens,
                               q->was_away};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        words[n++] = decimal(&arena, numbers[i]);
    words[n++] = str_of(desk->channel);
    words[n++] = str_of(limit->id);
    for (size_t i = 0; i < q->spend_count; i++) {
        const struct lease_spend *spend = &q->spends[i];
        words[n++] = decimal(&arena, now_of(limit) - spend->at_ms);
        words[n++] = decimal(&arena, spend->requests);
        words[n++] = decimal(&arena, spend->tokens);
    }
    metric_add_for(METRIC_limit_questions_total, str_of(limit->name), 1);
    redis_script_ask(desk->redis, desk->script, 1, words, n, told, limit);
    arena_done(&arena);
}

/* What waits, and as much again as was spent since the last question: so much may come. Nobody
 * waits: what is left goes back. */
static void ask(struct limit *limit)
{
    struct lease_question question;
    int64_t requests = 0, tokens = 0;
    LIST_EACH(&limit->waiting, node)
    {
        struct limit_place *place = container_of(node, struct limit_place, node);
        estimate(limit, place);
        requests++;
        tokens += place->tokens;
    }
    if (requests) {
        requests += limit->lease.spent;
        tokens += limit->lease.spent_tokens;
    }
    lease_ask(&limit->lease, requests, tokens, now_of(limit), &question);
    if (redis_up(limit->limits->redis))
        send_question(limit, &question);
    else
        lease_unanswered(&limit->lease, true, now_of(limit));
}

static void on_timer(void *context)
{
    struct limit *limit = context;
    int64_t now_ms = now_of(limit);
    bool wanted = !list_empty(&limit->waiting) || lease_should_return(&limit->lease, now_ms);
    if (!limit->lease.asking && wanted && now_ms >= lease_ask_ms(&limit->lease))
        ask(limit);
    wake_some(limit);
}

static void schedule(struct limit *limit)
{
    int64_t now_ms = now_of(limit), at_ms = lease_ask_ms(&limit->lease);
    if (limit->lease.asking)
        return; /* the answer goes on */
    if (list_empty(&limit->waiting)) {
        if (!lease_should_return(&limit->lease, now_ms))
            return;
        if (!limit->lease.asks_now && at_ms < limit->lease.until_ms - RETURN_BEFORE_MS)
            at_ms = limit->lease.until_ms - RETURN_BEFORE_MS;
    }
    if (at_ms < limit->held_until_ms)
        at_ms = limit->held_until_ms;
    timer_set(limit->limits->loop, &limit->timer, at_ms > now_ms ? at_ms : now_ms, on_timer, limit);
}

/* Redis has forgotten what the fleet has spent of a limit, or was away. */
static void somebody_asks(struct str message, void *context)
{
    struct limit *limit = find(context, message);
    if (!limit)
        return;
    lease_retell(&limit->lease);
    schedule(limit);
}

/* ---- slots ---- */

static void forget_turn(struct limit *limit, struct limit_place *place)
{
    if (!place->woken)
        return;
    place->woken = false;
    limit->woken--;
    limit->woken_tokens -= place->tokens;
}

bool limit_may(struct limit *limit, struct limit_place *place)
{
    int64_t now_ms = now_of(limit);
    if (now_ms < limit->held_until_ms)
        return false;
    if (place->woken)
        return lease_may(&limit->lease, place->tokens, now_ms);
    estimate(limit, place);
    return list_empty(&limit->waiting) && !limit->woken &&
           lease_may(&limit->lease, place->tokens, now_ms);
}

bool limit_busy(const struct limit *limit)
{
    return !list_empty(&limit->waiting) || now_of(limit) < limit->held_until_ms;
}

void limit_wait(struct limit *limit, struct limit_place *place, struct walk *walk)
{
    place->walk = walk;
    if (place->woken)
        list_prepend(&limit->waiting, &place->node);
    else
        turn_line_up(&limit->waiting, &place->node,
                     offsetof(struct limit_place, turn) - offsetof(struct limit_place, node));
    forget_turn(limit, place);
    place->queued = true;
    metric_add_for(METRIC_limit_waits_total, str_of(limit->name), 1);
    metric_set_for(METRIC_limit_waiting, str_of(limit->name), (int64_t)limit->waiting.count);
    schedule(limit);
}

void limit_leave(struct limit *limit, struct limit_place *place)
{
    bool had_turn = place->woken;
    if (place->queued)
        list_remove(&limit->waiting, &place->node);
    place->queued = false;
    forget_turn(limit, place);
    if (had_turn) /* it is the next one's */
        wake_some(limit);
}

void limit_take(struct limit *limit, struct limit_place *place)
{
    forget_turn(limit, place);
    place->taken = true;
    place->taken_ms = now_of(limit);
    lease_take(&limit->lease, place->tokens, place->taken_ms);
    schedule(limit);
}

void limit_settle(struct limit *limit, struct limit_place *place, int64_t input, int64_t output,
                  bool is_free)
{
    if (!place->taken)
        return;
    place->taken = false;
    if (is_free || input + output > 0)
        lease_settle(&limit->lease, place->taken_ms, input + output - place->tokens);
    estimate_learn(&limit->estimate, place->bytes, input, output);
}

void limit_refused(struct limit *limit, int64_t pause_ms)
{
    int64_t until_ms = now_of(limit) + pause_ms;
    if (until_ms > limit->held_until_ms)
        limit->held_until_ms = until_ms;
    schedule(limit);
}
