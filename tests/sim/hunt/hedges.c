/*
 * hedges.c -- see hedges.h.
 */
#include "tests/sim/hunt/hedges.h"

#include <string.h>

#include "tests/sim/hunt/check.h"

/* FIRST_NUMBER: behind all others but those at the end. A worker sees 20 calls before it hedges. */
/* HEARD_MS: until Redis knows of a second call. */
enum {
    FIRST_NUMBER = 64,
    LAST_NUMBER = 150,
    SEEN = 22,
    QUICK = 45,
    SCRIPTED = 160,
    BATCH_MS = 1500,
    HEARD_MS = 20
};

static void draw_asks(struct schedule *s, struct rand *rand, int count, int64_t at_ms, bool late)
{
    for (int i = 0; i < count && s->hedge.asks < LAST_NUMBER - FIRST_NUMBER; i++) {
        if (s->count + 1 >= ITEMS_MAX)
            return;
        struct item *item = schedule_add(s, ITEM_ASK, at_ms + below(rand, late ? 60 : 900));
        item->ask = (struct ask){.sort = late && !below(rand, 4) ? SORT_HASTY : SORT_FIT,
                                 .number = FIRST_NUMBER + s->hedge.asks++,
                                 .session = -1,
                                 .reads = late && !below(rand, 3)};
    }
}

/* A moment after some were asked for, when those that are slow have two calls each under way; most
 * of them the first time, for later on slow is what is usual. */
static void draw_strikes(struct schedule *s, struct rand *rand)
{
    static const enum event_kind kinds[] = {EVENT_KILL_WORKER, EVENT_KILL_WORKER,
                                            EVENT_FREEZE_WORKER, EVENT_TERM_WORKER};
    int first = below(rand, WORKERS_MAX);
    for (int i = 1 + below(rand, 3); i > 0 && s->count < ITEMS_MAX; i--)
        schedule_event(
            s, BATCH_MS * (below(rand, 3) ? 1 : 2 + below(rand, 3)) + 130 + below(rand, 300),
            kinds[below(rand, 4)], first + i, 20 + below(rand, below(rand, 2) ? 1000 : 9000));
}

static void draw_absences(struct schedule *s, struct rand *rand)
{
    for (int i = 1 + below(rand, 3); i > 0 && s->count < ITEMS_MAX; i--)
        schedule_event(s, BATCH_MS * (1 + below(rand, 4)) + below(rand, 900), EVENT_PROVIDER_DOWN,
                       0, 100 + below(rand, below(rand, 2) ? 600 : 4000));
}

void hedges_draw(struct schedule *s)
{
    struct rand rand;
    rand_init(&rand, s->seed ^ 0x6865646765ULL);
    int kind = below(&rand, 5);
    if (s->burst || s->route.on || kind > 1)
        return;
    s->hedge.on = true;
    s->hedge.none = below(&rand, 5) == 0;
    s->hedge.stream = below(&rand, 2);
    s->hedge.percent = below(&rand, 3) ? 40 : 8;
    s->hedge.calm = kind == 1;
    s->hedge.struck = kind == 0 && below(&rand, 2);
    if (s->hedge.calm || s->hedge.struck) {
        s->count = 0;
        s->troubles = 0;
        s->end_ms = 0;
    }
    if (s->hedge.struck)
        s->workers = 1 + below(&rand, 2);
    s->max_in_flight += s->hedge.struck ? 12 : 6;
    draw_asks(s, &rand, s->workers * SEEN + 4, 100, false);
    for (int64_t at_ms = BATCH_MS; at_ms < 8000; at_ms += BATCH_MS)
        draw_asks(s, &rand, (s->hedge.struck ? 8 : 3) + below(&rand, 6), at_ms, true);
    if (s->hedge.struck)
        draw_strikes(s, &rand);
    s->hedge.away = !s->hedge.calm && !s->hedge.struck && below(&rand, 2);
    if (s->hedge.away)
        draw_absences(s, &rand);
    s->end_ms = s->end_ms > 9000 ? s->end_ms : 9000;
}

/* Most are slow: both calls for an answer shall be. */
static struct sim_reply draw_slow(struct rand *rand)
{
    return (struct sim_reply){.after_ms =
                                  below(rand, 4) ? 300 + below(rand, 1500) : 20 + below(rand, 20)};
}

/* Where alpha goes away, most calls fail, too: all attempts of some are to be used up in between.
 */
static struct sim_reply draw_reply(struct rand *rand, const struct schedule *s)
{
    static const int statuses[] = {500, 503, 429, 400};
    struct sim_reply quick = {.after_ms = 20 + below(rand, 20)}, odd = quick;
    int kind =
        s->hedge.away && below(rand, 3) ? 4 + below(rand, 2) : below(rand, s->hedge.calm ? 4 : 8);
    switch (kind) {
    case 0:
    case 1:
        return (struct sim_reply){.after_ms = 200 + below(rand, below(rand, 3) ? 800 : 9000)};
    case 4:
        odd.status = statuses[below(rand, 4)];
        odd.after_ms = 20 + below(rand, 500);
        return odd;
    case 5:
        odd.trouble = below(rand, 2) ? SIM_CUT : SIM_SILENT;
        odd.after_ms = 20 + below(rand, 500);
        return odd;
    default:
        return quick;
    }
}

