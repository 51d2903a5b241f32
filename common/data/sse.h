/*
 * sse.h -- Server-Sent Events (WHATWG HTML, "Server-sent events") from bytes in any pieces.
 *
 * Feed a piece, then call sse_next() until it says SSE_MORE. Lines end with LF, CRLF or CR; one
 * byte order mark in front is skipped; comments and unknown fields are passed over; several data
 * lines are joined with LF; an event without data is none; what stands behind the last empty line
 * when the body ends is none either.
 *
 * An event with one data line that lies whole in the piece is a view of it; others are put together
 * in a buffer. We do not decode: data are bytes, whoever reads them looks at their encoding.
 *
 * Bounded: an event whose lines have more than `event_max` bytes together (comments aside) and a
 * line that is longer end the reading. Buffers hold at most four times that: the line under way,
 * the data, the event's name, the id.
 */
#ifndef QUERN_COMMON_DATA_SSE_H
#define QUERN_COMMON_DATA_SSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/str.h"
#include "common/data/lines.h"

enum sse_next { SSE_EVENT, SSE_MORE, SSE_TOO_BIG };

/* Views, valid until the next call. */
struct sse_event {
    struct str type; /* "" when the event has no name: a "message" */
    struct str data;
    struct str id; /* the last one that came, of this event or an earlier one; "" when none did */
};

struct sse {
    struct lines lines;
    size_t event_max;
    size_t event_bytes; /* of the event under way */
    struct str view;    /* its only data line, where it was fed */
    struct buf data;    /* its data lines, when they had to be copied */
    struct buf type, id;
    bool has_data, is_copied;
    bool given; /* what is here was given out as an event and is over with the next call */
    bool begun; /* the first line was read; no byte order mark after it */
    bool too_big;
    int64_t retry_ms; /* the last `retry` field; -1: none came */
};

void sse_init(struct sse *sse, size_t event_max);
void sse_done(struct sse *sse);
/* As with lines_feed(): the bytes must stay until SSE_MORE. */
void sse_feed(struct sse *sse, struct str bytes);
/* SSE_TOO_BIG stays. */
enum sse_next sse_next(struct sse *sse, struct sse_event *ret);

#endif
