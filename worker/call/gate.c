/*
 * gate.c -- see gate.h. Two queues: those who need a token, and the others.
 *
 * A timer runs while somebody waits, at most LOOK_MS apart, so that nobody waits for a wake-up that
 * was used by someone who then had no need of it.
 */
#include "worker/call/gate.h"

#include <stdlib.h>

#include "common/app/metrics.h"
#include "common/base/log.h"
#include "common/base/xalloc.h"
#include "worker/call/budget.h"

enum {
    LOOK_MS = 1000,
    LATER_MANY = 10, /* in a row that were told to come later */
    LATER_MS_MAX = 60000
};

struct gate {
    unsigned holders;
    char *name;
    struct gate_rule rule;
    struct breaker breaker;
    struct budget budget;
    struct list plain, retries;
    uint32_t numbers; /* given to those who came to queue */
    size_t woken;     /* their turn has come, and they have not asked yet */
    struct loop *loop;
    struct timer timer;
    int64_t shut_since_ms; /* not closed since then; 0: it is */
    unsigned later;        /* told to come later, in a row */
    int64_t later_until_ms;
    int told; /* state last told to metrics and log; -1: none yet */
};

struct gate *gate_new(struct str name, const struct gate_rule *rule)
{
    struct gate *gate = xzalloc(sizeof(*gate));
    gate->holders = 1;
    gate->name = xstrndup(name);
    gate->rule = *rule;
    gate->told = -1;
    breaker_init(&gate->breaker);
    budget_init(&gate->budget);
    list_init(&gate->plain);
    list_init(&gate->retries);
    return gate;
}

struct gate *gate_hold(struct gate *gate, const struct gate_rule *rule)
{
    gate->holders++;
    gate->rule = *rule;
    return gate;
}

void gate_members(struct gate *gate, unsigned members)
{
    budget_members(&gate->budget, members);
}

struct gate *gate_keep(struct gate *gate)
{
    gate->holders++;
    return gate;
}

void gate_release(struct gate *gate)
{
    if (!gate || --gate->holders)
        return;
    if (gate->loop)
        timer_cancel(gate->loop, &gate->timer);
    free(gate->name);
    free(gate);
}

/* Says what has changed, once. */
static void tell(struct gate *gate)
{
    enum breaker_state state = gate->breaker.state;
    bool first = gate->told < 0;
    if (gate->told == (int)state)
        return;
    struct str name = str_of(gate->name);
    metric_set_for(METRIC_breaker_state, name, (int64_t)state);
    if (first)
        metric_set_for(METRIC_calls_held, name, 0);
    if (state == BREAKER_OPEN) {
        metric_add_for(METRIC_breaker_openings_total, name, 1);
        if (gate->told == BREAKER_CLOSED)
            log_warn("provider seems to be away, calls wait", LOG_S("model", name),
                     LOG_I("failures", gate->rule.breaker.failures));
    } else if (state == BREAKER_CLOSED && !first) {
        log_info("provider is back", LOG_S("model", name));
    }
    gate->told = (int)state;
}

static void show_waiting(const struct gate *gate)
{
    metric_set_for(METRIC_calls_held, str_of(gate->name),
                   (int64_t)(gate->plain.count + gate->retries.count));
}

static size_t room(struct gate *gate, int64_t now_ms)
{
    size_t all = breaker_room(&gate->breaker, now_ms);
    tell(gate);
    return all;
}

static size_t retries_free(struct gate *gate, int64_t now_ms)
{
    return gate->breaker.state == BREAKER_CLOSED ? budget_tokens(&gate->budget, now_ms) : SIZE_MAX;
}

static void wake(struct gate *gate, struct list *queue)
{
    struct gate_place *place = container_of(list_pop(queue), struct gate_place, node);
    place->queue = NULL;
    place->woken = true;
    gate->woken++;
    walk_wake(place->walk);
}

static void on_timer(void *context);

