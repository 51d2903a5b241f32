/*
 * check_bounds.c -- I7: what a process has at hand stays within its limits, and goes with it.
 */
#include "tests/sim/hunt/check.h"

/* Two lanes, each read until it has more than twice max_in_flight; what they hold may begin, and
 * wait in a session, when nothing more is read already. */
enum { LANES = 2 };

static size_t records_max(size_t in_flight)
{
    size_t backlog = LANES * (2 * in_flight + 1);
    return backlog + in_flight + CHECK_PARKED_MAX + 1 + backlog;
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
