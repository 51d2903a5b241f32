/*
 * pace.c -- cuts and pieces; see pace.h.
 *
 * An event of a stream ends where its HTTP chunk ends; without chunks (HTTP/1.0), at the blank line
 * or, if the stream has none, at the line's end.
 */
#include "tests/fake/pace.h"

#include <stdlib.h>
#include <string.h>

static size_t less(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t pace_stop(const struct pace *pace, size_t head_len, size_t len)
{
    switch (pace->stop) {
    case STOP_NONE:
        return len;
    case STOP_NOTHING:
        return 0;
    case STOP_HEAD:
        return head_len / 2;
    case STOP_HALF:
        return head_len + (len - head_len) / 2;
    case STOP_AT:
        return less(len, head_len + pace->stop_at);
    }
    return len;
}

/* The bytes of the chunk that begins at `at`, its framing included; 0 when none does. */
static size_t chunk_len(const char *bytes, size_t at, size_t len)
{
    size_t size = 0, digits = 0;
    for (; at + digits < len && digits < 8; digits++) {
        const char *hex = "0123456789abcdef", *digit = strchr(hex, bytes[at + digits]);
        if (!bytes[at + digits] || !digit)
            break;
        size = size * 16 + (size_t)(digit - hex);
    }
    if (digits == 0 || at + digits + 2 > len || memcmp(bytes + at + digits, "\r\n", 2) != 0)
        return 0;
    return digits + 2 + size + 2;
}

static size_t event_end(const char *bytes, size_t at, size_t len)
{
    size_t chunk = chunk_len(bytes, at, len);
    if (chunk) /* the last event takes the end of the body along */
        return at + chunk + 5 >= len ? len : at + chunk;
    const char *from = bytes + at, *blank = memmem(from, len - at, "\n\n", 2);
    const char *line = memchr(from, '\n', len - at);
    if (blank)
        return (size_t)(blank - bytes) + 2;
    return line ? (size_t)(line - bytes) + 1 : len;
}

size_t pace_next(const struct pace *pace, const char *bytes, size_t at, size_t len)
{
    if (at >= len || pace->gap_ms == 0)
        return len;
    if (pace->kind == PACE_DRIP)
        return less(len, at + pace->bytes);
    return less(len, event_end(bytes, at, len));
}

size_t pace_first(const struct pace *pace, const char *bytes, size_t head_len, size_t len)
{
    if (head_len >= len || (pace->kind != PACE_DRIP && pace->kind != PACE_EVENTS))
        return len;
    if (pace->kind == PACE_DRIP || pace->first_ms)
        return head_len;
    return pace_next(pace, bytes, head_len, len);
}
