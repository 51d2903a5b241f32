/*
 * crowd.c -- see crowd.h.
 */
#include "worker/call/crowd.h"

void crowd_init(struct crowd *crowd)
{
    *crowd = (struct crowd){.woken = 0};
    list_init(&crowd->waiting);
}

static size_t room(const struct crowd *crowd)
{
    return concurrency_room(&crowd->concurrency, &crowd->rule);
}

static void wake_some(struct crowd *crowd)
{
    while (room(crowd) > crowd->woken) {
        struct list_node *node = list_pop(&crowd->waiting);
        if (!node)
            return;
        struct crowd_place *place = container_of(node, struct crowd_place, node);
        place->queued = false;
        place->woken = true;
        crowd->woken++;
        walk_wake(place->walk);
    }
}

size_t crowd_room(const struct crowd *crowd)
{
    size_t all = room(crowd);
    return list_empty(&crowd->waiting) && all > crowd->woken ? all - crowd->woken : 0;
}

bool crowd_full(const struct crowd *crowd)
{
    return crowd_room(crowd) == 0;
}

bool crowd_may(const struct crowd *crowd, const struct crowd_place *place)
{
    return place->woken ? room(crowd) > 0 : !crowd_full(crowd);
}

size_t crowd_waiting(const struct crowd *crowd)
{
    return crowd->waiting.count + crowd->woken;
}

size_t crowd_per_second(const struct crowd *crowd)
{
    return concurrency_per_second(&crowd->concurrency, &crowd->rule);
}

static void forget_turn(struct crowd *crowd, struct crowd_place *place)
{
    crowd->woken -= place->woken;
    place->woken = false;
}

void crowd_wait(struct crowd *crowd, struct crowd_place *place, struct walk *walk)
{
    forget_turn(crowd, place);
    place->walk = walk;
    place->queued = true;
    turn_line_up(&crowd->waiting, &place->node,
                 offsetof(struct crowd_place, turn) - offsetof(struct crowd_place, node));
}

void crowd_enter(struct crowd *crowd, struct crowd_place *place)
{
    forget_turn(crowd, place);
    place->inside = true;
    concurrency_began(&crowd->concurrency);
}

void crowd_leave(struct crowd *crowd, struct crowd_place *place)
{
    bool had_turn = place->woken;
    if (place->queued)
        list_remove(&crowd->waiting, &place->node);
    place->queued = false;
    forget_turn(crowd, place);
    if (had_turn) /* it is the next one's */
        wake_some(crowd);
}

void crowd_ended(struct crowd *crowd, struct crowd_place *place, enum concurrency_news news,
                 int64_t began_ms, int64_t took_ms, int64_t now_ms)
{
    if (!place->inside)
        return;
    place->inside = false;
    concurrency_ended(&crowd->concurrency, &crowd->rule, news, began_ms, took_ms, now_ms);
    wake_some(crowd);
}
