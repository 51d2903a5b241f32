/*
 * place.c -- see place.h.
 */
#include "worker/call/place.h"

#include "common/base/must.h"

void place_add(struct limit_place *place, struct limit *limit)
{
    must(place->count < LIMIT_HOLDS_MAX);
    place->holds[place->count].limit = limit;
    place->holds[place->count++].amount = 0;
}

int64_t place_amount(const struct limit_place *place, const struct limit *limit)
{
    for (unsigned i = 0; i < place->count; i++)
        if (place->holds[i].limit == limit)
            return place->holds[i].amount;
    return 0;
}

int64_t place_tokens(const struct limit_place *place)
{
    return estimate_tokens(place->estimate, place->bytes, place->output_max);
}

void place_estimate(struct limit_place *place)
{
    int64_t tokens = place_tokens(place);
    int64_t cost = estimate_cost(place->estimate, place->bytes, place->output_max,
                                 place->price_input, place->price_output);
    for (unsigned i = 0; i < place->count; i++)
        place->holds[i].amount = limit_is_money(place->holds[i].limit) ? cost : tokens;
}

enum place_verdict place_asks(struct limit_place *place)
{
    enum place_verdict verdict = PLACE_MAY;
    place_estimate(place);
    for (unsigned i = 0; i < place->count; i++)
        if (limit_refuses(place->holds[i].limit)) {
            place->lacks = place->holds[i].limit;
            return PLACE_REFUSED;
        }
    for (unsigned i = 0; i < place->count && verdict == PLACE_MAY; i++)
        if (!limit_may(place->holds[i].limit, place, i)) {
            place->lacks = place->holds[i].limit;
            verdict = PLACE_WAITS;
        }
    return verdict;
}

void place_waits(struct limit_place *place, struct walk *walk)
{
    place->walk = walk;
    if (place->turn_at)
        limit_pass_turn(place->turn_at, place);
    limit_enqueue(place->lacks, place);
}

static void release_all(struct limit_place *place)
{
    for (unsigned i = 0; i < place->count; i++)
        limit_release(place->holds[i].limit);
    place->count = 0;
    place->lacks = NULL;
}

void place_leaves(struct limit_place *place)
{
    if (place->taken)
        return;
    if (place->waits_at)
        limit_dequeue(place->waits_at, place);
    if (place->turn_at)
        limit_pass_turn(place->turn_at, place);
    release_all(place);
}

void place_takes(struct limit_place *place)
{
    if (!place->count)
        return;
    place->taken = true;
    place->taken_ms = limit_now_ms(place->holds[0].limit);
    place->turn = 0;
    for (unsigned i = 0; i < place->count; i++)
        limit_take(place->holds[i].limit, place, i);
}

void place_settles(struct limit_place *place, int64_t tokens, int64_t cost, bool is_free)
{
    bool known = is_free || tokens > 0;
    if (!place->taken)
        return;
    place->taken = false;
    for (unsigned i = 0; known && i < place->count; i++) {
        int64_t actual = limit_is_money(place->holds[i].limit) ? cost : tokens;
        limit_settle(place->holds[i].limit, place->taken_ms, actual - place->holds[i].amount);
    }
    release_all(place);
}
