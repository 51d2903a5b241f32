/*
 * check_shares.c -- X6: who has few requests does not wait behind another's many.
 *
 * Only in bursts (schedule.h), where nothing goes wrong and each request is one call. A light
 * tenant has tokens left, so his request begins after at most one more of the other's for each of
 * his own ahead of it, as soon as there is a place. What began before he came may call after that,
 * for there are looks into the stores between the two, and so may what begins while he is at that.
 */
#include "tests/sim/hunt/check.h"

#include <string.h>

enum { READ_MS = 20 }; /* until a record is read, fetched again included */

static const struct sim_call *first_call(const struct play *play, int number)
{
    for (size_t i = 0; i < sim_call_count(play->sim); i++)
        if (check_call_of(sim_call(play->sim, i), number))
            return sim_call(play->sim, i);
    return NULL;
}

/* How many of the other tenant's one worker began between two moments. */
static size_t begun_between(const struct play *play, const char *process, int64_t from_ms,
                            int64_t to_ms)
{
    size_t count = 0;
    for (size_t i = 0; i < play->published_count; i++) {
        const struct published *p = &play->published[i];
        const struct sim_call *call =
            p->body->tenant == TENANT_BULK ? first_call(play, p->ask->number) : NULL;
        count += call && strcmp(call->process, process) == 0 && call->at_ms >= from_ms &&
                 call->at_ms < to_ms;
    }
    return count;
}

static size_t light_count(const struct play *play)
{
    size_t count = 0;
    for (size_t i = 0; i < play->published_count; i++)
        count += play->published[i].body->tenant == TENANT_LIGHT;
    return count;
}

void check_shares(struct play *play)
{
    if (check_has_tenant_limit(play->schedule) || check_has_budget(play->schedule))
        return; /* the light one may wait for a limit of its own */
    size_t most = 2 * (size_t)play->schedule->max_in_flight + light_count(play) + 2;
    for (size_t i = 0; play->schedule->burst && i < play->published_count; i++) {
        const struct published *p = &play->published[i];
        const struct sim_call *call =
            p->body->tenant == TENANT_LIGHT ? first_call(play, p->ask->number) : NULL;
        size_t before =
            call ? begun_between(play, call->process, p->at_ms + READ_MS, call->at_ms) : 0;
        if (before > most)
            play_find(play, "X6 r%d: %zu of another tenant's requests went before it, at most %zu",
                      p->ask->number, before, most);
    }
}
