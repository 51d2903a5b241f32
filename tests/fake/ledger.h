/*
 * ledger.h -- what was asked and whether it was answered: one record per call, and totals.
 *
 * Records live in a ring of `records_max`; the oldest are forgotten, totals are not. A call is
 * numbered when it is received (n = 1, 2, ... for the life of the process, resets included) and
 * finished once: delivered or not. Keys are kept as hashes only.
 *
 * Strings of other people are cut at LEDGER_ID_MAX bytes and cleaned to ASCII, so that every line
 * is JSON.
 */
#ifndef FAKE_LEDGER_H
#define FAKE_LEDGER_H

#include "tests/fake/buf.h"

#include <stdint.h>

#define LEDGER_ID_MAX     256
#define LEDGER_MODELS_MAX 1024 /* later ones are booked as "(other)" */

struct moment {
    uint64_t us, ms;  /* since start, monotonic */
    uint64_t wall_ms; /* since 1970 */
};

struct ledger_call {
    struct slice call_id, idempotency_key, model;
    const char *path; /* must live as long as the ledger */
    int status;       /* 0: will not be answered */
    uint32_t input_tokens, output_tokens;
    bool has_key, has_digest;
    uint64_t key_hash, digest;
};

struct ledger_connections {
    uint64_t now, max;
};

struct ledger_cursor {
    uint64_t next, last;
    int model; /* -1: all, -2: none */
};

struct ledger;

struct ledger *ledger_new(size_t records_max);
void ledger_free(struct ledger *ledger);

uint64_t ledger_begin(struct ledger *ledger, const struct ledger_call *call, struct moment now);
void ledger_finish(struct ledger *ledger, uint64_t n, bool delivered, struct moment now);

/* Records with a number above `since`, of `model` (NULL: of all), as of now. */
struct ledger_cursor ledger_open(const struct ledger *ledger, uint64_t since, const char *model);

/* Appends the next JSON lines, a bounded number; false after the last one. */
bool ledger_more(const struct ledger *ledger, struct ledger_cursor *cursor, struct buf *out);

void ledger_summary(const struct ledger *ledger, struct ledger_connections connections,
                    struct buf *out);

/* Forgets records and totals; calls in flight go on uncounted but for in_flight. */
void ledger_reset(struct ledger *ledger);

#endif
