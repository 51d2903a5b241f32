/*
 * gzip.c -- stored blocks between a header and a checksum (RFC 1951, RFC 1952); see gzip.h.
 */
#include "tests/fake/gzip.h"

#include <stdint.h>

#define BLOCK_MAX ((size_t)65535)

static uint32_t crc32_of(struct slice bytes)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < bytes.len; i++) {
        crc ^= (unsigned char)bytes.at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
    }
    return ~crc;
}

static void little(struct buf *out, uint32_t number, size_t len)
{
    for (size_t i = 0; i < len; i++, number >>= 8)
        buf_add(out, &(char){(char)(number & 0xff)}, 1);
}

static void block(struct buf *out, const char *at, size_t len, bool last)
{
    little(out, last, 1);
    little(out, (uint32_t)len, 2);
    little(out, (uint32_t)~len & 0xffff, 2);
    buf_add(out, at, len);
}

void gzip_wrap(struct buf *buf)
{
    struct buf out = {0};
    struct slice rest = buf_slice(buf);
    buf_add(&out, "\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
    do {
        size_t len = rest.len < BLOCK_MAX ? rest.len : BLOCK_MAX;
        block(&out, rest.at, len, len == rest.len);
        rest = (struct slice){.at = rest.at + len, .len = rest.len - len};
    } while (rest.len);
    little(&out, crc32_of(buf_slice(buf)), 4);
    little(&out, (uint32_t)buf->len, 4);
    buf_done(buf);
    *buf = out;
}