void hedges_build(struct play *play)
{
    const struct schedule *s = play->schedule;
    struct rand rand;
    char percent[12];
    if (!s->hedge.on)
        return;
    int quick = s->hedge.struck ? s->workers * SEEN + 2 : QUICK;
    rand_init(&rand, s->seed ^ 0x7265706c79ULL);
    snprintf(percent, sizeof(percent), "%d", s->hedge.percent);
    sim_set(play->sim, "models.alpha.hedge", s->hedge.none ? "off" : "p95");
    sim_set(play->sim, "models.alpha.hedge_percent", percent);
    sim_set(play->sim, "models.alpha.hedge_floor", "60ms");
    sim_set(play->sim, "models.alpha.stream", s->hedge.stream ? "on" : "off");
    if (s->hedge.away) {
        sim_set(play->sim, "worker.put_off_after", "100ms");
        sim_set(play->sim, "models.alpha.breaker_failures", below(&rand, 2) ? "2" : "5");
    }
    for (int i = 0; i < SCRIPTED; i++)
        sim_provider(play->sim, "alpha",
                     i < quick         ? (struct sim_reply){.after_ms = 20 + i % 20}
                     : s->hedge.struck ? draw_slow(&rand)
                                       : draw_reply(&rand, s));
}

static bool may_hedge(const struct play *play, const struct sim_call *call)
{
    return play->schedule->hedge.on && !play->schedule->hedge.none &&
           strcmp(call->provider, "alpha") == 0;
}

/* When the second one came; it may leave in the moment in which the first is answered. */
static bool was_under_way(const struct sim_call *first, int64_t at_ms)
{
    bool good = first->delivered && !str_empty(first->answer);
    return first->end_ms < 0 || first->end_ms > at_ms || (good && first->end_ms == at_ms);
}

static bool are_at_once(const struct sim_call *first, const struct sim_call *second)
{
    return check_same_slot(first, second) && strcmp(first->process, second->process) == 0 &&
           !str_eq(first->id, second->id) && first->at_ms <= second->at_ms &&
           was_under_way(first, second->at_ms);
}

bool hedges_are_pair(const struct play *play, const struct sim_call *first,
                     const struct sim_call *second)
{
    return may_hedge(play, first) && may_hedge(play, second) && are_at_once(first, second);
}

int hedges_attempts_more(const struct schedule *s)
{
    return s->hedge.on && !s->hedge.none ? 1 : 0;
}

static size_t under_way(const struct play *play, size_t index)
{
    size_t count = 0;
    for (size_t i = 0; i < index; i++)
        count += are_at_once(sim_call(play->sim, i), sim_call(play->sim, index));
    return count;
}

/* ---- who dies with two calls under way ---- */

static bool died_in(const struct play *play, const struct sim_call *call)
{
    for (size_t i = 0; i < play->absence_count; i++) {
        const struct absence *a = &play->absences[i];
        if (strcmp(a->name, call->process) == 0 && !a->own_will && !a->lost &&
            a->from_ms == call->end_ms && call->status < 0)
            return true;
    }
    return false;
}

static size_t rows_for_the_dead(const struct play *play, int number)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_run_rows(play->sim); i++) {
        const struct sim_run_row *run = sim_run_row(play->sim, i);
        count += str_is(run->outcome, "ambiguous") && str_empty(run->call_id) &&
                 str_is(run->request, request_id(number));
    }
    return count;
}

/* Of a request to one model that was published once, whoever takes over tells of both. */
static void check_told(struct play *play, const struct sim_call *first,
                       const struct sim_call *second)
{
    int number, slot;
    if (!are_at_once(first, second) || second->end_ms - second->at_ms < HEARD_MS ||
        !died_in(play, first) || !died_in(play, second) ||
        !check_call_name(first->id, &number, &slot) || check_times_published(play, number) > 1)
        return;
    for (size_t i = 0; i < play->published_count; i++)
        if (play->published[i].ask->number == number && play->published[i].body->models != 0)
            return;
    size_t rows = rows_for_the_dead(play, number);
    if (rows < 2)
        play_find(play, "I6 " STR_FMT ": %zu rows for two calls of who died", STR_ARG(second->id),
                  rows);
}

static void check_dead(struct play *play)
{
    for (size_t i = 0; i < sim_call_count(play->sim); i++)
        for (size_t k = 0; k < i && may_hedge(play, sim_call(play->sim, i)); k++)
            check_told(play, sim_call(play->sim, k), sim_call(play->sim, i));
}

void check_hedges(struct play *play)
{
    if (play->schedule->hedge.on && check_redis_was_well(play->schedule))
        check_dead(play);
    size_t first[WORKERS_MAX] = {0}, second[WORKERS_MAX] = {0};
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *call = sim_call(play->sim, i);
        size_t beside = may_hedge(play, call) ? under_way(play, i) : 0;
        size_t worker = (size_t)(call->process[1] - '1') % WORKERS_MAX;
        if (beside > 1)
            play_find(play, "I5 " STR_FMT ": the third call at once", STR_ARG(call->id));
        if (!may_hedge(play, call))
            continue;
        first[worker] += !beside;
        second[worker] += beside > 0;
    }
    for (size_t i = 0; i < WORKERS_MAX; i++)
        if (second[i] * 100 > first[i] * (size_t)play->schedule->hedge.percent)
            play_find(play, "I9: %zu second calls of w%zu for %zu first ones", second[i], i + 1,
                      first[i]);
}
