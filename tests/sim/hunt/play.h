/*
 * play.h -- plays a schedule: builds its world, publishes, makes the trouble happen, brings back
 * who died, and asks the checker (check.h) what is wrong.
 */
#ifndef QUERN_TESTS_SIM_HUNT_PLAY_H
#define QUERN_TESTS_SIM_HUNT_PLAY_H

#include "common/base/buf.h"
#include "tests/sim/hunt/schedule.h"

enum { UNITS = WORKERS_MAX + AGGREGATORS_MAX, ENDS_MAX = 400, DOORS_SEEN = 2000 };

/* A record of the request topic. */
struct published {
    const struct ask *ask;  /* what it is */
    const struct ask *body; /* whose body it has: its own, or of SORT_AGAIN the first one's */
    struct sim_place place;
    int64_t at_ms;
};

/* From when to when a process was not itself: dead, standing still, or thrown out. */
struct absence {
    const char *name;
    int64_t from_ms, to_ms;
    bool own_will; /* it was told to leave, and left in good order */
    bool drained;  /* it said itself that nothing was left to do */
    bool lost;     /* thrown out of its group, and alive: its claims hold */
};

struct play {
    struct sim *sim;
    const struct schedule *schedule;
    struct published published[ITEMS_MAX];
    size_t published_count;
    struct absence absences[ENDS_MAX];
    size_t absence_count;
    struct {
        const char *name;
        bool aggregator;
        struct sim_process *process;
        int64_t back_ms, back_after_ms;
    } units[UNITS];
    size_t unit_count;
    struct {
        int number;
        int64_t at_ms;
    } cancels[ITEMS_MAX];
    size_t cancel_count;
    size_t commits;
    int64_t checked[8];
    bool settled;
    struct buf findings; /* a line each: "I3 r7: .." */
    size_t finding_count;
};

struct played {
    uint64_t fingerprint, calls;     /* of doors */
    unsigned char doors[DOORS_SEEN]; /* of the first calls: enum sim_door */
    size_t findings;
    char text[2000]; /* the first of them */
};

/* Whether something is wrong; `trace` may be NULL. Keeps nothing. */
bool play(const struct schedule *schedule, FILE *trace, struct played *ret);

void play_find(struct play *play, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *request_id(int number); /* "r7" */

#endif
