/*
 * rooms.c -- see rooms.h.
 */
#include "tests/sim/hunt/rooms.h"

#include "tests/sim/hunt/check.h"

/* SOON_MS: a call of beta, behind its claim and among others. SPARE_MS: from the last end of a call
 * to the store, and where partitions are not shared evenly. */
enum {
    FIRST_NUMBER = 90,
    OTHERS = 40, /* items that come behind, and what the end adds */
    ASKS_MAX = 55,
    BETAS = 5,
    BEGIN_MS = 800,
    SOON_MS = 1500,
    SPARE_MS = 3000,
    SCRIPTED = 24
};
/* What the budget of retries is at first and at most by itself; a second; of first calls. */
enum { TOKENS = 12, TOKENS_A_SECOND = 10, TOKENS_PERCENT = 20 };

static void draw_asks(struct schedule *s, struct rand *rand)
{
    int number = FIRST_NUMBER, least = s->room.most ? 8 : ASKS_MAX - 10;
    int count = least + below(rand, s->room.calm ? ASKS_MAX - least : 10);
    if ((size_t)count > ITEMS_MAX - OTHERS - s->count) /* what was drawn before stays */
        count = (int)(ITEMS_MAX - OTHERS - s->count);
    s->room.asks = count;
    for (int i = 0; i < count; i++)
        schedule_add(s, ITEM_ASK, BEGIN_MS + below(rand, 300))->ask = (struct ask){
            .number = number++, .session = -1, .models = below(rand, 6) || !s->room.most ? 0 : 2};
    for (int i = 0; i < BETAS; i++)
        schedule_add(s, ITEM_ASK, BEGIN_MS + 500 + below(rand, 2500))->ask =
            (struct ask){.number = number++, .session = -1, .models = 1};
}

void rooms_draw(struct schedule *s)
{
    struct rand rand;
    rand_init(&rand, s->seed ^ 0x726f6f6d73ULL);
    s->room.on = s->seed % 5 == 1 && !s->route.on && !s->hedge.on && !s->put_off.on && !s->stall.on;
    if (!s->room.on)
        return;
    s->room.calm = below(&rand, 4) && !check_has_limits(s);
    s->room.most = below(&rand, 3);
    s->room.after_ms = s->room.most ? 30 + below(&rand, 200) : 5;
    if (s->room.calm) {
        schedule_empty(s);
        s->workers = 1;
    }
    s->max_in_flight = 5 + below(&rand, 4);
    draw_asks(s, &rand);
    for (int i = 0; i < SCRIPTED; i++) /* the last one again and again */
        schedule_reply(
            s, 0, i,
            (struct sim_reply){.status = s->room.most ? 200 : 500, .after_ms = s->room.after_ms});
    if (!s->room.calm)
        schedule_trouble(s, BEGIN_MS + 200, &rand);
    if (s->end_ms < 12000)
        s->end_ms = 12000;
}

void rooms_build(struct play *play)
{
    const struct schedule *s = play->schedule;
    char number[12];
    if (!s->room.on)
        return;
    sim_set(play->sim, "worker.put_off_after", "100ms");
    if (s->room.most) {
        snprintf(number, sizeof(number), "%d", s->room.most);
        sim_set(play->sim, "models.alpha.concurrency_max", number);
    } else {
        sim_set(play->sim, "models.alpha.breaker_failures", "0");
        sim_set(play->sim, "worker.retry_base", "20ms");
    }
}

/* ---- what must hold ---- */

static bool is_of_alpha(const struct sim_call *call)
{
    return strcmp(call->provider, "alpha") == 0;
}

static void check_at_once(struct play *play)
{
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *call = sim_call(play->sim, i);
        int at_once = 0;
        for (size_t k = 0; k <= i && is_of_alpha(call); k++) {
            const struct sim_call *other = sim_call(play->sim, k);
            at_once += is_of_alpha(other) && (other->end_ms < 0 || other->end_ms > call->at_ms);
        }
        if (at_once > play->schedule->room.most)
            play_find(play, "I7 " STR_FMT ": %d calls of alpha at once, at most %d",
                      STR_ARG(call->id), at_once, play->schedule->room.most);
    }
}

/* Each first call puts in a part of a token, and some come by themselves. */
static void check_retries(struct play *play)
{
    int64_t firsts = 0, retries = 0, began_ms = -1;
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *call = sim_call(play->sim, i);
        if (!is_of_alpha(call))
            continue;
        began_ms = began_ms < 0 ? call->at_ms : began_ms;
        firsts += check_attempt_number(call) == 1;
        retries += check_attempt_number(call) > 1;
        int64_t most = TOKENS + firsts * TOKENS_PERCENT / 100 +
                       TOKENS_A_SECOND * (call->at_ms - began_ms + 999) / 1000;
        if (retries > most)
            play_find(play, "I9 " STR_FMT ": retry %lld in vain, at most %lld by then",
                      STR_ARG(call->id), (long long)retries, (long long)most);
    }
}

static void check_soon(struct play *play, const struct published *p, int64_t ms_max)
{
    const struct sim_final *final = sim_final(play->sim, request_id(p->ask->number));
    if (!final || final->stored_ms > p->at_ms + ms_max || !str_is(final->status, "done"))
        play_find(play, "I8 r%d: final at %lld ms, published at %lld ms, and only alpha was busy",
                  p->ask->number, final ? (long long) final->stored_ms : -1, (long long)p->at_ms);
}

void check_rooms(struct play *play)
{
    const struct schedule *s = play->schedule;
    if (!s->room.calm)
        return;
    if (s->room.most)
        check_at_once(play);
    else
        check_retries(play);
    for (size_t i = 0; i < play->published_count; i++) {
        const struct published *p = &play->published[i];
        if (p->body->models == 1)
            check_soon(play, p, SOON_MS);
        else if (s->room.most)
            check_soon(play, p,
                       SPARE_MS + (int64_t)s->room.asks * (s->room.after_ms + 20) / s->room.most);
    }
}
