/*
 * redis_resp.c -- one command after the other into one growing buffer.
 */
#include "common/io/redis_resp.h"

static void add_prefix(struct buf *out, char sign, size_t number)
{
    char text[24];
    char *at = text + sizeof(text);
    *--at = '\n';
    *--at = '\r';
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    *--at = sign;
    buf_add(out, at, (size_t)(text + sizeof(text) - at));
}

void redis_resp_header(struct buf *out, size_t count)
{
    add_prefix(out, '*', count);
}

void redis_resp_word(struct buf *out, struct str word)
{
    add_prefix(out, '$', word.len);
    buf_add_str(out, word);
    buf_add(out, "\r\n", 2);
}

void redis_resp_command(struct buf *out, const struct str *words, size_t count)
{
    redis_resp_header(out, count);
    for (size_t i = 0; i < count; i++)
        redis_resp_word(out, words[i]);
}

size_t redis_resp_size(const struct str *words, size_t count)
{
    size_t size = REDIS_RESP_OVERHEAD;
    for (size_t i = 0; i < count; i++)
        size += words[i].len + REDIS_RESP_OVERHEAD;
    return size;
}
