/*
 * buf.h -- a growing byte buffer that states its maximum when it is made.
 *
 * Appending beyond the maximum drops the piece and all that follow it and sets `overflowed`, which
 * is checked once at the end. The content is always followed by a NUL that is not counted. Memory
 * is malloc'ed.
 */
#ifndef QUERN_COMMON_BASE_BUF_H
#define QUERN_COMMON_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/str.h"

struct buf {
    char *data;
    size_t len;
    size_t cap;
    size_t max;
    bool overflowed;
};

void buf_init(struct buf *buf, size_t max_bytes); /* allocates nothing yet */
void buf_done(struct buf *buf);
void buf_clear(struct buf *buf); /* keeps the memory */
/* Room for `bytes` more in one piece, as far as the maximum goes; saves growing step by step. */
void buf_reserve(struct buf *buf, size_t bytes);
void buf_add(struct buf *buf, const void *data, size_t len);
/* For many small pieces: room for `bytes` more, to be filled at once. NULL: it is not there, and
 * buf_add() must decide. */
static inline char *buf_room(struct buf *buf, size_t bytes)
{
    bool fits = bytes < buf->cap - buf->len && bytes <= buf->max - buf->len && !buf->overflowed;
    if (!fits)
        return NULL;
    char *at = buf->data + buf->len;
    buf->len += bytes;
    at[bytes] = '\0';
    return at;
}
void buf_add_str(struct buf *buf, struct str s);
void buf_add_char(struct buf *buf, char c);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *buf, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
/* Appends `s` as a JSON string with quotes; invalid UTF-8 becomes U+FFFD. */
void buf_add_json_str(struct buf *buf, struct str s);
/* Removes the first n bytes. */
void buf_drop_front(struct buf *buf, size_t n);
static inline struct str buf_str(const struct buf *buf)
{
    return (struct str){buf->data ? buf->data : "", buf->len};
}

#endif