static void set_timer(struct gate *gate, int64_t now_ms)
{
    if (list_empty(&gate->plain) && list_empty(&gate->retries)) {
        /* Half-open with nobody held back closes when somebody asks. */
        timer_cancel(gate->loop, &gate->timer);
        return;
    }
    int64_t at = breaker_next_ms(&gate->breaker);
    if (gate->breaker.state == BREAKER_CLOSED)
        at = budget_next_ms(&gate->budget);
    if (at <= now_ms)
        at = now_ms + 1;
    if (at > now_ms + LOOK_MS)
        at = now_ms + LOOK_MS;
    timer_set(gate->loop, &gate->timer, at, on_timer, gate);
}

/* Retries go first: theirs are the older requests. */
static void wake_some(struct gate *gate)
{
    int64_t now_ms = loop_now_ms(gate->loop);
    size_t all = room(gate, now_ms), retries = retries_free(gate, now_ms);
    all = all > gate->woken ? all - gate->woken : 0;
    for (; all && retries && !list_empty(&gate->retries); all--, retries--)
        wake(gate, &gate->retries);
    for (; all && !list_empty(&gate->plain); all--)
        wake(gate, &gate->plain);
    if (!list_empty(&gate->plain) || !list_empty(&gate->retries))
        breaker_hold(&gate->breaker);
    show_waiting(gate);
    set_timer(gate, now_ms);
}

static void on_timer(void *context)
{
    wake_some(context);
}

static void unqueue(struct gate *gate, struct gate_place *place)
{
    if (place->queue)
        list_remove(place->queue, &place->node);
    place->queue = NULL;
    if (place->woken)
        gate->woken--;
    place->woken = false;
}

static struct list *queue_of(struct gate *gate, const struct gate_place *place)
{
    return place->needs_token ? &gate->retries : &gate->plain;
}

static bool takes_token(const struct gate *gate, const struct gate_place *place)
{
    return place->needs_token && gate->breaker.state == BREAKER_CLOSED;
}

bool gate_may(struct gate *gate, const struct gate_place *place, int64_t now_ms)
{
    bool turn = place->woken || list_empty(queue_of(gate, place));
    return turn && room(gate, now_ms) > 0 &&
           (!takes_token(gate, place) || budget_tokens(&gate->budget, now_ms));
}

bool gate_away(const struct gate *gate)
{
    return gate->breaker.state == BREAKER_OPEN;
}

bool gate_closed(const struct gate *gate)
{
    return gate->breaker.state == BREAKER_CLOSED;
}

/* ---- those who need not wait ---- */

static size_t waiting(const struct gate *gate)
{
    return gate->plain.count + gate->retries.count + gate->woken;
}

bool gate_is_told_later(const struct gate *gate, int64_t now_ms)
{
    return gate->later >= LATER_MANY && now_ms < gate->later_until_ms;
}

bool gate_long_shut(struct gate *gate, const struct gate_place *place, int64_t after_ms,
                    int64_t now_ms)
{
    room(gate, now_ms); /* time alone may have opened it */
    if (gate->breaker.state == BREAKER_CLOSED)
        gate->shut_since_ms = 0;
    if (!gate->shut_since_ms || now_ms - gate->shut_since_ms < after_ms)
        return false;
    size_t others = waiting(gate) - (place && place->queue);
    return gate->breaker.state == BREAKER_OPEN || others >= gate->breaker.allowed;
}

size_t gate_retries(const struct gate *gate)
{
    return gate->retries.count;
}

uint32_t gate_retries_ahead(const struct gate *gate, const struct gate_place *place)
{
    const struct list_node *first = list_first(&gate->retries);
    if (!first || place->queue != &gate->retries)
        return 0;
    uint32_t passed = place->number - container_of(first, struct gate_place, node)->number;
    return passed < gate->retries.count ? passed + 1 : (uint32_t)gate->retries.count;
}

size_t gate_retries_per_second(const struct gate *gate)
{
    return budget_per_second(&gate->budget);
}

size_t gate_retries_at_hand(struct gate *gate, int64_t now_ms)
{
    bool free = gate->breaker.state == BREAKER_CLOSED && list_empty(&gate->retries);
    return free ? budget_tokens(&gate->budget, now_ms) : 0;
}

