/*
 * offset_tracker.c -- a ring of 2^20 "open" bits, one per offset, and the two ends of the window.
 *
 * A bit is set while its offset is started and not finished; gaps and finished offsets look alike.
 * `low` is the lowest set bit, or `next` when there is none. It only moves forward, so every word
 * of the ring is scanned once per trip round it: finishing costs amortised O(1).
 *
 * Invariants: low <= next <= low + OFFSET_WINDOW; no bit is set outside [low, next);
 * unfinished is the number of set bits; unfinished == 0 exactly when low == next.
 */
#include "common/io/offset_tracker.h"
#include "common/base/plant.h"

#include <stdlib.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"

#define WORD_BITS 64
#define WORDS     (OFFSET_WINDOW / WORD_BITS)

struct offset_tracker {
    int64_t low;  /* lowest unfinished */
    int64_t next; /* one past the highest started */
    uint64_t unfinished;
    uint64_t open[WORDS];
};

static uint64_t *word_of(struct offset_tracker *tracker, int64_t offset)
{
    return &tracker->open[(offset / WORD_BITS) % WORDS];
}

static uint64_t bit_of(int64_t offset)
{
    return UINT64_C(1) << (offset % WORD_BITS);
}

struct offset_tracker *offset_tracker_new(int64_t next)
{
    must(next >= 0);
    struct offset_tracker *tracker = xzalloc(sizeof(*tracker));
    tracker->low = tracker->next = next;
    return tracker;
}

void offset_tracker_free(struct offset_tracker *tracker)
{
    free(tracker);
}

bool offset_tracker_start(struct offset_tracker *tracker, int64_t offset)
{
    must(offset >= tracker->next);
    if (tracker->unfinished == 0)
        tracker->low = offset; /* the gap before it has nothing to wait for */
    else if (offset - tracker->low >= OFFSET_WINDOW)
        return false;

    *word_of(tracker, offset) |= bit_of(offset);
    tracker->next = offset + 1;
    tracker->unfinished++;
    return true;
}

/* Something is open above low: skips to it, whole words at a time. */
static int64_t next_open(struct offset_tracker *tracker, int64_t from)
{
    uint64_t bits = *word_of(tracker, from) & ~(bit_of(from) - 1);
    int64_t base = from - from % WORD_BITS;
    while (bits == 0) {
        base += WORD_BITS;
        must(base < tracker->next);
        bits = *word_of(tracker, base);
    }
    return base + __builtin_ctzll(bits);
}

void offset_tracker_finish(struct offset_tracker *tracker, int64_t offset)
{
    must(offset >= tracker->low && offset < tracker->next);
    uint64_t *word = word_of(tracker, offset);
    must(*word & bit_of(offset));
    *word &= ~bit_of(offset);
    tracker->unfinished--;

    if (tracker->unfinished == 0)
        tracker->low = tracker->next;
    else if (offset == tracker->low)
        tracker->low = next_open(tracker, offset);
}

int64_t offset_tracker_low(const struct offset_tracker *tracker)
{
    return PLANTED(1) ? tracker->next : tracker->low;
}

uint64_t offset_tracker_unfinished(const struct offset_tracker *tracker)
{
    return tracker->unfinished;
}

int64_t offset_tracker_spread(const struct offset_tracker *tracker)
{
    return tracker->unfinished ? tracker->next - 1 - tracker->low : 0;
}
