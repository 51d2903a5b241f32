/*
 * buf.c -- a growing byte buffer.
 *
 * Memory doubles, starting at 64 bytes, and never exceeds max + 1 (the NUL). Once a piece was
 * dropped everything after it is dropped too until buf_clear(): what is there is always a true
 * beginning of what was meant, never a text with a hole.
 */
#include "common/base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"

#define CAP_FIRST 64

void buf_init(struct buf *buf, size_t max_bytes)
{
    must(max_bytes < SIZE_MAX);
    *buf = (struct buf){.max = max_bytes};
}

void buf_done(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){.max = buf->max};
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->overflowed = false;
    if (buf->data)
        buf->data[0] = '\0';
}

static bool make_more_room(struct buf *buf, size_t more)
{
    if (buf->overflowed || more > buf->max - buf->len) {
        buf->overflowed = true;
        return false;
    }
    size_t need = buf->len + more + 1;
    if (need <= buf->cap)
        return true;
    size_t cap = buf->cap ? buf->cap : CAP_FIRST;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap > buf->max + 1)
        cap = buf->max + 1;
    buf->data = xrealloc(buf->data, cap);
    buf->cap = cap;
    return true;
}

/* Makes room for `more` bytes and their NUL; false when that would pass the maximum. */
static inline bool make_room(struct buf *buf, size_t more)
{
    bool fits = more < buf->cap - buf->len && more <= buf->max - buf->len && !buf->overflowed;
    return fits || make_more_room(buf, more);
}

void buf_reserve(struct buf *buf, size_t bytes)
{
    if (!buf->overflowed && bytes <= buf->max - buf->len)
        make_room(buf, bytes);
}

void buf_add(struct buf *buf, const void *data, size_t len)
{
    if (len == 0 || !make_room(buf, len))
        return;
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void buf_add_str(struct buf *buf, struct str s)
{
    buf_add(buf, s.data, s.len);
}

void buf_add_char(struct buf *buf, char c)
{
    buf_add(buf, &c, 1);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_vprintf(buf, format, args);
    va_end(args);
}

void buf_vprintf(struct buf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    size_t room = buf->cap > buf->len ? buf->cap - buf->len : 0;
    char *at = room ? buf->data + buf->len : NULL;
    int wanted = vsnprintf(at, room, format, args);
    must(wanted >= 0);

    size_t len = (size_t)wanted;
    if (!make_room(buf, len)) {
        if (room)
            *at = '\0'; /* what was tried above is no content */
    } else if (buf->cap) {
        if (len >= room)
            vsnprintf(buf->data + buf->len, buf->cap - buf->len, format, again);
        buf->len += len;
    }
    va_end(again);
}

/* What stands for a byte that may not stand for itself within a JSON string; NULL: itself. */
static const char *json_escape(unsigned char c, char room[8])
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
    default:
        if (c >= 0x20 && c != 0x7f)
            return NULL;
        snprintf(room, 8, "\\u%04x", c);
        return room;
    }
}

/* ASCII that stands for itself; most of what we write is nothing else. */
static bool json_plain(char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* The high bit of each byte that is less than n (by "Bit Twiddling Hacks", S. E. Anderson). A carry
 * may mark a byte behind such a one, too; none is left out. */
static inline uint64_t less_than(uint64_t bytes, uint64_t n)
{
    return (bytes - UINT64_C(0x0101010101010101) * n) & ~bytes;
}

/* json_plain() of eight bytes at once; may say no when it is true, never the other way round. */
static bool json_plain_eight(const char *at)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t eight;
    memcpy(&eight, at, sizeof(eight));
    uint64_t odd = eight | less_than(eight, 0x20) | less_than(eight ^ ones * 0x7f, 1) |
                   less_than(eight ^ ones * '"', 1) | less_than(eight ^ ones * '\\', 1);
    return (odd & ones << 7) == 0;
}

void buf_add_json_str(struct buf *buf, struct str s)
{
    buf_add_char(buf, '"');
    size_t plain = 0; /* start of the run that is copied as it is */
    for (size_t at = 0; at < s.len;) {
        if (s.len - at >= 8 && json_plain_eight(s.data + at)) {
            at += 8;
            continue;
        }
        if (json_plain(s.data[at])) {
            at++;
            continue;
        }
        char room[8];
        size_t step = str_utf8_step(str_slice(s, at, s.len));
        const char *instead =
            step == 0 ? "\xef\xbf\xbd" : json_escape((unsigned char)s.data[at], room);
        if (!instead) {
            at += step;
            continue;
        }
        buf_add(buf, s.data + plain, at - plain);
        buf_add_str(buf, str_of(instead));
        at += 1;
        plain = at;
    }
    buf_add_str(buf, str_slice(s, plain, s.len));
    buf_add_char(buf, '"');
}

void buf_drop_front(struct buf *buf, size_t n)
{
    must(n <= buf->len);
    if (n == 0)
        return;
    memmove(buf->data, buf->data + n, buf->len - n + 1);
    buf->len -= n;
}
