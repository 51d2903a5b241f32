/*
 * lane.c -- a ring of bytes with due times; see lane.h.
 */
#include "tests/chaos/proxy/lane.h"

#include <stdlib.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

void lane_init(struct lane *lane)
{
    *lane = (struct lane){0};
}

void lane_done(struct lane *lane)
{
    free(lane->ring);
    lane->ring = NULL;
}

size_t lane_room(struct lane *lane, char **ret)
{
    if (lane->len == LANE_BYTES)
        return 0;
    if (!lane->ring)
        lane->ring = xcalloc(1, LANE_BYTES);
    size_t tail = (lane->head + lane->len) % LANE_BYTES;
    *ret = lane->ring + tail;
    return least(LANE_BYTES - lane->len, LANE_BYTES - tail);
}

void lane_put(struct lane *lane, size_t bytes, const struct rules *rules, int64_t now_ms)
{
    must(bytes <= LANE_BYTES - lane->len);
    int64_t due_ms = now_ms + rules->latency_ms;
    unsigned last = (lane->mark_head + lane->mark_count - 1) % LANE_MARKS;
    /* Bytes never overtake; when the marks are used up, the youngest piece grows and waits longer.
     */
    if (lane->mark_count > 0 && lane->marks[last].due_ms > due_ms)
        due_ms = lane->marks[last].due_ms;
    bool same = lane->mark_count > 0 && lane->marks[last].due_ms == due_ms;
    if (same || lane->mark_count == LANE_MARKS) {
        lane->marks[last].due_ms = due_ms;
        lane->marks[last].bytes += bytes;
    } else {
        unsigned next = (lane->mark_head + lane->mark_count++) % LANE_MARKS;
        lane->marks[next].due_ms = due_ms;
        lane->marks[next].bytes = bytes;
    }
    lane->len += bytes;
}

/* How many bytes the rate lets through now. */
static size_t allowance(struct lane *lane, const struct rules *rules, int64_t now_ms)
{
    if (rules->rate_bytes == 0)
        return LANE_BYTES;
    if (now_ms - lane->window_ms >= rules->rate_ms) {
        lane->window_ms = now_ms;
        lane->window_bytes = 0;
    }
    int64_t left = rules->rate_bytes - lane->window_bytes;
    return left > 0 ? (size_t)left : 0;
}

size_t lane_ready(struct lane *lane, const struct rules *rules, int64_t now_ms, const char **ret,
                  int64_t *ret_wait_ms)
{
    *ret_wait_ms = -1;
    if (lane->len == 0)
        return 0;
    size_t due = 0;
    for (unsigned i = 0; i < lane->mark_count; i++) {
        unsigned at = (lane->mark_head + i) % LANE_MARKS;
        if (lane->marks[at].due_ms > now_ms)
            break;
        due += lane->marks[at].bytes;
    }
    if (due == 0) {
        *ret_wait_ms = lane->marks[lane->mark_head].due_ms - now_ms;
        return 0;
    }
    size_t allowed = allowance(lane, rules, now_ms);
    if (allowed == 0) {
        *ret_wait_ms = lane->window_ms + rules->rate_ms - now_ms;
        return 0;
    }
    *ret = lane->ring + lane->head;
    return least(least(due, allowed), LANE_BYTES - lane->head);
}

void lane_take(struct lane *lane, size_t bytes)
{
    must(bytes <= lane->len);
    lane->head = (lane->head + bytes) % LANE_BYTES;
    lane->len -= bytes;
    lane->window_bytes += (int64_t)bytes;
    while (bytes > 0) {
        size_t piece = least(bytes, lane->marks[lane->mark_head].bytes);
        lane->marks[lane->mark_head].bytes -= piece;
        bytes -= piece;
        if (lane->marks[lane->mark_head].bytes == 0) {
            lane->mark_head = (lane->mark_head + 1) % LANE_MARKS;
            lane->mark_count--;
        }
    }
}

void lane_hasten(struct lane *lane, int64_t now_ms)
{
    for (unsigned i = 0; i < lane->mark_count; i++) {
        unsigned at = (lane->mark_head + i) % LANE_MARKS;
        if (lane->marks[at].due_ms > now_ms)
            lane->marks[at].due_ms = now_ms;
    }
}
