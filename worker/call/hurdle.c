/*
 * hurdle.c -- see worker/hurdle.h.
 */
#include "worker/hurdle.h"

#include "worker/call/crowd.h"
#include "worker/call/gate.h"
#include "worker/call/limit.h"

bool hurdle_is(const struct hurdle *a, const struct hurdle *b)
{
    return a->kind == b->kind && a->gate == b->gate;
}

/* A crowd stays as long as the worker does (quota.c); a limit has a little at hand meanwhile. */
void hurdle_keep(const struct hurdle *hurdle)
{
    if (hurdle->kind == HURDLE_LIMIT)
        limit_expect(limit_keep(hurdle->limit), hurdle->amount, 1);
    else if (hurdle->kind != HURDLE_CROWD)
        gate_keep(hurdle->gate);
}

void hurdle_release(const struct hurdle *hurdle)
{
    if (hurdle->kind == HURDLE_LIMIT) {
        limit_expect(hurdle->limit, -hurdle->amount, -1);
        limit_release(hurdle->limit);
    } else if (hurdle->kind != HURDLE_CROWD) {
        gate_release(hurdle->gate);
    }
}

size_t hurdle_waiting(const struct hurdle *hurdle)
{
    switch (hurdle->kind) {
    case HURDLE_LIMIT:
        return limit_waiting(hurdle->limit);
    case HURDLE_CROWD:
        return crowd_waiting(hurdle->crowd);
    case HURDLE_RETRIES:
        return gate_retries(hurdle->gate);
    case HURDLE_GATE:
        break;
    }
    return 0;
}

size_t hurdle_per_second(const struct hurdle *hurdle)
{
    switch (hurdle->kind) {
    case HURDLE_LIMIT:
        return limit_per_second(hurdle->limit, hurdle->amount);
    case HURDLE_CROWD:
        return crowd_per_second(hurdle->crowd);
    case HURDLE_RETRIES:
        return gate_retries_per_second(hurdle->gate);
    case HURDLE_GATE:
        break;
    }
    return 0;
}

size_t hurdle_at_hand(const struct hurdle *hurdle, int64_t now_ms)
{
    switch (hurdle->kind) {
    case HURDLE_LIMIT:
        return limit_at_hand(hurdle->limit, hurdle->amount);
    case HURDLE_CROWD:
        return crowd_room(hurdle->crowd);
    case HURDLE_RETRIES:
        return gate_retries_at_hand(hurdle->gate, now_ms);
    case HURDLE_GATE:
        break;
    }
    return gate_room(hurdle->gate, now_ms);
}