size_t gate_room(struct gate *gate, int64_t now_ms)
{
    size_t all = room(gate, now_ms), there = waiting(gate);
    if (gate_is_told_later(gate, now_ms) || gate->breaker.state == BREAKER_OPEN)
        return 0;
    if (gate->breaker.state == BREAKER_CLOSED)
        return SIZE_MAX;
    breaker_hold(&gate->breaker); /* there are those who would come, so the ramp goes on */
    return all > there ? all - there : 0;
}

void gate_told_later(struct gate *gate, int64_t until_ms, int64_t now_ms)
{
    if (until_ms > now_ms + LATER_MS_MAX)
        until_ms = now_ms + LATER_MS_MAX;
    if (now_ms >= gate->later_until_ms)
        gate->later = 0;
    gate->later++;
    if (until_ms > gate->later_until_ms)
        gate->later_until_ms = until_ms;
}

void gate_well(struct gate *gate)
{
    gate->later = 0;
}

/* ---- calls ---- */

bool gate_enter(struct gate *gate, struct gate_place *place, int64_t now_ms)
{
    if (!gate_may(gate, place, now_ms))
        return false;
    bool token = takes_token(gate, place);
    unqueue(gate, place);
    if (token)
        budget_take(&gate->budget);
    if (place->first)
        budget_first_call(&gate->budget, gate->rule.budget_percent);
    place->token = token;
    place->probed = gate->breaker.state == BREAKER_OPEN;
    place->ticket = breaker_began(&gate->breaker, now_ms);
    return true;
}

void gate_wait(struct gate *gate, struct gate_place *place, struct walk *walk)
{
    struct list *queue = queue_of(gate, place);
    bool again = place->woken;
    unqueue(gate, place);
    place->walk = walk;
    place->queue = queue;
    if (!again)
        place->number = ++gate->numbers;
    if (again)
        list_prepend(queue, &place->node);
    else
        list_append(queue, &place->node);
    if (!again && place->needs_token && gate->breaker.state == BREAKER_CLOSED)
        metric_add_for(METRIC_retries_held_total, str_of(gate->name), 1);
    gate->loop = walk->flow->loop;
    breaker_hold(&gate->breaker);
    show_waiting(gate);
    set_timer(gate, loop_now_ms(gate->loop));
}

void gate_leave(struct gate *gate, struct gate_place *place, struct loop *loop)
{
    bool had_turn = place->woken;
    if (!place->queue && !had_turn)
        return;
    unqueue(gate, place);
    gate->loop = loop;
    if (had_turn) /* it is the next one's */
        wake_some(gate);
    show_waiting(gate);
}

void gate_ended(struct gate *gate, struct gate_place *place, enum breaker_news news,
                int64_t began_ms, struct loop *loop)
{
    gate->loop = loop;
    if (place->token && news == BREAKER_ANSWERED)
        budget_give_back(&gate->budget);
    place->token = false;
    place->probed &= news == BREAKER_FAILED;
    breaker_ended(&gate->breaker, &gate->rule.breaker, place->ticket, news, began_ms,
                  loop_now_ms(loop));
    if (gate->breaker.state == BREAKER_CLOSED)
        gate->shut_since_ms = 0;
    else if (!gate->shut_since_ms)
        gate->shut_since_ms = loop_now_ms(loop);
    tell(gate);
    if (!list_empty(&gate->plain) || !list_empty(&gate->retries))
        wake_some(gate);
}

enum breaker_news gate_news(const struct err *err, int status, bool cut_short)
{
    bool alive = status >= 400 && status < 500 && status != 408;
    switch (err->code) {
    case ERR_PROVIDER_TIMEOUT:
        return cut_short && !status ? BREAKER_NOTHING : BREAKER_FAILED;
    case ERR_PROVIDER_CUT: /* it was answering when we left */
        return cut_short ? BREAKER_NOTHING : BREAKER_FAILED;
    case ERR_PROVIDER_DOWN:
    case ERR_PROVIDER_BAD_REPLY:
        return alive ? BREAKER_ANSWERED : BREAKER_FAILED;
    case ERR_CANCELLED:
    case ERR_UNAVAILABLE:
    case ERR_TOO_BIG:
        return BREAKER_NOTHING;
    default:
        return BREAKER_ANSWERED;
    }
}
