/*
 * stream.h -- reading a provider's streamed reply while it arrives.
 *
 * The caller feeds the body's bytes as they come and asks for chunks; in the end it says how the
 * body ended and gets the same `struct answer` that decode() makes of a whole reply:
 *
 *     stream = stream_new(provider, &limits, arena);
 *     stream_feed(stream, bytes);
 *     while ((step = stream_next(stream, &chunk)) == STREAM_CHUNK)
 *         ..
 *     ..
 *     stream_close(stream, STREAM_END_CLEAN);
 *     while (stream_next(stream, &chunk) == STREAM_CHUNK)
 *         ..
 *     if (stream_finish(stream, &answer, &err))
 *         ..
 *
 * What is complete: a stream is an answer only with its finish marker, in an event (a line) that
 * came whole.
 *
 *     openai     a finish_reason of choice 0, no text behind it, and then `[DONE]`; or, for servers
 *                that send no `[DONE]`, the clean end of the body
 *     anthropic  message_stop
 *     ollama     a line with "done":true
 *
 * Everything else is an error: the vendor's own when it sent one, ERR_PROVIDER_BAD_REPLY when it
 * could not be understood, ERR_TOO_BIG beyond a limit, and ERR_PROVIDER_CUT when it just ended. The
 * answer is filled all the same with what had come, for its tokens may be paid. Behind the end
 * marker nothing is looked at.
 *
 * A stream opens no socket, reads no clock and does not log. Its memory is the arena's, which
 * releases it; the limits bound it.
 *
 * To add a vendor: see README.md.
 */
#ifndef QUERN_WORKER_CALL_STREAM_H
#define QUERN_WORKER_CALL_STREAM_H

#include "common/data/lines.h"
#include "common/data/sse.h"
#include "worker/call/provider.h"

struct openai_form;
struct stream;

/* One event, as far as a vendor's row sees it; `document` lives until the row returns. */
struct stream_event {
    struct str type;              /* of Server-Sent Events; "" otherwise */
    struct str data;              /* as it came */
    const struct value *document; /* a map; NULL when data is one of the row's `plain` words */
};

/* A vendor's way to stream: a row of pure functions. encode() writes what asks for it when the
 * prompt says `stream`. */
struct provider_stream {
    enum stream_framing { STREAM_SSE, STREAM_LINES } framing;
    const char *plain;              /* the one event that is no JSON; NULL: there is none */
    const struct openai_form *form; /* of OpenAI's form (openai_form.h); NULL: of another */

    /* Takes one event: adds text and calls, notes ids and usage, sets `finished` and `over`. False
     * with the vendor's error, or when it cannot be understood. */
    bool (*event)(struct stream *stream, const struct stream_event *event, struct err *err);

    /* What remains to be done to a complete answer; stream_finish() has filled it. */
    bool (*finish)(struct stream *stream, struct answer *ret, struct err *err);
};

extern const struct provider_stream provider_stream_anthropic;
extern const struct provider_stream provider_stream_ollama;

struct stream_limits {
    size_t event_bytes_max;  /* one event or line */
    size_t answer_bytes_max; /* text, reasoning, tool calls and names together */
    size_t stream_bytes_max; /* the body, whatever is in it */
};

enum stream_step {
    STREAM_CHUNK,  /* text came; there may be more */
    STREAM_MORE,   /* everything fed was read */
    STREAM_OVER,   /* the end marker came; the rest of the body does not matter */
    STREAM_FAILED, /* no answer will come of it; stream_finish() says why */
};

struct stream_chunk {
    struct str text; /* never empty; valid until the next call */
    bool first;      /* the first text of this answer */
};

/* How the body ended: as it should, with a lost connection, or because nobody waited longer. */
enum stream_end { STREAM_END_CLEAN, STREAM_END_RESET, STREAM_END_TIMEOUT };

/* True when a reply of this status and Content-Type is to be read as a stream; otherwise decode()
 * reads it whole: errors, and servers that do not know how to stream. */
bool stream_expected(const struct provider_stream *row, int status, struct str content_type);

/* The provider's `stream` must not be NULL. Released with the arena. */
struct stream *stream_new(const struct provider *provider, const struct stream_limits *limits,
                          struct arena *arena);
/* The bytes must stay until stream_next() returns something else than STREAM_CHUNK. */
void stream_feed(struct stream *stream, struct str bytes);
/* STREAM_OVER and STREAM_FAILED stay. */
enum stream_step stream_next(struct stream *stream, struct stream_chunk *ret);
/* A token came, of text, reasoning or a call; ids and roles are none. */
bool stream_has_begun(const struct stream *stream);
/* The body has ended; stream_next() may still have a chunk of what stood behind its last line end.
 */
void stream_close(struct stream *stream, enum stream_end end);
/* Once, when it is closed and stream_next() has no more. On failure `ret` has what had come before:
 * text, ids and the tokens told so far, with usage_known only when they are the final count. */
bool stream_finish(struct stream *stream, struct answer *ret, struct err *err);

/* For the rows. */

#define STREAM_CALLS_MAX 128

struct stream_call {
    int64_t index; /* the vendor's */
    struct str id, name;
    struct buf arguments; /* JSON, piece by piece */
};

struct stream {
    const struct provider *provider;
    struct stream_limits limits;
    struct arena *arena;
    struct sse sse; /* one of both, see framing */
    struct lines lines;
    struct arena scratch; /* of one event */
    size_t bytes, events; /* read so far */
    bool is_too_long;     /* more came than the limit lets in */

    /* What rows note. */
    struct buf text, refusal;
    struct buf reasoning; /* no part of the text; the message keeps it */
    bool has_content;     /* a content came, even an empty one */
    struct stream_call *calls;
    size_t call_count;
    struct str id, model;
    char finish_reason[64]; /* the vendor's; "": none yet */
    struct usage usage;
    int64_t counts[2]; /* of tokens, as the vendor tells them apart */
    bool usage_known;
    bool finished;       /* the finish marker came */
    bool over;           /* the end marker came */
    size_t answer_bytes; /* of all that is kept */

    bool closed, rest_read;
    enum stream_end end; /* when closed */
    bool failed;
    struct err err;
};

/* Each returns false with ERR_TOO_BIG when the answer would pass its limit. */
bool stream_add(struct stream *stream, struct buf *to, struct str piece, struct err *err);
bool stream_add_text(struct stream *stream, struct str piece, struct err *err);
/* Sets *to once, to a copy; what is absent or empty sets nothing. */
bool stream_keep(struct stream *stream, struct str *to, struct str value, struct err *err);
void stream_set_reason(struct stream *stream, struct str reason);
/* The newest call of this index, NULL when there is none. */
struct stream_call *stream_find_call(struct stream *stream, int64_t index);
/* NULL with an error beyond STREAM_CALLS_MAX. */
struct stream_call *stream_add_call(struct stream *stream, int64_t index, struct err *err);
/* The error that the vendor would have answered with this status and the event as its body. */
bool stream_vendor_error(struct stream *stream, const struct stream_event *event, int status,
                         struct err *err);
/* A vendor's name of an error and the status that belongs to it. */
struct stream_named_status {
    const char *name;
    int status;
};
/* The status of the first name that is `name`; `otherwise` when none is. Ends with a NULL name. */
int stream_status_of(const struct stream_named_status *table, struct str name, int otherwise);

#endif
