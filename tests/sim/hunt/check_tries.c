/*
 * check_tries.c -- calls that could tell no more than that a provider is still away.
 *
 * Whoever has heard nothing but failures of a provider, ROW calls long, may try it for all who
 * wait, and who tries in vain has not used an attempt. From outside: a call that failed, and before
 * it the same process' last ROW calls of this provider had failed, too, with no answer between
 * them.
 */
#include <stdlib.h>

#include "common/base/xalloc.h"
#include "tests/sim/hunt/check.h"

enum { ROW = 2 }; /* the fewest that open a breaker again, in any schedule */

/* A reply without an answer, whatever its status says, is none. */
static bool has_failed(const struct sim_call *call)
{
    bool empty = call->status == 200 && str_empty(call->answer);
    return call->end_ms >= 0 && call->status != -1 &&
           (call->status >= 500 || call->status == 408 || !call->delivered || empty);
}

static bool was_answered(const struct sim_call *call)
{
    return call->end_ms >= 0 && call->status != -1 && !has_failed(call);
}

static bool same_line(const struct sim_call *a, const struct sim_call *b)
{
    return strcmp(a->process, b->process) == 0 && strcmp(a->provider, b->provider) == 0;
}

/* What its process knew of the provider when it called. */
static bool is_try(const struct play *play, const struct sim_call *call)
{
    int64_t answered_ms = -1;
    int row = 0;
    if (!has_failed(call))
        return false;
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *other = sim_call(play->sim, i);
        if (same_line(call, other) && was_answered(other) && other->end_ms <= call->at_ms &&
            other->end_ms > answered_ms)
            answered_ms = other->end_ms;
    }
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *other = sim_call(play->sim, i);
        row += other != call && same_line(call, other) && has_failed(other) &&
               other->end_ms <= call->at_ms && other->end_ms > answered_ms;
    }
    return row >= ROW;
}

bool *check_tries(const struct play *play)
{
    size_t count = sim_call_count(play->sim);
    bool *tries = xcalloc(count + 1, sizeof(*tries));
    for (size_t i = 0; i < count; i++)
        tries[i] = is_try(play, sim_call(play->sim, i));
    return tries;
}

int check_tries_of(const struct play *play, const bool *tries, const struct sim_call *call)
{
    int count = 0;
    for (size_t i = 0; i < sim_call_count(play->sim); i++)
        count += tries[i] && check_same_slot(sim_call(play->sim, i), call);
    return count;
}

int check_attempt_number(const struct sim_call *call)
{
    int64_t number = 0;
    size_t at = call->id.len;
    while (at && call->id.data[at - 1] != '/')
        at--;
    str_to_i64(str_slice(call->id, at, call->id.len), 0, 1000, &number);
    return (int)number;
}

bool check_tries_unseen(const struct schedule *schedule)
{
    return schedule_has(schedule, EVENT_PROVIDER_DOWN) ||
           schedule_has_fault(schedule, SIM_HTTP, SIM_REFUSE);
}
