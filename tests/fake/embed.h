/*
 * embed.h -- texts into vectors, so that a vector in the wrong place shows: number k of a text's
 * vector follows from the digest of the text and k, see README.md.
 *
 * OpenAI promises no order of the vectors, so they come last first, each with its index. Models
 * fake-embed-short, -twice, -lengths and -nan leave the last one out, give index 0 to all, make the
 * last one longer, and have a number that is none.
 */
#ifndef FAKE_EMBED_H
#define FAKE_EMBED_H

#include "tests/fake/reply.h"

#include <yyjson.h>

static inline bool embeds(enum dialect dialect)
{
    return dialect == OPENAI_EMBED || dialect == OLLAMA_EMBED;
}

/* False: `ret_why` says what is wrong with the request. */
bool embed_read(yyjson_val *root, struct prompt *prompt, const char **ret_why);
/* Whole answers of both dialects. */
void embed_openai(const struct reply *reply, struct buf *out);
void embed_ollama(const struct reply *reply, struct buf *out);

#endif
