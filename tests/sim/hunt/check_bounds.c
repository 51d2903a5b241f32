/*
 * check_bounds.c -- I7: what a process has at hand stays within its limits, and goes with it. X3:
 * no minute has more calls than the rate limits of the whole fleet, and no more is spent than there
 * is.
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
    return s->seed % 4 == 0 && !s->hedge.struck;
}

bool check_has_tenant_limit(const struct schedule *s)
{
    return s->seed % 4 == 1 && !s->hedge.struck;
}

bool check_has_budget(const struct schedule *s)
{
    return s->seed % 4 == 2 && !s->hedge.struck;
}

bool check_has_limits(const struct schedule *s)
{
    return check_has_limit(s) || check_has_tenant_limit(s) || check_has_budget(s);
}

/* Who cannot ask Redis keeps to its own part, and may have spent it already, as may the others. */
static size_t limit_of(const struct schedule *s, int limit)
{
    int twice = check_came_twice(s);
    return (size_t)(check_redis_was_well(s) ? limit + twice
                                            : limit * (1 + s->workers) + s->workers + twice);
}

/* Whose calls are counted: of that provider, or of all (NULL) for that tenant. */
struct whose {
    const char *provider, *tenant;
};

static bool is_of(const struct whose *whose, const struct sim_call *call)
{
    struct str rest = call->id, tenant;
    if (whose->provider)
        return strcmp(call->provider, whose->provider) == 0;
    return str_split(&rest, '/', &tenant) && str_is(tenant, whose->tenant);
}

static size_t most_a_minute(struct play *play, const struct whose *whose)
{
    size_t first = 0, in_window = 0, most = 0;
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *call = sim_call(play->sim, i);
        in_window += is_of(whose, call);
        for (; sim_call(play->sim, first)->at_ms <= call->at_ms - WINDOW_MS; first++)
            in_window -= is_of(whose, sim_call(play->sim, first));
        most = in_window > most ? in_window : most;
    }
    return most;
}

/* It was let in when it was handed over, and stood still with its process. */
static size_t left_late(struct play *play, const struct whose *whose)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *call = sim_call(play->sim, i);
        count += call->at_ms > call->begun_ms && is_of(whose, call);
    }
    return count;
}

static void check_most(struct play *play, struct whose whose, int limit)
{
    size_t most = most_a_minute(play, &whose);
    size_t bound = limit_of(play->schedule, limit) + left_late(play, &whose);
    if (most > bound)
        play_find(play, "X3: %zu calls in a minute, the limit is %zu", most, bound);
}

static const char *tenant_name(int row)
{
    return tenant_of(row) ? tenant_of(row) : "default";
}

void check_limit(struct play *play)
{
    if (check_has_limit(play->schedule))
        check_most(play, (struct whose){.provider = "alpha"}, CHECK_LIMIT);
    for (int row = 0; check_has_tenant_limit(play->schedule) && row < TENANTS; row++)
        check_most(play, (struct whose){.tenant = tenant_name(row)}, CHECK_TENANT_LIMIT);
}

/* ---- money ---- */

static size_t refused_for_money(struct play *play)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_result_count(play->sim); i++)
        count += str_is(sim_result(play->sim, i)->error.code, "budget_exhausted");
    return count;
}

/* What a dead or deaf process held of it stays reserved, and what a call without an answer may have
 * cost. */
static bool all_was_calm(const struct play *play)
{
    return check_redis_was_well(play->schedule) && !play->absence_count &&
           check_providers_were_well(play->schedule) && !play->schedule->route.on &&
           !schedule_has(play->schedule, EVENT_POSTGRES_DOWN) &&
           !schedule_has(play->schedule, EVENT_REDIS_DEAF) &&
           !schedule_has_fault(play->schedule, SIM_DOORS, SIM_WELL);
}

static size_t paid_by(struct play *play, const char *tenant)
{
    const struct whose whose = {.tenant = tenant};
    size_t paid = 0;
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *call = sim_call(play->sim, i);
        paid += call->status == 200 && call->delivered && is_of(&whose, call);
    }
    return paid;
}

/* Estimates may lack a little; a call that is cut or refused is not in the sum. */
void check_budget(struct play *play)
{
    const struct schedule *s = play->schedule;
    size_t most = 0, bound = CHECK_BUDGET_CALLS + 1 + (size_t)check_came_twice(s);
    if (!check_has_budget(s))
        return;
    for (int row = 0; row < TENANTS; row++) {
        size_t paid = paid_by(play, tenant_name(row));
        most = paid > most ? paid : most;
    }
    if (!check_redis_was_well(s))
        bound += CHECK_BUDGET_CALLS * (size_t)s->workers;
    if (most > bound)
        play_find(play, "X3: %zu calls were paid, the budget is enough for %d", most,
                  CHECK_BUDGET_CALLS);
    if (most * 2 < CHECK_BUDGET_CALLS && all_was_calm(play) && refused_for_money(play))
        play_find(play, "X3: %zu were refused, with %zu of %d calls paid", refused_for_money(play),
                  most, CHECK_BUDGET_CALLS);
}
