/*
 * check_ledger.c -- the providers' own ledger against the rows of calls (I6): a send is a row,
 * whatever became of it. Only of a send of a process that died afterwards nobody may tell; then
 * whoever took its slot over says so with a row of its own, whose outcome is "ambiguous".
 */
#include "tests/sim/hunt/check.h"

#include <string.h>

static size_t sends_of(const struct play *play, struct str call_id)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_call_count(play->sim); i++)
        count += str_eq(sim_call(play->sim, i)->id, call_id);
    return count;
}

static size_t rows_of(const struct play *play, struct str call_id, bool replied_only)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_run_rows(play->sim); i++) {
        const struct sim_run_row *run = sim_run_row(play->sim, i);
        count += str_eq(run->call_id, call_id) && (run->http_status > 0 || !replied_only);
    }
    return count;
}

/* Rows of calls that a dead one may have made: they name no call. */
static bool is_of_the_dead(const struct sim_run_row *run)
{
    return str_is(run->outcome, "ambiguous") && str_empty(run->call_id);
}

static bool dead_are_told(const struct play *play, int number, int slot)
{
    for (size_t i = 0; i < sim_run_rows(play->sim); i++) {
        const struct sim_run_row *run = sim_run_row(play->sim, i);
        if (is_of_the_dead(run) && run->slot == slot && str_is(run->request, request_id(number)))
            return true;
    }
    return false;
}

/* It died, or stood still, and may not have told of what it sent before. */
static bool was_gone(const struct play *play, const struct sim_call *call)
{
    for (size_t i = 0; i < play->absence_count; i++) {
        const struct absence *a = &play->absences[i];
        if (strcmp(a->name, call->process) == 0 && !a->lost && !a->own_will &&
            a->to_ms >= call->at_ms)
            return true;
    }
    return false;
}

/* Leaving in good order is no excuse, unless Kafka does not take what is told. */
static bool left_unheard(const struct play *play, const struct sim_call *call)
{
    if (!schedule_has(play->schedule, EVENT_KAFKA_DOWN) &&
        !schedule_has_fault(play->schedule, SIM_PRODUCE, SIM_WELL))
        return false;
    for (size_t i = 0; i < play->absence_count; i++) {
        const struct absence *a = &play->absences[i];
        if (strcmp(a->name, call->process) == 0 && a->own_will && a->to_ms >= call->at_ms)
            return true;
    }
    return false;
}

/* The caller hung up before it was told that the call had left twice: it knows of one. */
static bool was_left_twice(const struct play *play, const struct sim_call *call)
{
    return call->status < 0 && schedule_has_fault(play->schedule, SIM_HTTP, SIM_TWICE);
}

/* Who was taken for dead came back and answered while the call of the new holder was under way:
 * then all is final, and nobody takes over from that one. */
static bool was_overtaken(const struct play *play, const struct sim_call *call)
{
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *earlier = sim_call(play->sim, i);
        if (earlier->delivered && check_same_slot(earlier, call) &&
            strcmp(earlier->process, call->process) != 0 && earlier->at_ms < call->at_ms &&
            earlier->end_ms >= call->at_ms)
            return true;
    }
    return false;
}

/* Of a request that was final without this part nobody takes the slot over. */
static bool part_is_missing(const struct play *play, int number, int slot)
{
    for (size_t i = 0; i < sim_request_rows(play->sim); i++) {
        const struct sim_request_row row = sim_request_row(play->sim, i);
        if (str_is(row.id, request_id(number)))
            return row.slots > 1 && !(row.parts >> slot & 1);
    }
    return false;
}

static void check_sends(struct play *play, const struct sim_call *call)
{
    int number, slot;
    size_t sends = sends_of(play, call->id), rows = rows_of(play, call->id, false);
    if (rows >= sends || !check_call_name(call->id, &number, &slot))
        return;
    size_t gone = 0, excused = 0;
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *send = sim_call(play->sim, i);
        if (!str_eq(send->id, call->id))
            continue;
        gone += was_gone(play, send);
        excused +=
            left_unheard(play, send) || was_overtaken(play, send) || was_left_twice(play, send);
    }
    if (rows + gone + excused < sends)
        play_find(play, "I6 " STR_FMT ": %zu rows for %zu sends", STR_ARG(call->id), rows, sends);
    else if (rows + excused < sends && !dead_are_told(play, number, slot) &&
             !part_is_missing(play, number, slot) && check_redis_was_well(play->schedule))
        play_find(play, "I6 " STR_FMT ": %zu rows for %zu sends, and none for who died",
                  STR_ARG(call->id), rows, sends);
}

/* Nobody died, stood still, or was unknown to Redis: then nothing is ambiguous. */
static void check_dead(struct play *play, const struct sim_run_row *run)
{
    if (is_of_the_dead(run) && !play->absence_count && check_redis_was_well(play->schedule))
        play_find(play, "I6 " STR_FMT "/%lld: a row for a dead worker, and none died",
                  STR_ARG(run->request), (long long)run->slot);
    if (rows_of(play, run->call_id, true) > sends_of(play, run->call_id))
        play_find(play, "I6 " STR_FMT ": more rows of replies than sends", STR_ARG(run->call_id));
}

void check_ledger(struct play *play)
{
    for (size_t i = 0; i < sim_call_count(play->sim); i++)
        check_sends(play, sim_call(play->sim, i));
    for (size_t i = 0; i < sim_run_rows(play->sim); i++)
        check_dead(play, sim_run_row(play->sim, i));
}
