/*
 * check_bounds.c -- I7: what a process has at hand stays within its limits, and goes with it. X3:
 * no minute has more calls than the rate limit of the whole fleet.
 */
#include "tests/sim/hunt/check.h"

#include <string.h>

/* Kept whole: the read-ahead, and one more of each tenant, of "" as well. What has begun and waits
 * in a session is seen to wait a moment later. The one that is just being delivered. */
static size_t records_max(size_t in_flight)
{
    return CHECK_READ_AHEAD + TENANTS + 1 + in_flight + CHECK_PARKED_MAX + in_flight + 1;
}

static void check_worker(struct play *play, size_t unit)
{
    const struct sim_process *process = play->units[unit].process;
    size_t in_flight = (size_t)play->schedule->max_in_flight;
    size_t calls = sim_calls_held(process), records = sim_records_held(process);
    if (calls > in_flight)
        play_find(play, "I7 %s: %zu calls at once, at most %zu", play->units[unit].name, calls,
                  in_flight);
    if (records > records_max(in_flight))
        play_find(play, "I7 %s: holds %zu records, at most %zu", play->units[unit].name, records,
                  records_max(in_flight));
}

void check_bounds(struct play *play)
{
    for (size_t i = 0; i < play->unit_count; i++) {
        const struct sim_process *process = play->units[i].process;
        if (!sim_running(process) && (sim_calls_held(process) || sim_records_held(process)))
            play_find(play, "I7 %s: has ended, and holds %zu calls and %zu records",
                      play->units[i].name, sim_calls_held(process), sim_records_held(process));
        else if (!play->units[i].aggregator)
            check_worker(play, i);
    }
}

/* ---- X3 ---- */

enum { WINDOW_MS = 60000 };

bool check_has_limit(const struct schedule *s)
{
    return s->seed % 4 == 0;
}

/* Who cannot ask Redis keeps to its own part, and may have spent it already, as may the others. */
static size_t limit_of(const struct schedule *s)
{
    int twice = check_came_twice(s);
    return (size_t)(check_redis_was_well(s) ? CHECK_LIMIT + twice
                                            : CHECK_LIMIT * (1 + s->workers) + s->workers + twice);
}

void check_limit(struct play *play)
{
    size_t first = 0, in_window = 0, most = 0, limit = limit_of(play->schedule);
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *call = sim_call(play->sim, i);
        in_window += strcmp(call->provider, "alpha") == 0;
        for (; sim_call(play->sim, first)->at_ms <= call->at_ms - WINDOW_MS; first++)
            in_window -= strcmp(sim_call(play->sim, first)->provider, "alpha") == 0;
        most = in_window > most ? in_window : most;
    }
    if (check_has_limit(play->schedule) && most > limit)
        play_find(play, "X3: %zu calls in a minute, the limit is %zu", most, limit);
}
