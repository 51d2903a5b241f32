/*
 * redis_resp.h -- writing commands in Redis' protocol; pure.
 *
 * *2\r\n$3\r\nGET\r\n$1\r\nk\r\n: a header with the number of words, then each word with its
 * length. Written by hand because hiredis formats each command into memory of its own, with printf.
 */
#ifndef QUERN_COMMON_IO_REDIS_RESP_H
#define QUERN_COMMON_IO_REDIS_RESP_H

#include "common/base/buf.h"
#include "common/base/str.h"

/* What a word takes at most beyond its own bytes; also covers the header. */
#define REDIS_RESP_OVERHEAD 32

void redis_resp_header(struct buf *out, size_t count);
void redis_resp_word(struct buf *out, struct str word);
void redis_resp_command(struct buf *out, const struct str *words, size_t count);
/* An upper bound of what redis_resp_command() writes. */
size_t redis_resp_size(const struct str *words, size_t count);

#endif
