/*
 * limit.c -- see limit.h: one limit, its questions to Redis and who waits for it. The script is
 * schemas/lua/limit.lua; all limits of a worker: limits.c.
 */
#include "worker/call/limit_inside.h"

#include "common/app/metrics.h"
#include "common/base/arena.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/contract/redis_keys.h"
#include "worker/call/limit_script.h"
#include "worker/call/place.h"

enum {
    RETURN_BEFORE_MS = 50,
    SHORT_MS = 3000,      /* shares that others hold of a budget are back by then */
    USED_UP_MS = 5000,    /* then somebody asks again whether it still is */
    MISSING_MIN = 8,      /* then others use the key */
    SEED_AGAIN_MS = 1000, /* the store did not answer */
    PAUSE_MS_MAX = 60000  /* that a provider can make the fleet rest */
};

int64_t limit_now_ms(const struct limit *limit)
{
    return loop_now_ms(limit->limits->conf.loop);
}

size_t limit_waiting(const struct limit *limit)
{
    return limit->waiting.count + (size_t)limit->woken;
}

size_t limit_per_second(const struct limit *limit, int64_t amount)
{
    const struct lease_rule *rule = &limit->lease.rule;
    int64_t seconds = LIMIT_WINDOW_MS / 1000, most = INT64_MAX;
    if (rule->requests)
        most = rule->requests / seconds;
    if (rule->tokens && rule->tokens / seconds / (amount > 0 ? amount : 1) < most)
        most = rule->tokens / seconds / (amount > 0 ? amount : 1);
    return rule->calendar ? 0 : (size_t)most;
}

size_t limit_at_hand(const struct limit *limit, int64_t amount)
{
    const struct lease *lease = &limit->lease;
    int64_t now_ms = limit_now_ms(limit), most = INT64_MAX;
    if (now_ms < limit->held_until_ms || !list_empty(&limit->waiting) ||
        !lease_may(lease, amount + limit->woken_tokens, now_ms))
        return 0;
    if (lease->rule.requests)
        most = lease->left_requests - limit->woken;
    if (lease->rule.tokens && lease->left_tokens / (amount > 0 ? amount : 1) < most)
        most = lease->left_tokens / (amount > 0 ? amount : 1);
    return most > 0 ? (size_t)most : 0;
}

struct str limit_name(const struct limit *limit)
{
    return str_of(limit->id);
}

bool limit_is_money(const struct limit *limit)
{
    return limit->lease.rule.calendar;
}

const struct limit_budget *limit_budget(const struct limit *limit)
{
    return &limit->budget;
}

/* ---- questions ---- */

static void schedule(struct limit *limit);

static void let_go(struct limit *limit, struct limit_place *place, bool has_turn)
{
    limit_dequeue(limit, place);
    if (has_turn) {
        place->turn_at = limit;
        place->turn_amount = place_amount(place, limit);
        limit->woken++;
        limit->woken_tokens += place->turn_amount;
    }
    walk_wake(place->walk);
}

/* As many as the share is enough for, in their order; all of them when nobody need wait. */
static void wake_some(struct limit *limit)
{
    int64_t now_ms = limit_now_ms(limit);
    const struct lease *lease = &limit->lease;
    bool refuses = limit_refuses(limit);
    for (struct list_node *node; (node = list_first(&limit->waiting));) {
        struct limit_place *place = container_of(node, struct limit_place, node);
        int64_t requests = lease->left_requests - limit->woken;
        place_estimate(place);
        if (!refuses &&
            (now_ms < limit->held_until_ms || (lease->rule.requests && requests < 1) ||
             !lease_may(lease, place_amount(place, limit) + limit->woken_tokens, now_ms)))
            break;
        let_go(limit, place, !refuses);
    }
    schedule(limit);
}

static void ask_store(struct limit *limit)
{
    if (limit->seeding)
        return;
    limit->seeding = true;
    limit->holders++; /* it stays until the answer is there */
    list_remove(&limit->limits->idle, &limit->idle_node);
    limit->limits->conf.unseeded(limit, &limit->budget, limit->limits->conf.context);
}

