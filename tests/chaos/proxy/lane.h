/*
 * lane.h -- one direction of one connection: bytes on their way, and when they may go on.
 *
 * A ring of at most LANE_BYTES. What is put in becomes due after the link's latency, in order, and
 * leaves at the link's rate. Whoever fills it stops reading when there is no room: so a slow link
 * pushes back on its sender as a slow network does, and memory is bounded. Pure: time is given.
 */
#ifndef QUERN_TESTS_CHAOS_PROXY_LANE_H
#define QUERN_TESTS_CHAOS_PROXY_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/chaos/proxy/rules.h"

enum { LANE_BYTES = 128 << 10, LANE_MARKS = 128 };

struct lane {
    char *ring; /* allocated with the first byte */
    size_t head, len;
    struct {
        int64_t due_ms;
        size_t bytes;
    } marks[LANE_MARKS]; /* pieces of one due time, oldest at mark_head */
    unsigned mark_head, mark_count;
    int64_t window_ms; /* since when window_bytes were sent, for the rate */
    int64_t window_bytes;
};

void lane_init(struct lane *lane);
void lane_done(struct lane *lane);

/* Where the next bytes may be read to; 0: no room. */
size_t lane_room(struct lane *lane, char **ret);
/* So many bytes were read there. */
void lane_put(struct lane *lane, size_t bytes, const struct rules *rules, int64_t now_ms);
/* Bytes that may leave now, contiguous; 0: none. Then `ret_wait_ms` says when to ask again, -1:
 * when something has been put in. */
size_t lane_ready(struct lane *lane, const struct rules *rules, int64_t now_ms, const char **ret,
                  int64_t *ret_wait_ms);
void lane_take(struct lane *lane, size_t bytes);
/* Bytes that wait are due now: the link has lost its latency. */
void lane_hasten(struct lane *lane, int64_t now_ms);

#endif
