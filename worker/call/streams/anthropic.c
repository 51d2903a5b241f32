/*
 * anthropic.c -- the events of Anthropic's Messages.
 *
 * Format: Server-Sent Events, each with its name as `type` in the data too. message_start has id,
 * model and the prompt's tokens; content blocks start, get deltas and stop; message_delta has the
 * stop_reason and the tokens so far, which are the final count then; message_stop is the end.
 * Pings, thinking and events that are new to us are passed over.
 */
#include "worker/call/providers/anthropic.h"
#include "worker/call/stream.h"

static const struct stream_named_status statuses[] = {
    {"invalid_request_error", 400},
    {"authentication_error", 401},
    {"billing_error", 402},
    {"permission_error", 403},
    {"not_found_error", 404},
    {"request_too_large", 413},
    {"rate_limit_error", 429},
    {"api_error", 500},
    {"timeout_error", 504},
    {"overloaded_error", 529},
    {NULL, 0},
};

/* A count that is missing, or 0 where another one stood, leaves what was told before. */
static void note_count(int64_t *count, const struct value *usage, const char *key)
{
    int64_t n = provider_count(usage, key);
    if (n > 0)
        *count = n;
}

/* Their input leaves out what was read from and written to the cache; ours includes it. */
static void read_usage(struct stream *stream, const struct value *usage)
{
    note_count(&stream->counts[0], usage, "input_tokens");
    note_count(&stream->counts[1], usage, "cache_creation_input_tokens");
    note_count(&stream->usage.cached_input, usage, "cache_read_input_tokens");
    note_count(&stream->usage.output, usage, "output_tokens");
    stream->usage.cache_write = stream->counts[1];
    stream->usage.input = stream->counts[0] + stream->counts[1] + stream->usage.cached_input;
}

static bool message_start(struct stream *stream, const struct value *document, struct err *err)
{
    const struct value *message = value_get_map(document, "message");
    read_usage(stream, value_get_map(message, "usage"));
    return stream_keep(stream, &stream->id, value_get_str(message, "id"), err) &&
           stream_keep(stream, &stream->model, value_get_str(message, "model"), err);
}

static bool block_start(struct stream *stream, const struct value *document, struct err *err)
{
    const struct value *block = value_get_map(document, "content_block");
    struct str type = value_get_str(block, "type");
    if (str_is(type, "text"))
        return stream_add_text(stream, value_get_str(block, "text"), err);
    if (!str_is(type, "tool_use"))
        return true;
    struct stream_call *call = stream_add_call(stream, value_get_int(document, "index", 0), err);
    return call && stream_keep(stream, &call->id, value_get_str(block, "id"), err) &&
           stream_keep(stream, &call->name, value_get_str(block, "name"), err);
}

static bool block_delta(struct stream *stream, const struct value *document, struct err *err)
{
    const struct value *delta = value_get_map(document, "delta");
    struct str type = value_get_str(delta, "type");
    if (str_is(type, "text_delta"))
        return stream_add_text(stream, value_get_str(delta, "text"), err);
    if (!str_is(type, "input_json_delta"))
        return true;
    struct stream_call *call = stream_find_call(stream, value_get_int(document, "index", 0));
    return !call || /* of a block that is no call of ours, a server tool's */
           stream_add(stream, &call->arguments, value_get_str(delta, "partial_json"), err);
}

static bool message_delta(struct stream *stream, const struct value *document, struct err *err)
{
    const struct value *usage = value_get_map(document, "usage");
    struct str reason = value_get_str(value_get_map(document, "delta"), "stop_reason");
    (void)err;
    if (!str_empty(reason))
        stream_set_reason(stream, reason);
    read_usage(stream, usage);
    stream->usage_known |= usage != NULL;
    return true;
}

static bool message_stop(struct stream *stream, const struct value *document, struct err *err)
{
    (void)document;
    (void)err;
    stream->finished = stream->over = true;
    return true;
}

struct named_event {
    const char *type;
    bool (*read)(struct stream *stream, const struct value *document, struct err *err);
};

/* The most frequent first. */
static const struct named_event named_events[] = {
    {"content_block_delta", block_delta}, {"content_block_start", block_start},
    {"message_start", message_start},     {"message_delta", message_delta},
    {"message_stop", message_stop},
};

static bool event(struct stream *stream, const struct stream_event *event, struct err *err)
{
    struct str type = value_get_str(event->document, "type");
    if (str_empty(type))
        type = event->type;
    if (str_is(type, "error")) {
        struct str name = value_get_str(value_get_map(event->document, "error"), "type");
        return stream_vendor_error(stream, event, stream_status_of(statuses, name, 500), err);
    }
    for (size_t i = 0; i < sizeof(named_events) / sizeof(named_events[0]); i++)
        if (str_is(type, named_events[i].type))
            return named_events[i].read(stream, event->document, err);
    return true;
}

/* Arguments came in pieces with blanks between them; whole replies have them compact. What is not
 * JSON (a model that was stopped within them) stays as it is. */
static void settle_arguments(struct stream *stream, struct stream_call *call)
{
    struct value input;
    struct err why;
    if (!call->arguments.len)
        buf_add_str(&call->arguments, STR("{}"));
    arena_reset(&stream->scratch);
    if (!json_read(buf_str(&call->arguments), &stream->scratch, &input, &why))
        return;
    buf_clear(&call->arguments);
    json_write(&input, &call->arguments);
}

static bool finish(struct stream *stream, struct answer *ret, struct err *err)
{
    (void)err;
    stream->has_content = true;
    ret->finish_reason = anthropic_finish_reason(ret->finish_reason);
    for (size_t i = 0; i < stream->call_count; i++)
        settle_arguments(stream, &stream->calls[i]);
    return true;
}

const struct provider_stream provider_stream_anthropic = {
    .framing = STREAM_SSE,
    .event = event,
    .finish = finish,
};