void limit_seeded(struct limit *limit, int64_t spent)
{
    must(limit->seeding);
    limit->seeding = false;
    if (spent < 0)
        limit->lease.next_ms = limit_now_ms(limit) + SEED_AGAIN_MS;
    else if (redis_up(limit->limits->conf.redis))
        lease_seed(&limit->lease, spent);
    else
        lease_lend_of_budget(&limit->lease, spent, limit_now_ms(limit));
    wake_some(limit);
    limit_release(limit);
}

/* Nobody has what the first one needs: shares of others may come back, then it is used up. */
static void look_whether_used_up(struct limit *limit)
{
    const struct lease *lease = &limit->lease;
    const struct list_node *first = list_first(&limit->waiting);
    if (!first)
        return;
    int64_t now_ms = limit_now_ms(limit);
    int64_t need = place_amount(container_of(first, struct limit_place, node), limit);
    if (PLANTED(58))
        limit->used_up_until_ms = now_ms + USED_UP_MS;
    else if (need <= lease->left_tokens + lease->free_tokens) {
        limit->short_since_ms = limit->used_up_until_ms = 0;
        return;
    }
    if (!limit->short_since_ms)
        limit->short_since_ms = now_ms;
    if (limit->used_up_until_ms || now_ms - limit->short_since_ms >= SHORT_MS)
        limit->used_up_until_ms = now_ms + USED_UP_MS;
}

/* What the provider said last, against what is free in the window by now: all that the fleet has
 * spent until then is counted there. Between the two a burst may have left the window, so it takes
 * several in a row. */
static void look_for_others(struct limit *limit, int64_t before_ms)
{
    const struct lease *lease = &limit->lease;
    if (!limit->told_ms || limit->told_ms < before_ms)
        return; /* it has said nothing since */
    int64_t requests =
        lease->rule.requests ? told_missing(&limit->told.requests, lease->free_requests) : 0;
    int64_t tokens = lease->rule.tokens ? told_missing(&limit->told.tokens, lease->free_tokens) : 0;
    limit->missing = requests || tokens ? limit->missing + 1 : 0;
    if (limit->missing >= MISSING_MIN)
        lease_others_spent(&limit->lease, requests, tokens, limit_now_ms(limit));
}

static void told(const struct redis_reply *reply, void *context)
{
    struct limit *limit = context;
    int64_t numbers[LIMIT_SCRIPT_NUMBERS];
    struct lease_answer answer;
    if (reply && reply->kind == REDIS_LIST && reply->count == LIMIT_SCRIPT_NUMBERS) {
        for (size_t i = 0; i < LIMIT_SCRIPT_NUMBERS; i++) {
            struct redis_reply item = redis_item(reply, i);
            numbers[i] = item.kind == REDIS_NUMBER ? item.number : 0;
        }
        limit_script_answer(numbers, &answer);
        lease_answered(&limit->lease, &answer);
        if (answer.unseeded)
            ask_store(limit);
        else if (limit_is_money(limit) && !answer.forgot)
            look_whether_used_up(limit);
        else
            look_for_others(limit, limit->answered_ms);
        limit->answered_ms = limit_now_ms(limit);
    } else { /* one lost answer is not yet an outage */
        lease_unanswered(&limit->lease, !redis_up(limit->limits->conf.redis), limit_now_ms(limit));
    }
    wake_some(limit);
}

static void send_question(struct limit *limit, const struct lease_question *question)
{
    const struct limits *desk = limit->limits;
    struct str words[LIMIT_SCRIPT_WORDS_MAX];
    struct arena arena;
    arena_init(&arena, NULL, LIMIT_SCRIPT_BYTES_MAX);
    const struct limit_ask ask = {
        .key = redis_key_limit(&arena, str_of(desk->key_prefix), str_of(limit->id)),
        .instance = desk->conf.instance,
        .channel = str_of(desk->channel),
        .message = str_of(limit->id),
        .rule = &limit->lease.rule,
        .question = question,
        .now_ms = limit_now_ms(limit),
    };
    size_t n = limit_script_words(&ask, &arena, words);
    metric_add_for(METRIC_limit_questions_total, str_of(limit->label), 1);
    redis_script_ask(desk->conf.redis, desk->script, 1, words, n, told, limit);
    arena_done(&arena);
}

