/*
 * reply.h -- writes answers in each vendor's form; errors are errors.h's.
 *
 * Everything is a function of its arguments; the caller brings the time. Whole answers are in
 * reply.c, streamed ones in stream.c.
 */
#ifndef FAKE_REPLY_H
#define FAKE_REPLY_H

#include "tests/fake/plan.h"
#include "tests/fake/prompt.h"

struct reply {
    enum dialect dialect;
    enum vendor vendor;
    const struct prompt *prompt;
    struct slice text;
    uint64_t id; /* makes the vendor's ids */
    uint64_t wall_ms;
    uint64_t delay_ms;
    bool cut_by_length; /* stop reason: the token limit */
    bool empty;         /* no choices at all */
    enum usage usage;
    enum finish finish;
    bool broken;         /* a stream: an error event ends it, */
    size_t broken_after; /* when so many bytes of the text were sent */
};

/* digest=<16 hex> turns=<n> last="<first characters of the last user message>", padded to
 * `bytes_min`. */
void reply_text(const struct prompt *prompt, size_t bytes_min, struct buf *out);

void reply_whole(const struct reply *reply, struct buf *out);

/* The same as a stream, framed in HTTP chunks unless `plain`. */
void reply_stream(const struct reply *reply, bool plain, struct buf *out);

/* The content type that reply_stream() writes. */
const char *reply_stream_type(enum dialect dialect);

/* RFC 3339 with milliseconds, as Ollama writes it. */
void reply_time(uint64_t wall_ms, struct buf *out);

/* One more piece of the text, as an event of the stream. */
void reply_stream_more(const struct reply *reply, bool plain, struct buf *out);

/* The counters of an Ollama reply, beginning with a comma. */
void reply_ollama_counts(const struct reply *reply, struct buf *out);

/* The usage object of an OpenAI reply. */
void reply_openai_usage(const struct reply *reply, struct buf *out);

/* `"NAME":` with the number of input or output tokens as the answer claims it. */
void reply_tokens(const struct reply *reply, const char *name, bool input, struct buf *out);

/* Of the input, when the model's name is cached-PERCENT: read from the cache; half of the rest is
 * written to it. Anthropic's input leaves both out, OpenAI's has them in it. */
size_t reply_cached(const struct reply *reply);
size_t reply_written(const struct reply *reply);

/* The error that comes after the status line was 200. */
void reply_error200(const struct reply *reply, struct buf *out);

#endif
