/*
 * buf.c -- growing bytes; see buf.h.
 *
 * JSON strings are written in runs: only the bytes that need an escape interrupt a copy.
 */
#include "tests/fake/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_CAP_MIN 256

static void *checked(void *memory)
{
    if (!memory) {
        fputs("quern-fake: out of memory\n", stderr);
        abort();
    }
    return memory;
}

void *xcalloc(size_t count, size_t size)
{
    return checked(calloc(count, size));
}

void buf_reserve(struct buf *buf, size_t extra)
{
    if (buf->cap - buf->len >= extra)
        return;
    size_t cap = buf->cap ? buf->cap * 2 : BUF_CAP_MIN;
    if (cap < buf->len + extra)
        cap = buf->len + extra;
    buf->at = checked(realloc(buf->at, cap));
    buf->cap = cap;
}

void buf_add(struct buf *buf, const void *bytes, size_t len)
{
    if (len == 0)
        return;
    buf_reserve(buf, len);
    memcpy(buf->at + buf->len, bytes, len);
    buf->len += len;
}

void buf_text(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

void buf_format(struct buf *buf, const char *format, ...)
{
    buf_reserve(buf, 128);
    for (;;) {
        size_t room = buf->cap - buf->len;
        va_list args;
        va_start(args, format);
        int need = vsnprintf(buf->at + buf->len, room, format, args);
        va_end(args);
        if (need < 0)
            abort();
        if ((size_t)need < room) {
            buf->len += (size_t)need;
            return;
        }
        buf_reserve(buf, (size_t)need + 1);
    }
}

void buf_number(struct buf *buf, unsigned long long number)
{
    char digits[24];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    buf_add(buf, digits + at, sizeof(digits) - at);
}

static void json_escape(struct buf *buf, unsigned char byte)
{
    switch (byte) {
    case '"':
        buf_text(buf, "\\\"");
        return;
    case '\\':
        buf_text(buf, "\\\\");
        return;
    case '\n':
        buf_text(buf, "\\n");
        return;
    case '\r':
        buf_text(buf, "\\r");
        return;
    case '\t':
        buf_text(buf, "\\t");
        return;
    default:
        buf_format(buf, "\\u%04x", byte);
    }
}

void buf_json(struct buf *buf, struct slice text)
{
    buf_reserve(buf, text.len + 2);
    buf_add(buf, "\"", 1);
    size_t run = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\')
            continue;
        buf_add(buf, text.at + run, i - run);
        json_escape(buf, byte);
        run = i + 1;
    }
    buf_add(buf, text.at + run, text.len - run);
    buf_add(buf, "\"", 1);
}

void buf_done(struct buf *buf)
{
    free(buf->at);
    *buf = (struct buf){0};
}
