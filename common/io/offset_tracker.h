/*
 * offset_tracker.h -- which offset of one partition may be committed, when work finishes out of
 * order.
 *
 * A ring of done marks over a window of 2^20 offsets from low on. low is the lowest offset that is
 * not finished; everything below it is. Offsets may have gaps (transaction markers, aborted
 * transactions, compaction, deleted records): a gap is offsets that were never started, and counts
 * as finished as soon as a higher offset has been started. A gap may be of any length: of more than
 * 64 offsets it takes up one in the window. Pure: no door, no clock, no log.
 */
#ifndef QUERN_COMMON_IO_OFFSET_TRACKER_H
#define QUERN_COMMON_IO_OFFSET_TRACKER_H

#include <stdbool.h>
#include <stdint.h>

#define OFFSET_WINDOW ((int64_t)1 << 20)

struct offset_tracker;

/* next: the first offset that will be read. */
struct offset_tracker *offset_tracker_new(int64_t next);
void offset_tracker_free(struct offset_tracker *tracker); /* takes NULL */

/* False when the offset is beyond the window (stop reading until low moves); the caller's read
 * order is increasing, an offset below the highest started one is our bug. */
bool offset_tracker_start(struct offset_tracker *tracker, int64_t offset);
/* The offset must have been started and not finished. */
void offset_tracker_finish(struct offset_tracker *tracker, int64_t offset);
/* The offset to commit: lowest unfinished, or one past the highest started. */
int64_t offset_tracker_low(const struct offset_tracker *tracker);
uint64_t offset_tracker_unfinished(const struct offset_tracker *tracker);
/* How far the highest started offset is ahead of low, long gaps counted as one. */
int64_t offset_tracker_spread(const struct offset_tracker *tracker);

#endif
