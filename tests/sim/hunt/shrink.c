/*
 * shrink.c -- delta debugging (Zeller, Hildebrandt 2002) over the items of a schedule: first runs
 * of many items are left out, then of half as many, down to single ones, until nothing more can go.
 */
#include "tests/sim/hunt/shrink.h"

/* The same kind of finding: of one invariant, so that one bug does not turn into another. */
static bool fails_alike(const struct schedule *schedule, const char *finding)
{
    struct played played;
    return play(schedule, NULL, &played) && played.text[0] == finding[0] &&
           played.text[1] == finding[1] && played.text[2] == finding[2];
}

/* Whether any of those was still in. */
static bool leave_out(struct schedule *schedule, size_t from, size_t count)
{
    bool any = false;
    for (size_t i = from; i < from + count && i < schedule->count; i++) {
        any |= !schedule->items[i].off;
        schedule->items[i].off = true;
    }
    return any;
}

static bool pass(struct schedule *schedule, size_t size, const char *finding)
{
    bool smaller = false;
    for (size_t from = 0; from < schedule->count; from += size) {
        struct schedule without = *schedule;
        if (!leave_out(&without, from, size) || !fails_alike(&without, finding))
            continue;
        *schedule = without;
        smaller = true;
    }
    return smaller;
}

void shrink(struct schedule *schedule)
{
    struct played played;
    if (!play(schedule, NULL, &played))
        return;
    for (size_t size = schedule->count / 2; size > 1; size /= 2)
        pass(schedule, size, played.text);
    while (pass(schedule, 1, played.text))
        ;
}
