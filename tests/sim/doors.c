/*
 * doors.c -- every call of a program to a server is counted here, and may be told to go wrong.
 *
 * A fault names the call by its number, of one door or of all, and the way it goes. So a run can be
 * counted first and then failed at its 1st, 2nd, 3rd .. call; and a schedule is a list of faults.
 *
 * A process that dies at a call is cut off at once: nothing it asks later in this turn leaves it,
 * no event reaches it, and at the end of the turn its memory is given back (sim.c).
 */
#include <stdarg.h>
#include <stdlib.h>

#include "tests/sim/inside.h"

#define WAY(way) (1u << (way))
#define DEATHS   (WAY(SIM_DIE) | WAY(SIM_DIE_AFTER))

static const struct {
    const char *name;
    unsigned ways;
} doors[SIM_DOORS] = {
    [SIM_PRODUCE] = {"produce", DEATHS | WAY(SIM_REFUSE) | WAY(SIM_NEVER) | WAY(SIM_NO_ANSWER) |
                                    WAY(SIM_WRONG)},
    [SIM_COMMIT] = {"commit", DEATHS | WAY(SIM_NEVER) | WAY(SIM_NO_ANSWER) | WAY(SIM_WRONG)},
    [SIM_REDIS] = {"redis",
                   DEATHS | WAY(SIM_NEVER) | WAY(SIM_NO_ANSWER) | WAY(SIM_LATE) | WAY(SIM_WRONG)},
    [SIM_POSTGRES] = {"postgres", DEATHS | WAY(SIM_NEVER) | WAY(SIM_NO_ANSWER) | WAY(SIM_WRONG)},
    [SIM_HTTP] = {"http", DEATHS | WAY(SIM_REFUSE) | WAY(SIM_NEVER) | WAY(SIM_NO_ANSWER) |
                              WAY(SIM_LATE) | WAY(SIM_WRONG) | WAY(SIM_TWICE)},
    [SIM_FETCH] = {"fetch", DEATHS | WAY(SIM_NEVER) | WAY(SIM_WRONG)},
};

static const char *const way_names[SIM_WAYS] = {"well",      "die",  "die-after", "refuse", "never",
                                                "no-answer", "late", "wrong",     "twice"};

bool sim_door_knows(enum sim_door door, enum sim_way way)
{
    return doors[door].ways & WAY(way);
}

const char *sim_door_name(enum sim_door door)
{
    return door < SIM_DOORS ? doors[door].name : "any";
}

const char *sim_way_name(enum sim_way way)
{
    return way_names[way];
}

void sim_fault(struct sim *sim, struct sim_fault fault)
{
    struct sim_doors *d = &sim->doors;
    d->faults = xrealloc(d->faults, (d->fault_count + 1) * sizeof(fault));
    d->faults[d->fault_count++] = fault;
}

uint64_t sim_door_calls(const struct sim *sim)
{
    return sim->doors.calls;
}

enum sim_door sim_door_at(const struct sim *sim, uint64_t nth)
{
    must(nth > 0 && nth <= sim->doors.calls);
    return sim->doors.seen[nth - 1];
}

uint64_t sim_fingerprint(const struct sim *sim)
{
    return sim->doors.fingerprint;
}

void sim_trace(struct sim *sim, FILE *file)
{
    sim->doors.trace = file;
}

void sim_note(struct sim *sim, const struct sim_process *process, const char *format, ...)
{
    struct sim_doors *d = &sim->doors;
    va_list args;
    if (!d->trace)
        return;
    fprintf(d->trace, "%10lld.%03lld %-6s ", (long long)(sim->now_us / 1000),
            (long long)(sim->now_us % 1000), process ? process->name : "-");
    va_start(args, format);
    vfprintf(d->trace, format, args);
    va_end(args);
    fputc('\n', d->trace);
}

static void remember(struct sim_doors *d, enum sim_door door)
{
    if (d->calls == d->seen_cap) {
        d->seen_cap = d->seen_cap ? d->seen_cap * 2 : 1024;
        d->seen = xrealloc(d->seen, d->seen_cap);
    }
    d->seen[d->calls++] = (unsigned char)door;
    d->calls_of[door]++;
}

static void stir(struct sim *sim, uint64_t number)
{
    sim->doors.fingerprint = (sim->doors.fingerprint ^ number) * 1099511628211u;
}

static enum sim_way way_now(const struct sim_doors *d, enum sim_door door)
{
    for (size_t i = 0; i < d->fault_count; i++) {
        const struct sim_fault *f = &d->faults[i];
        uint64_t nth = f->door == SIM_DOORS ? d->calls : f->door == door ? d->calls_of[door] : 0;
        if (f->nth == nth && sim_door_knows(door, f->way))
            return f->way;
    }
    return SIM_WELL;
}

enum sim_way sim_door(struct sim_process *process, enum sim_door door, const char *what)
{
    struct sim *sim = process->sim;
    struct sim_doors *d = &sim->doors;
    if (process->killed)
        return SIM_DIE;
    remember(d, door);
    enum sim_way way = way_now(d, door);
    stir(sim, (uint64_t)sim->now_us << 8 | (uint64_t)door << 4 | way);
    sim_note(sim, process, "#%llu %s %s%s%s", (unsigned long long)d->calls, doors[door].name, what,
             way ? " -> " : "", way ? way_names[way] : "");
    if (way == SIM_DIE)
        process->killed = true;
    return way;
}
