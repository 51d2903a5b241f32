/*
 * progress.h -- how far a batch is, on stderr: a bar on a terminal, else a line every few seconds.
 */
#ifndef QUERN_PRODUCER_BATCH_PROGRESS_H
#define QUERN_PRODUCER_BATCH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

struct progress {
    bool on, bar;
    int64_t total, begun_ms, begun_done, shown_ms;
    double rate; /* lines a second, smoothed */
    int64_t rate_ms, rate_done;
};

/* bar: draw one, over and over on the same line. done: what earlier runs did. */
void progress_init(struct progress *progress, bool on, bool bar, int64_t total, int64_t done,
                   int64_t now_ms);
/* True when it is time to show something again; then progress_text() says what. */
bool progress_due(struct progress *progress, int64_t done, int64_t now_ms);
void progress_text(const struct progress *progress, int64_t done, int64_t failed, struct buf *ret);
/* Writes it to stderr. */
void progress_show(const struct progress *progress, int64_t done, int64_t failed);
/* The last one, which stays, with the rate of the whole run. */
void progress_end(struct progress *progress, int64_t done, int64_t failed, int64_t now_ms);
/* Wipes the bar, so that a message can be written. */
void progress_wipe(const struct progress *progress);

#endif
