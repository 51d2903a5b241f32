/*
 * put_off.c -- see put_off.h.
 */
#include "tests/sim/hunt/put_off.h"

#include "tests/sim/hunt/check.h"

/* SOON_MS: a call of beta, behind its claim and among others. IN_TIME_MS: a deadline of 1,500 ms,
 * about a second until it is noticed, and the way to the store. */
enum {
    FIRST_NUMBER = 90,
    LATER_CALLS = 24, /* enough for all attempts of a few */
    ASKS_MAX = 26,
    BETAS = 5,
    BEGIN_MS = 800,
    SOON_MS = 1500,
    IN_TIME_MS = 2700
};

static void draw_asks(struct schedule *s, struct rand *rand)
{
    int number = FIRST_NUMBER;
    int count = below(rand, 3) ? 8 + below(rand, ASKS_MAX - 8) : 2 + below(rand, 3);
    for (int i = 0; i < count; i++)
        schedule_add(s, ITEM_ASK, BEGIN_MS + below(rand, 400))->ask =
            (struct ask){.sort = below(rand, 4) ? SORT_FIT : SORT_HASTY,
                         .number = number++,
                         .session = -1,
                         .models = below(rand, 6) ? 0 : 2};
    for (int i = 0; i < BETAS; i++)
        schedule_add(s, ITEM_ASK, BEGIN_MS + 800 + below(rand, 2000))->ask =
            (struct ask){.number = number++, .session = -1, .models = 1};
    if (!s->put_off.calm && below(rand, 2))
        schedule_add(s, ITEM_ASK, BEGIN_MS + 900)->ask =
            (struct ask){.sort = below(rand, 2) ? SORT_AGAIN : SORT_OTHER_BODY,
                         .number = FIRST_NUMBER + below(rand, count),
                         .session = -1};
}

/* It refuses connections for a while, says so of a number of calls, or wants to be asked later. */
static void draw_outage(struct schedule *s, struct rand *rand)
{
    static const char *const later = "Retry-After: 2\r\n";
    int kind = below(rand, 3), calls = 8 + below(rand, 12);
    if (kind == 2 && calls > 13)
        calls = LATER_CALLS;
    if (kind == 0) {
        schedule_event(s, BEGIN_MS - 50, EVENT_PROVIDER_DOWN, 0, 3000 + below(rand, 6000));
        return;
    }
    for (int i = 0; i < calls; i++)
        schedule_reply(s, 0, i,
                       (struct sim_reply){.status = kind == 1 ? 503 : 429,
                                          .after_ms = 5,
                                          .headers = kind == 1 ? NULL : later});
}

void put_off_draw(struct schedule *s)
{
    struct rand rand;
    rand_init(&rand, s->seed ^ 0x7075746f6666ULL);
    s->put_off.on = s->seed % 5 == 3 && !s->route.on && !s->hedge.on;
    if (!s->put_off.on)
        return;
    s->put_off.calm = below(&rand, 2) && !check_has_limits(s);
    if (s->put_off.calm)
        schedule_empty(s);
    s->max_in_flight = 3 + below(&rand, 4);
    draw_asks(s, &rand);
    draw_outage(s, &rand);
    if (!s->put_off.calm)
        schedule_trouble(s, BEGIN_MS + 400, &rand);
    if (s->end_ms < 12000)
        s->end_ms = 12000;
}

void put_off_build(struct play *play)
{
    if (!play->schedule->put_off.on)
        return;
    sim_set(play->sim, "worker.put_off_after", "100ms");
    if (play->schedule->put_off.all)
        sim_set(play->sim, "worker.put_off_keep", "1");
    for (int i = 0; i < PROVIDERS; i++) {
        char key[64];
        snprintf(key, sizeof(key), "models.%s.breaker_failures", provider_of(i));
        sim_set(play->sim, key, "2");
    }
}

/* ---- what must hold ---- */

static void check_soon(struct play *play, const struct published *p, int64_t ms_max, bool done)
{
    const struct sim_final *final = sim_final(play->sim, request_id(p->ask->number));
    if (!final || final->stored_ms > p->at_ms + ms_max || (done && !str_is(final->status, "done")))
        play_find(play, "I8 r%d: final at %lld ms, published at %lld ms, and only alpha was away",
                  p->ask->number, final ? (long long) final->stored_ms : -1, (long long)p->at_ms);
}

void check_put_off(struct play *play)
{
    for (size_t i = 0; play->schedule->put_off.calm && i < play->published_count; i++) {
        const struct published *p = &play->published[i];
        if (p->body->models == 1)
            check_soon(play, p, SOON_MS, true);
        else if (p->body->sort == SORT_HASTY)
            check_soon(play, p, IN_TIME_MS, false);
    }
}
