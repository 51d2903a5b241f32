/*
 * prompt.h -- what a vendor's request asks, reduced to what an answer needs.
 *
 * Reads the JSON of one of six dialects, refuses what the vendor would refuse, and digests the
 * conversation. A system text that stands outside of the messages (Anthropic, Ollama generate)
 * counts as a first message of role "system", so that one conversation has one digest in every
 * dialect.
 *
 * To add a dialect: a value here, a row in `readers` (prompt.c), its replies in reply.c and
 * stream.c, its path in service.c.
 */
#ifndef FAKE_PROMPT_H
#define FAKE_PROMPT_H

#include "tests/fake/buf.h"

#include <stdint.h>

enum dialect {
    OPENAI_CHAT,
    ANTHROPIC_MESSAGES,
    OLLAMA_CHAT,
    OLLAMA_GENERATE,
    OPENAI_EMBED, /* texts into vectors: embed.h */
    OLLAMA_EMBED,
};

#define MODEL_NAME_MAX  255
#define LAST_CHARS      40 /* of the last user message, in the answer */
#define EMBED_TEXTS_MAX 2048

struct prompt {
    char model[MODEL_NAME_MAX + 1];
    bool stream;
    bool include_usage;  /* OpenAI stream_options */
    uint64_t max_tokens; /* the most output it allows; 0: it does not say */
    uint64_t digest;
    size_t turns;
    size_t content_bytes;
    const uint64_t *texts; /* to be embedded: their digests, until the next request is read */
    size_t text_count, dimensions;
    bool base64;
    struct {
        char bytes[LAST_CHARS * 4];
        size_t len;
        size_t chars;
    } last;
};

/* `model` stands in for the body's when it is not empty. On false `ret_why` is a sentence for the
 * error body (static or of the thread); the model is known if it could be read. */
bool prompt_read(enum dialect dialect, struct slice model, struct slice body, struct prompt *ret,
                 const char **ret_why);

/* Four bytes are a token, a broken one counts whole. */
static inline size_t tokens_of(size_t bytes)
{
    return (bytes + 3) / 4;
}

#endif
