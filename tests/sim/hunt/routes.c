/*
 * routes.c -- see routes.h.
 */
#include "tests/sim/hunt/routes.h"

#include <string.h>

#include "tests/sim/hunt/check.h"

/* SOON_MS: four attempts with their pauses, and the call that answers. */
enum { FIRST_NUMBER = 64, ASKS_MAX = 16, SOON_MS = 5000, BENCH_MS = 60000 };

static const int elsewhere[] = {401, 402, 404};
static const int later[] = {429, 500, 503};

static int64_t draw_asks(struct schedule *s, struct rand *rand)
{
    int count = 3 + below(rand, ASKS_MAX - 3);
    int64_t at_ms = 0;
    for (int i = 0; i < count; i++) {
        at_ms += below(rand, 2) ? 0 : below(rand, 300);
        schedule_add(s, ITEM_ASK, at_ms)->ask =
            (struct ask){.sort = below(rand, 3) ? SORT_FIT : SORT_HASTY,
                         .number = FIRST_NUMBER + i,
                         .session = -1,
                         .models = ROUTE_ROW};
    }
    return at_ms;
}

static void draw_calm(struct schedule *s, struct rand *rand)
{
    s->count = 0;
    s->troubles = 0;
    s->max_in_flight = 8 + below(rand, 30);
    s->end_ms = draw_asks(s, rand) + 8000;
    switch (below(rand, 5)) {
    case 0:
        schedule_add(s, ITEM_EVENT, 0)->event =
            (struct event){.kind = EVENT_PROVIDER_DOWN, .who = 0, .for_ms = 20000};
        break;
    case 1:
        s->route.status = elsewhere[below(rand, 3)];
        break;
    case 2:
        s->route.status = later[below(rand, 3)];
        break;
    case 3:
        s->route.status = 400;
        break;
    default:
        s->route.refused_key = below(rand, 3) ? 401 : 403;
        break;
    }
}

void routes_draw(struct schedule *s)
{
    struct rand rand;
    rand_init(&rand, s->seed ^ 0x726f757465ULL);
    int kind = below(&rand, 6);
    s->route.on = kind < 2;
    s->route.calm = kind == 1;
    if (s->route.calm)
        draw_calm(s, &rand);
    else if (s->route.on)
        draw_asks(s, &rand);
    if (s->route.on && !s->route.calm && below(&rand, 2))
        s->route.refused_key = 401;
    if (check_has_limit(s)) /* each key has a limit of its own */
        s->route.refused_key = 0;
}

void routes_build(struct play *play)
{
    const struct schedule *s = play->schedule;
    if (!s->route.on)
        return;
    sim_set(play->sim, "routes.pair.models", "alpha,beta");
    sim_set(play->sim, "models.alpha.breaker_failures", "2");
    if (s->route.status)
        sim_provider_now(play->sim, "alpha",
                         (struct sim_reply){.status = s->route.status, .after_ms = 10});
    if (s->route.refused_key) {
        sim_set(play->sim, "models.alpha.api_keys", "k1,k2");
        sim_provider_refuses(play->sim, "alpha", "k1", s->route.refused_key);
    }
}

static bool has_route(const struct play *play, int number)
{
    for (size_t i = 0; i < play->published_count; i++)
        if (play->published[i].ask->number == number)
            return play->published[i].body->models == ROUTE_ROW;
    return false;
}

int routes_attempts_max(const struct play *play, int number, int attempts_max)
{
    int refused = play->schedule->route.refused_key ? 1 : 0;
    return (has_route(play, number) ? 2 * attempts_max : attempts_max) + refused;
}

/* ---- what must hold ---- */

static bool is_of(const struct sim_call *call, const char *provider)
{
    return strcmp(call->provider, provider) == 0;
}

/* When a good answer was there; -1: none came. */
static int64_t answered_ms(const struct play *play, int number)
{
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *call = sim_call(play->sim, i);
        if (check_call_of(call, number) && call->delivered && !str_empty(call->answer))
            return call->end_ms;
    }
    return -1;
}

/* One of the two is there, and nothing else is in the way. */
static void check_answered(struct play *play, const struct published *p)
{
    const struct sim_final *final = sim_final(play->sim, request_id(p->ask->number));
    int64_t at_ms = answered_ms(play, p->ask->number);
    if (play->schedule->route.status == 400)
        return; /* whoever got that is not asked again: check_no() */
    if (check_was_cancelled(play, p->ask->number))
        return;
    if (check_has_tenant_limit(play->schedule) || check_has_budget(play->schedule))
        return; /* that holds for both of them */
    if (at_ms < 0)
        play_find(play, "I8 r%d: not answered, though a model of its route was there",
                  p->ask->number);
    else if (at_ms > p->at_ms + SOON_MS || !final || !str_is(final->status, "done"))
        play_find(play,
                  "I8 r%d: answered at %lld ms, published at %lld ms, and a model of its "
                  "route was there",
                  p->ask->number, (long long)at_ms, (long long)p->at_ms);
}

/* Who said that it will not answer is not asked again. */
static void check_no(struct play *play, const struct sim_call *first)
{
    int status = first->status;
    if (!first->delivered || play->schedule->route.refused_key ||
        (status != 400 && status != 401 && status != 402 && status != 404))
        return;
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *again = sim_call(play->sim, i);
        if (again->at_ms >= first->end_ms && again != first && check_same_slot(first, again) &&
            (is_of(again, first->provider) || status == 400))
            play_find(play, "I9 " STR_FMT ": %s said %d, and " STR_FMT " came behind it",
                      STR_ARG(first->id), first->provider, status, STR_ARG(again->id));
    }
}

/* The process has begun anew, and knows nothing of its last life. */
static bool began_between(const struct play *play, const char *name, int64_t from_ms, int64_t to_ms)
{
    for (size_t i = 0; i < play->absence_count; i++)
        if (strcmp(play->absences[i].name, name) == 0 && play->absences[i].to_ms >= from_ms &&
            play->absences[i].from_ms <= to_ms)
            return true;
    return false;
}

/* A key that was refused is left alone while there is another. */
static void check_key(struct play *play, const struct sim_call *first)
{
    if (!first->delivered || (first->status != 401 && first->status != 403))
        return;
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *again = sim_call(play->sim, i);
        if (again->at_ms > first->end_ms && again->at_ms < first->end_ms + BENCH_MS &&
            is_of(again, first->provider) && strcmp(again->process, first->process) == 0 &&
            str_eq(again->key, first->key) &&
            !began_between(play, first->process, first->end_ms, again->at_ms))
            play_find(play, "I9 " STR_FMT ": with the key that was refused at %lld ms",
                      STR_ARG(again->id), (long long)first->end_ms);
    }
}

void check_routes(struct play *play)
{
    const struct schedule *s = play->schedule;
    for (size_t i = 0; s->route.calm && i < play->published_count; i++)
        check_answered(play, &play->published[i]);
    for (size_t i = 0; s->route.on && i < sim_call_count(play->sim); i++) {
        if (s->route.calm)
            check_no(play, sim_call(play->sim, i));
        if (s->route.refused_key)
            check_key(play, sim_call(play->sim, i));
    }
}
