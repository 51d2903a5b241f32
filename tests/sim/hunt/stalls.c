/*
 * stalls.c -- see stalls.h.
 */
#include "tests/sim/hunt/stalls.h"

/* SESSION_MS: who was not heard of for so long is out of his group. CALLS: as many replies as a
 * provider's list has, all slow. */
enum { FIRST_NUMBER = 100, ASKS_MAX = 14, BEGIN_MS = 600, SESSION_MS = 6000, CALLS = 20 };

static const int model_of[PROVIDERS] = {0, 1, 4};

/* Some before the stall, whose calls are under way then, and some in its midst. */
static void draw_asks(struct schedule *s, struct rand *rand)
{
    int count = 4 + below(rand, ASKS_MAX - 4);
    for (int i = 0; i < count; i++) {
        int64_t at_ms = BEGIN_MS + (below(rand, 3) ? below(rand, 100) : below(rand, 6000));
        struct ask ask = {.number = FIRST_NUMBER + i,
                          .session = below(rand, 4) ? -1 : below(rand, s->sessions),
                          .models = model_of[s->stall.provider]};
        if (s->seed % 3 == 1 && ask.session >= 0) /* a session is one tenant's: schedule.c */
            ask.tenant = ask.session % TENANTS;
        schedule_add(s, ITEM_ASK, at_ms)->ask = ask;
    }
}

/* One of them, or several and not for equally long. */
static void draw_stalls(struct schedule *s, struct rand *rand)
{
    int first = below(rand, WORKERS_MAX), count = below(rand, 3) ? 1 : s->workers;
    for (int i = 0; i < count; i++)
        schedule_event(s, BEGIN_MS + 50 + below(rand, 500), EVENT_FREEZE_WORKER, first + i,
                       SESSION_MS + 200 + below(rand, below(rand, 3) ? 2500 : 6000));
}

/* In the moment in which it hands over a call. */
static void draw_callers(struct schedule *s, struct rand *rand)
{
    for (int i = below(rand, 3); i > 0; i--)
        schedule_event(s, BEGIN_MS - 20 + below(rand, 100), EVENT_FREEZE_CALLER,
                       below(rand, WORKERS_MAX), SESSION_MS + 200 + below(rand, 3000));
}

void stalls_draw(struct schedule *s)
{
    struct rand rand;
    rand_init(&rand, s->seed ^ 0x7374616c6cULL);
    int kind = below(&rand, 8);
    if (s->burst || s->route.on || s->hedge.on || s->put_off.on || kind > 1)
        return;
    s->stall.on = true;
    s->stall.provider = below(&rand, PROVIDERS);
    if (kind == 1)
        schedule_empty(s);
    s->max_in_flight += ASKS_MAX;
    int64_t took_ms = 800 + below(&rand, 2500);
    for (int i = 0; i < CALLS; i++)
        schedule_reply(s, s->stall.provider, i,
                       (struct sim_reply){.status = 200, .after_ms = took_ms});
    draw_asks(s, &rand);
    draw_stalls(s, &rand);
    draw_callers(s, &rand);
    if (s->end_ms < 12000)
        s->end_ms = 12000;
}

void stalls_build(struct play *play)
{
    char key[64];
    if (!play->schedule->stall.on)
        return;
    snprintf(key, sizeof(key), "models.%s.concurrency_max",
             provider_of(play->schedule->stall.provider));
    sim_set(play->sim, key, "1");
}
