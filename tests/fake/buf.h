/*
 * buf.h -- bytes that grow, and bytes that belong to somebody else.
 *
 * `struct buf` owns its memory and grows by doubling; `struct slice` only points. Running out of
 * memory ends the program: a stand-in for a provider has nothing better to do.
 *
 * A zeroed struct buf is empty and valid. After buf_done() it is so again.
 */
#ifndef FAKE_BUF_H
#define FAKE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *at;
    size_t len;
};

struct buf {
    char *at;
    size_t len;
    size_t cap;
};

void *xcalloc(size_t count, size_t size);

/* Makes room for `extra` more bytes. */
void buf_reserve(struct buf *buf, size_t extra);

void buf_add(struct buf *buf, const void *bytes, size_t len);
void buf_text(struct buf *buf, const char *text);
void buf_format(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A JSON string, quotes included. The bytes must be UTF-8; control characters are escaped. */
void buf_json(struct buf *buf, struct slice text);

/* A non-negative number in decimal; several times cheaper than buf_format. */
void buf_number(struct buf *buf, unsigned long long number);

void buf_done(struct buf *buf);

static inline struct slice slice_of(const char *text)
{
    return (struct slice){.at = text, .len = strlen(text)};
}

static inline struct slice buf_slice(const struct buf *buf)
{
    return (struct slice){.at = buf->at, .len = buf->len};
}

static inline bool slice_is(struct slice slice, const char *text)
{
    size_t len = strlen(text);
    return slice.len == len && (len == 0 || memcmp(slice.at, text, len) == 0);
}

#endif
