/*
 * offset_tracker.c -- a ring of 2^20 "open" bits and the two ends of the window.
 *
 * An offset has a place in the ring, and its bit there is set while it is started and not finished;
 * short gaps and finished offsets look alike. Places follow offsets one by one, but for long gaps,
 * which take one place however many offsets are missing: a `stretch` begins behind each of them.
 *
 * `low` is the lowest set bit, or `next` when there is none. It only moves forward, so every word
 * of the ring is scanned once per trip round it: finishing costs amortised O(1).
 *
 * Invariants: low <= next <= low + OFFSET_WINDOW; no bit is set outside [low, next); unfinished is
 * the number of set bits; unfinished == 0 exactly when low == next. There is a stretch at least;
 * they ascend by offset and by place, and the first one has low in it.
 */
#include "common/io/offset_tracker.h"
#include "common/base/plant.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"

#define WORD_BITS   64
#define WORDS       (OFFSET_WINDOW / WORD_BITS)
#define SHORT_GAP   64 /* of so many offsets, each has its place */
#define STRETCH_MIN 16

/* The places from `place` on are those of the offsets from `offset` on. */
struct stretch {
    int64_t offset;
    int64_t place;
};

struct offset_tracker {
    int64_t low;  /* place of the lowest unfinished */
    int64_t next; /* place behind that of the highest started */
    uint64_t unfinished;
    struct stretch *stretches; /* those from `first` to `count` count */
    size_t first, count, room;
    uint64_t open[WORDS];
};

static uint64_t *word_of(struct offset_tracker *tracker, int64_t place)
{
    return &tracker->open[(place / WORD_BITS) % WORDS];
}

static uint64_t bit_of(int64_t place)
{
    return UINT64_C(1) << (place % WORD_BITS);
}

/* ---- places ---- */

static const struct stretch *newest(const struct offset_tracker *tracker)
{
    return &tracker->stretches[tracker->count - 1];
}

/* Most offsets are in the newest; the others are looked for by halves. */
static const struct stretch *stretch_of_offset(const struct offset_tracker *tracker, int64_t offset)
{
    size_t from = tracker->first, to = tracker->count;
    if (newest(tracker)->offset <= offset)
        return newest(tracker);
    while (to - from > 1) {
        size_t middle = from + (to - from) / 2;
        if (tracker->stretches[middle].offset <= offset)
            from = middle;
        else
            to = middle;
    }
    return &tracker->stretches[from];
}

static int64_t place_of(const struct offset_tracker *tracker, int64_t offset)
{
    const struct stretch *stretch = stretch_of_offset(tracker, offset);
    return stretch->place + (offset - stretch->offset);
}

static int64_t next_offset(const struct offset_tracker *tracker)
{
    return newest(tracker)->offset + (tracker->next - newest(tracker)->place);
}

static void make_room(struct offset_tracker *tracker)
{
    if (tracker->count < tracker->room)
        return;
    size_t count = tracker->count - tracker->first;
    if (count)
        memmove(tracker->stretches, tracker->stretches + tracker->first,
                count * sizeof(*tracker->stretches));
    tracker->first = 0;
    tracker->count = count;
    if (count < tracker->room / 2)
        return;
    tracker->room = tracker->room ? tracker->room * 2 : STRETCH_MIN;
    tracker->stretches = xrealloc(tracker->stretches, tracker->room * sizeof(*tracker->stretches));
}

static void stretch_begin(struct offset_tracker *tracker, int64_t offset, int64_t place)
{
    make_room(tracker);
    tracker->stretches[tracker->count++] = (struct stretch){offset, place};
}

static void low_moves(struct offset_tracker *tracker, int64_t place)
{
    tracker->low = place;
    while (tracker->count - tracker->first > 1 &&
           tracker->stretches[tracker->first + 1].place <= place)
        tracker->first++;
}

/* ---- a life ---- */

struct offset_tracker *offset_tracker_new(int64_t next)
{
    must(next >= 0);
    struct offset_tracker *tracker = xzalloc(sizeof(*tracker));
    stretch_begin(tracker, next, 0);
    return tracker;
}

void offset_tracker_free(struct offset_tracker *tracker)
{
    if (!tracker)
        return;
    free(tracker->stretches);
    free(tracker);
}

bool offset_tracker_start(struct offset_tracker *tracker, int64_t offset)
{
    int64_t gap = offset - next_offset(tracker);
    must(gap >= 0);
    int64_t place = tracker->next + (gap > SHORT_GAP ? 1 : gap);
    if (tracker->unfinished && place - tracker->low >= OFFSET_WINDOW)
        return false;
    if (gap > SHORT_GAP)
        stretch_begin(tracker, offset, place);
    if (tracker->unfinished == 0)
        low_moves(tracker, place); /* the gap before it has nothing to wait for */

    *word_of(tracker, place) |= bit_of(place);
    tracker->next = place + 1;
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
    int64_t place = place_of(tracker, offset);
    must(place >= tracker->low && place < tracker->next);
    uint64_t *word = word_of(tracker, place);
    must(*word & bit_of(place));
    *word &= ~bit_of(place);
    tracker->unfinished--;

    if (tracker->unfinished == 0)
        low_moves(tracker, tracker->next);
    else if (place == tracker->low)
        low_moves(tracker, next_open(tracker, place));
}

int64_t offset_tracker_low(const struct offset_tracker *tracker)
{
    const struct stretch *first = &tracker->stretches[tracker->first];
    if (PLANTED(1))
        return next_offset(tracker);
    return first->offset + (tracker->low - first->place);
}

uint64_t offset_tracker_unfinished(const struct offset_tracker *tracker)
{
    return tracker->unfinished;
}

int64_t offset_tracker_spread(const struct offset_tracker *tracker)
{
    return tracker->unfinished ? tracker->next - 1 - tracker->low : 0;
}
