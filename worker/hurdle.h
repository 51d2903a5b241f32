/*
 * hurdle.h -- what stands between a request and its call and may hold it for long: its model's gate
 * while the provider is away, the budget of retries there, a limit of the fleet, and room among the
 * model's calls in this process.
 *
 * At a gate a few try whether it opens. The others are queues: who is let go soon waits in place,
 * the rest lets go of its place at work (put_off.h) and comes back as the queue gets shorter.
 */
#ifndef QUERN_WORKER_HURDLE_H
#define QUERN_WORKER_HURDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HURDLE_NOT_THERE UINT32_MAX

struct crowd;
struct gate;
struct limit;

enum hurdle_kind { HURDLE_GATE, HURDLE_RETRIES, HURDLE_LIMIT, HURDLE_CROWD };

struct hurdle {
    union {
        struct gate *gate; /* of a gate, and of retries */
        struct limit *limit;
        struct crowd *crowd;
    };
    int64_t amount; /* that one takes of the limit */
    uint32_t ahead; /* so many wait there, up to us; HURDLE_NOT_THERE: we wait elsewhere */
    enum hurdle_kind kind;
};

/* ---- call/hurdle.c ---- */

bool hurdle_is(const struct hurdle *a, const struct hurdle *b);
/* It stays as long as somebody keeps it. */
void hurdle_keep(const struct hurdle *hurdle);
void hurdle_release(const struct hurdle *hurdle);
/* Of a queue: how many wait there in place, and how many it lets go in a second, about. */
size_t hurdle_waiting(const struct hurdle *hurdle);
size_t hurdle_per_second(const struct hurdle *hurdle);
/* How many it would let go at once. */
size_t hurdle_at_hand(const struct hurdle *hurdle, int64_t now_ms);

#endif