/* What waits, and as much again as was spent since the last question: so much may come. Of those
 * who wait elsewhere a few may come at any time. Nobody waits: what is left goes back. */
static void wanted(struct limit *limit, int64_t *ret_requests, int64_t *ret_tokens)
{
    struct lease *lease = &limit->lease;
    int64_t requests = 0, tokens = 0;
    LIST_EACH(&limit->waiting, node)
    {
        struct limit_place *place = container_of(node, struct limit_place, node);
        place_estimate(place);
        requests++;
        tokens += place_amount(place, limit);
    }
    if (requests) {
        requests += lease->spent;
        tokens += lease->spent_tokens;
    } else if (limit->expected) {
        int64_t few = lease->spent + 1 < limit->expected ? lease->spent + 1 : limit->expected;
        int64_t each = limit->expected_tokens / limit->expected;
        requests = few > lease->left_requests ? few - lease->left_requests : 0;
        tokens = few * each > lease->left_tokens ? few * each - lease->left_tokens : 0;
    }
    *ret_requests = requests;
    *ret_tokens = tokens;
}

static void ask(struct limit *limit)
{
    struct lease_question question;
    int64_t requests, tokens;
    bool up = redis_up(limit->limits->conf.redis);
    if (up)
        lease_end_loan(&limit->lease);
    wanted(limit, &requests, &tokens);
    lease_ask(&limit->lease, requests, tokens, limit_now_ms(limit), &question);
    if (up) {
        send_question(limit, &question);
        return;
    }
    lease_unanswered(&limit->lease, true, limit_now_ms(limit));
    if (limit_is_money(limit) && !limit->lease.lent_itself && !list_empty(&limit->waiting))
        ask_store(limit);
}

static bool has_reason(const struct limit *limit, int64_t now_ms)
{
    return !list_empty(&limit->waiting) || limit->expected || limit->lease.asks_now ||
           lease_should_return(&limit->lease, now_ms);
}

static void on_timer(void *context)
{
    struct limit *limit = context;
    int64_t now_ms = limit_now_ms(limit);
    if (!limit->lease.asking && !limit->seeding && has_reason(limit, now_ms) &&
        now_ms >= lease_ask_ms(&limit->lease))
        ask(limit);
    wake_some(limit);
}

/* Those who wait elsewhere want something to be there when they come, and no more. */
static bool is_enough(const struct limit *limit)
{
    const struct lease *lease = &limit->lease;
    return !limit->expected || ((!lease->rule.requests || lease->left_requests > 0) &&
                                (!lease->rule.tokens ||
                                 lease->left_tokens >= limit->expected_tokens / limit->expected));
}

static void schedule(struct limit *limit)
{
    struct lease *lease = &limit->lease;
    int64_t now_ms = limit_now_ms(limit), return_ms = lease->until_ms - RETURN_BEFORE_MS;
    lease->keeps = limit->expected && is_enough(limit) && now_ms < lease->until_ms;
    int64_t at_ms = lease_ask_ms(lease);
    if (lease->asking || limit->seeding)
        return; /* the answer goes on */
    if (!has_reason(limit, now_ms))
        return;
    if (lease->lent_itself && !lease->asks_now)
        at_ms = at_ms > now_ms + LEASE_MS ? at_ms : now_ms + LEASE_MS;
    else if (list_empty(&limit->waiting) && !limit->expected && !lease->asks_now &&
             at_ms < return_ms)
        at_ms = return_ms;
    if (at_ms < limit->held_until_ms && !lease->asks_now)
        at_ms = limit->held_until_ms;
    timer_set(limit->limits->conf.loop, &limit->timer, at_ms > now_ms ? at_ms : now_ms, on_timer,
              limit);
}

