/*
 * stream.c -- streamed answers: SSE for OpenAI and Anthropic, JSON lines for Ollama; see reply.h.
 *
 * The whole stream is written at once, every event as an HTTP chunk of its own; the text is cut
 * into at most about PIECES pieces, never inside a code point. When which event goes out is the
 * pace's business (pace.h).
 */
#include "tests/fake/reply.h"

#include "tests/fake/digest.h"

#define PIECES          64
#define PIECE_BYTES_MIN 16

struct stream {
    const struct reply *reply;
    bool plain;
    struct buf event;
    struct buf *out;
};

/* Sends what stands in `event` as one chunk. */
static void event_end(struct stream *stream)
{
    if (!stream->plain)
        buf_format(stream->out, "%zx\r\n", stream->event.len);
    buf_add(stream->out, stream->event.at, stream->event.len);
    if (!stream->plain)
        buf_text(stream->out, "\r\n");
    stream->event.len = 0;
}

static bool utf8_starts(char byte)
{
    return ((unsigned char)byte & 0xc0) != 0x80;
}

/* Takes the next piece off `rest`. */
static struct slice piece(struct slice *rest, size_t whole)
{
    size_t len = whole / PIECES > PIECE_BYTES_MIN ? whole / PIECES : PIECE_BYTES_MIN;
    if (len > rest->len)
        len = rest->len;
    while (len < rest->len && !utf8_starts(rest->at[len]))
        len++;
    struct slice head = {.at = rest->at, .len = len};
    *rest = (struct slice){.at = rest->at + len, .len = rest->len - len};
    return head;
}

static void openai_begin(struct stream *stream)
{
    const struct reply *reply = stream->reply;
    char hex[16];
    digest_hex(reply->id, hex);
    buf_format(&stream->event,
               "data: {\"id\":\"chatcmpl-%.16s\",\"object\":\"chat.completion.chunk\","
               "\"created\":%llu,\"model\":",
               hex, (unsigned long long)(reply->wall_ms / 1000));
    buf_json(&stream->event, slice_of(reply->prompt->model));
    buf_text(&stream->event, ",\"system_fingerprint\":\"fp_fake\",\"choices\":[");
}

static void openai_end(struct stream *stream)
{
    if (stream->reply->prompt->include_usage)
        buf_text(&stream->event, ",\"usage\":null");
    buf_text(&stream->event, "}\n\n");
    event_end(stream);
}

/* One choice with this delta; `content` NULL leaves it empty. */
static void openai_delta(struct stream *stream, bool first, const struct slice *content,
                         const char *finish_reason)
{
    openai_begin(stream);
    buf_text(&stream->event, "{\"index\":0,\"delta\":{");
    if (first)
        buf_text(&stream->event, "\"role\":\"assistant\",");
    if (content) {
        buf_text(&stream->event, "\"content\":");
        buf_json(&stream->event, *content);
    }
    buf_text(&stream->event, "},\"logprobs\":null,\"finish_reason\":");
    buf_text(&stream->event, finish_reason);
    buf_text(&stream->event, "}]");
    openai_end(stream);
}

static void openai_piece(struct stream *stream, struct slice text)
{
    openai_delta(stream, false, &text, "null");
}

static void openai_start(struct stream *stream)
{
    struct slice none = slice_of("");
    if (!stream->reply->empty)
        openai_delta(stream, true, &none, "null");
}

static void openai_usage(struct stream *stream)
{
    openai_begin(stream);
    buf_text(&stream->event, "],\"usage\":");
    reply_openai_usage(stream->reply, &stream->event);
    buf_text(&stream->event, "}\n\n");
    event_end(stream);
}

static void openai_finish(struct stream *stream)
{
    const struct reply *reply = stream->reply;
    if (!reply->empty && reply->finish != FINISH_UNSAID)
        openai_delta(stream, false, NULL, reply->cut_by_length ? "\"length\"" : "\"stop\"");
    if (reply->prompt->include_usage && reply->usage != USAGE_NONE)
        openai_usage(stream);
    if (reply->finish == FINISH_MISSING)
        return;
    buf_text(&stream->event, "data: [DONE]\n\n");
    event_end(stream);
}

static void anthropic_event(struct stream *stream, const char *name, const char *rest)
{
    buf_format(&stream->event, "event: %s\ndata: {\"type\":\"%s\"%s}\n\n", name, name, rest);
    event_end(stream);
}

