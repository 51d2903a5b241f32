/*
 * pace.h -- in what pieces the bytes of an answer go out, and how the answer ends.
 *
 * The whole answer stands in memory; a pace says up to where it may be sent now and when to look
 * again. A body longer than anybody wants to keep is its last bytes sent over and over.
 *
 * Everything here is a function of its arguments; the connection (conn.c) has the clock.
 */
#ifndef FAKE_PACE_H
#define FAKE_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pace_kind {
    PACE_WHOLE,
    PACE_HANG,   /* send nothing, keep the connection */
    PACE_DRIP,   /* the head, then `bytes` of the body each `gap_ms` */
    PACE_EVENTS, /* the head, after `first_ms` the first event, each `gap_ms` the next */
    PACE_LEDGER  /* chunked, from `cursor`, as the client reads */
};

enum pace_stop {
    STOP_NONE,
    STOP_NOTHING, /* not a byte */
    STOP_HEAD,    /* in the middle of the head */
    STOP_HALF,    /* of the body */
    STOP_AT,      /* `stop_at` bytes of the body, the framing of chunks included */
};

enum pace_end {
    END_KEEP,  /* the answer is delivered, the connection goes on */
    END_CLOSE, /* closes; not delivered */
    END_RESET, /* the same with a TCP reset */
    END_STALL, /* not a byte more, but the connection stays */
};

struct pace {
    enum pace_kind kind;
    enum pace_stop stop;
    enum pace_end end;
    uint32_t bytes, gap_ms, first_ms;
    uint32_t stop_at;
    uint32_t repeat_len;   /* after the body its last so many bytes again, */
    uint64_t repeat_bytes; /* as often as fits into these */
};

/* How many of `len` bytes are sent at all; the first `head_len` are the head. */
size_t pace_stop(const struct pace *pace, size_t head_len, size_t len);

/* How many bytes may be sent at once. */
size_t pace_first(const struct pace *pace, const char *bytes, size_t head_len, size_t len);

/* Up to where may be sent after the next wait, when all before `at` was sent. */
size_t pace_next(const struct pace *pace, const char *bytes, size_t at, size_t len);

/* How long that wait is. */
static inline uint64_t pace_wait_ms(const struct pace *pace, bool first)
{
    return first && pace->kind == PACE_EVENTS ? pace->first_ms : pace->gap_ms;
}

#endif