void limit_retell(struct limit *limit)
{
    lease_retell(&limit->lease);
    schedule(limit);
}

/* ---- places ---- */

bool limit_refuses(const struct limit *limit)
{
    return limit_now_ms(limit) < limit->used_up_until_ms;
}

/* Whoever is new goes behind all others. Who waited, here or elsewhere, goes behind those who came
 * before; he may take what is kept for a later one, else two who hold what the other lacks would
 * wake each other for ever. */
static bool is_turn_of(const struct limit *limit, const struct limit_place *place)
{
    const struct list_node *first = list_first(&limit->waiting);
    if (!place->turn)
        return !first && !limit->woken;
    return place->turn_at == limit || !first ||
           container_of(first, struct limit_place, node)->turn > place->turn;
}

bool limit_may(const struct limit *limit, const struct limit_place *place, unsigned i)
{
    int64_t now_ms = limit_now_ms(limit);
    if (now_ms < limit->held_until_ms || !is_turn_of(limit, place))
        return false;
    return lease_may(&limit->lease, place->holds[i].amount, now_ms);
}

/* Who comes back from another limit keeps his place. */
void limit_enqueue(struct limit *limit, struct limit_place *place)
{
    turn_line_up(&limit->waiting, &place->node,
                 offsetof(struct limit_place, turn) - offsetof(struct limit_place, node));
    place->waits_at = limit;
    metric_add_for(METRIC_limit_waits_total, str_of(limit->label), 1);
    metric_add_for(METRIC_limit_waiting, str_of(limit->label), 1);
    for (unsigned i = 0; i < place->count; i++)
        if (place->holds[i].limit != limit)
            limit_expect(place->holds[i].limit, place->holds[i].amount, 1);
    schedule(limit);
}

void limit_dequeue(struct limit *limit, struct limit_place *place)
{
    must(place->waits_at == limit);
    list_remove(&limit->waiting, &place->node);
    place->waits_at = NULL;
    metric_add_for(METRIC_limit_waiting, str_of(limit->label), -1);
    for (unsigned i = 0; i < place->count; i++)
        if (place->holds[i].limit != limit)
            limit_expect(place->holds[i].limit, -place->holds[i].amount, -1);
}

void limit_expect(struct limit *limit, int64_t amount, int more)
{
    limit->expected += more;
    limit->expected_tokens = limit->expected ? limit->expected_tokens + amount : 0;
    if (limit->expected_tokens < 0) /* estimates have changed meanwhile */
        limit->expected_tokens = 0;
    if (more > 0)
        schedule(limit);
}

static void forget_turn(struct limit *limit, struct limit_place *place)
{
    place->turn_at = NULL;
    limit->woken--;
    limit->woken_tokens -= place->turn_amount;
}

void limit_pass_turn(struct limit *limit, struct limit_place *place)
{
    must(place->turn_at == limit);
    forget_turn(limit, place);
    wake_some(limit);
}

void limit_take(struct limit *limit, struct limit_place *place, unsigned i)
{
    if (place->turn_at == limit)
        forget_turn(limit, place);
    lease_take(&limit->lease, place->holds[i].amount, place->taken_ms);
    schedule(limit);
}

void limit_settle(struct limit *limit, int64_t taken_ms, int64_t more)
{
    lease_settle(&limit->lease, taken_ms, more);
    if (limit_is_money(limit))
        schedule(limit);
}

void limit_told(struct limit *limit, const struct told *told)
{
    limit->told = *told;
    limit->told_ms = limit_now_ms(limit);
}

void limit_refused(struct limit *limit, int64_t pause_ms)
{
    pause_ms = pause_ms < PAUSE_MS_MAX ? pause_ms : PAUSE_MS_MAX;
    int64_t until_ms = limit_now_ms(limit) + pause_ms;
    if (until_ms <= limit->held_until_ms)
        return;
    limit->held_until_ms = until_ms;
    lease_pause(&limit->lease, pause_ms);
    schedule(limit);
}
