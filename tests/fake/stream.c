/*
 * stream.c -- streamed answers: SSE for OpenAI and Anthropic, JSON lines for Ollama; see reply.h.
 *
 * The whole stream is written at once, every event as an HTTP chunk of its own; the text is cut
 * into at most about PIECES pieces, never inside a code point. Delays between the events are not
 * imitated.
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

static void openai_stream(struct stream *stream)
{
    const struct reply *reply = stream->reply;
    if (!reply->empty) {
        struct slice rest = reply->text, none = slice_of("");
        openai_delta(stream, true, &none, "null");
        while (rest.len) {
            struct slice part = piece(&rest, reply->text.len);
            openai_delta(stream, false, &part, "null");
        }
        openai_delta(stream, false, NULL, reply->cut_by_length ? "\"length\"" : "\"stop\"");
    }
    if (reply->prompt->include_usage) {
        openai_begin(stream);
        buf_text(&stream->event, "],\"usage\":");
        reply_openai_usage(reply, &stream->event);
        buf_text(&stream->event, "}\n\n");
        event_end(stream);
    }
    buf_text(&stream->event, "data: [DONE]\n\n");
    event_end(stream);
}

static void anthropic_event(struct stream *stream, const char *name, const char *rest)
{
    buf_format(&stream->event, "event: %s\ndata: {\"type\":\"%s\"%s}\n\n", name, name, rest);
    event_end(stream);
}

static void anthropic_start(struct stream *stream)
{
    const struct reply *reply = stream->reply;
    char hex[16];
    digest_hex(reply->id, hex);
    buf_format(&stream->event,
               "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{"
               "\"id\":\"msg_%.16s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":",
               hex);
    buf_json(&stream->event, slice_of(reply->prompt->model));
    buf_format(&stream->event,
               ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{"
               "\"input_tokens\":%zu,\"output_tokens\":1,\"cache_creation_input_tokens\":0,"
               "\"cache_read_input_tokens\":0}}}\n\n",
               tokens_of(reply->prompt->content_bytes));
    event_end(stream);
}

static void anthropic_block(struct stream *stream)
{
    struct slice rest = stream->reply->text;
    anthropic_event(stream, "content_block_start",
                    ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}");
    anthropic_event(stream, "ping", "");
    while (rest.len) {
        buf_text(&stream->event,
                 "event: content_block_delta\ndata: {\"type\":\"content_block_delta\","
                 "\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":");
        buf_json(&stream->event, piece(&rest, stream->reply->text.len));
        buf_text(&stream->event, "}}\n\n");
        event_end(stream);
    }
    anthropic_event(stream, "content_block_stop", ",\"index\":0");
}

static void anthropic_stream(struct stream *stream)
{
    const struct reply *reply = stream->reply;
    anthropic_start(stream);
    if (!reply->empty)
        anthropic_block(stream);
    buf_format(
        &stream->event,
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{"
        "\"stop_reason\":\"%s\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":%zu}}\n\n",
        reply->cut_by_length ? "max_tokens" : "end_turn", tokens_of(reply->text.len));
    event_end(stream);
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
    buf_text(line, done ? ",\"done\":true,\"done_reason\":" : ",\"done\":false}\n");
    if (done) {
        buf_text(line, reply->cut_by_length ? "\"length\"" : "\"stop\"");
        reply_ollama_counts(reply, line);
        buf_text(line, "}\n");
    }
    event_end(stream);
}

static void ollama_stream(struct stream *stream)
{
    struct slice rest = stream->reply->text;
    while (rest.len)
        ollama_line(stream, piece(&rest, stream->reply->text.len), false);
    ollama_line(stream, slice_of(""), true);
}

void reply_stream(const struct reply *reply, bool plain, struct buf *out)
{
    struct stream stream = {.reply = reply, .plain = plain, .out = out};
    switch (reply->dialect) {
    case OPENAI_CHAT:
        openai_stream(&stream);
        break;
    case ANTHROPIC_MESSAGES:
        anthropic_stream(&stream);
        break;
    case OLLAMA_CHAT:
    case OLLAMA_GENERATE:
        ollama_stream(&stream);
        break;
    }
    if (!plain)
        buf_text(out, "0\r\n\r\n");
    buf_done(&stream.event);
}

const char *reply_stream_type(enum dialect dialect)
{
    return dialect == OPENAI_CHAT || dialect == ANTHROPIC_MESSAGES ? "text/event-stream"
                                                                   : "application/x-ndjson";
}