static void anthropic_message(struct stream *stream)
{
    const struct reply *reply = stream->reply;
    char hex[16];
    digest_hex(reply->id, hex);
    buf_format(&stream->event,
               "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{"
               "\"id\":\"msg_%.16s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":",
               hex);
    buf_json(&stream->event, slice_of(reply->prompt->model));
    buf_text(&stream->event, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null");
    if (reply->usage != USAGE_NONE) {
        buf_text(&stream->event, ",\"usage\":{");
        reply_tokens(reply, "input_tokens", true, &stream->event);
        buf_format(&stream->event,
                   ",\"output_tokens\":1,\"cache_creation_input_tokens\":%zu,"
                   "\"cache_read_input_tokens\":%zu}",
                   reply_written(reply), reply_cached(reply));
    }
    buf_text(&stream->event, "}}\n\n");
    event_end(stream);
}

static void anthropic_start(struct stream *stream)
{
    anthropic_message(stream);
    if (stream->reply->empty)
        return;
    anthropic_event(stream, "content_block_start",
                    ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}");
    anthropic_event(stream, "ping", "");
}

static void anthropic_piece(struct stream *stream, struct slice text)
{
    buf_text(&stream->event, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\","
                             "\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":");
    buf_json(&stream->event, text);
    buf_text(&stream->event, "}}\n\n");
    event_end(stream);
}

static void anthropic_finish(struct stream *stream)
{
    const struct reply *reply = stream->reply;
    if (!reply->empty)
        anthropic_event(stream, "content_block_stop", ",\"index\":0");
    const char *reason = reply->cut_by_length ? "\"max_tokens\"" : "\"end_turn\"";
    buf_format(&stream->event,
               "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{"
               "\"stop_reason\":%s,\"stop_sequence\":null}",
               reply->finish == FINISH_UNSAID ? "null" : reason);
    if (reply->usage != USAGE_NONE) {
        buf_text(&stream->event, ",\"usage\":{");
        reply_tokens(reply, "output_tokens", false, &stream->event);
        buf_text(&stream->event, "}");
    }
    buf_text(&stream->event, "}\n\n");
    event_end(stream);
    if (reply->finish != FINISH_MISSING)
        anthropic_event(stream, "message_stop", "");
}

static void ollama_line(struct stream *stream, struct slice text, bool done)
{
    const struct reply *reply = stream->reply;
    struct buf *line = &stream->event;
    buf_text(line, "{\"model\":");
    buf_json(line, slice_of(reply->prompt->model));
    buf_text(line, ",\"created_at\":\"");
    reply_time(reply->wall_ms, line);
    buf_text(line, reply->dialect == OLLAMA_CHAT
                       ? "\",\"message\":{\"role\":\"assistant\",\"content\":"
                       : "\",\"response\":");
    buf_json(line, text);
    if (reply->dialect == OLLAMA_CHAT)
        buf_text(line, "}");
    buf_text(line, done ? ",\"done\":true" : ",\"done\":false}\n");
    if (done) {
        if (reply->finish != FINISH_UNSAID)
            buf_text(line, reply->cut_by_length ? ",\"done_reason\":\"length\""
                                                : ",\"done_reason\":\"stop\"");
        reply_ollama_counts(reply, line);
        buf_text(line, "}\n");
    }
    event_end(stream);
}

static void ollama_start(struct stream *stream)
{
    (void)stream; /* the first line is text already */
}

static void ollama_piece(struct stream *stream, struct slice text)
{
    ollama_line(stream, text, false);
}

static void ollama_finish(struct stream *stream)
{
    if (stream->reply->finish != FINISH_MISSING)
        ollama_line(stream, slice_of(""), true);
}

static const struct form {
    void (*start)(struct stream *stream);
    void (*piece)(struct stream *stream, struct slice text);
    void (*finish)(struct stream *stream);
    const char *error[2]; /* before and after an error object */
} forms[] = {
    [OPENAI_CHAT] = {openai_start, openai_piece, openai_finish, {"data: ", "\n\n"}},
    [ANTHROPIC_MESSAGES] = {anthropic_start,
                            anthropic_piece,
                            anthropic_finish,
                            {"event: error\ndata: ", "\n\n"}},
    [OLLAMA_CHAT] = {ollama_start, ollama_piece, ollama_finish, {"", "\n"}},
    [OLLAMA_GENERATE] = {ollama_start, ollama_piece, ollama_finish, {"", "\n"}},
};

/* The text, or what comes of it before the error. */
static void stream_text(struct stream *stream, const struct form *form)
{
    const struct reply *reply = stream->reply;
    struct slice rest = reply->empty ? slice_of("") : reply->text;
    while (rest.len && !(reply->broken && reply->text.len - rest.len >= reply->broken_after))
        form->piece(stream, piece(&rest, reply->text.len));
}

static void stream_error(struct stream *stream, const struct form *form)
{
    buf_text(&stream->event, form->error[0]);
    reply_error200(stream->reply, &stream->event);
    buf_text(&stream->event, form->error[1]);
    event_end(stream);
}

/* The room for an event is kept from one stream to the next. */
static struct buf event_room;

void reply_stream(const struct reply *reply, bool plain, struct buf *out)
{
    const struct form *form = &forms[reply->dialect];
    struct stream stream = {.reply = reply, .plain = plain, .event = event_room, .out = out};
    if (!reply->broken || reply->broken_after)
        form->start(&stream);
    stream_text(&stream, form);
    if (reply->broken)
        stream_error(&stream, form);
    for (int i = 0; !reply->broken && i < (reply->finish == FINISH_TWICE ? 2 : 1); i++) {
        if (reply->finish != FINISH_NEVER)
            form->finish(&stream);
    }
    if (!plain && reply->finish != FINISH_NEVER)
        buf_text(out, "0\r\n\r\n");
    event_room = stream.event;
}

void reply_stream_more(const struct reply *reply, bool plain, struct buf *out)
{
    struct stream stream = {.reply = reply, .plain = plain, .event = event_room, .out = out};
    forms[reply->dialect].piece(&stream, reply->text);
    event_room = stream.event;
}

const char *reply_stream_type(enum dialect dialect)
{
    return dialect == OPENAI_CHAT || dialect == ANTHROPIC_MESSAGES ? "text/event-stream"
                                                                   : "application/x-ndjson";
}
