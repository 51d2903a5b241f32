/*
 * ollama.c -- the lines of Ollama's /api/chat and /api/generate.
 *
 * Format: one JSON object a line; ollama docs/api.md. `message.content` or `response` is the next
 * piece of text; tool calls come whole; the last line has "done":true, the reason and the tokens.
 */
#include "worker/call/stream.h"

/* Their calls have no ids; as in whole replies, ids are made by place and arguments become text. */
static bool read_call(struct stream *stream, const struct value *theirs, struct err *err)
{
    const struct value *function = value_get_map(theirs, "function");
    size_t place = stream->call_count;
    struct stream_call *call = stream_add_call(stream, (int64_t)place, err);
    struct buf arguments;
    if (!call)
        return false;
    buf_init(&arguments, stream->limits.answer_bytes_max);
    json_write(value_get(function, STR("arguments")), &arguments);
    bool good = stream_add(stream, &call->arguments, buf_str(&arguments), err);
    if (arguments.overflowed)
        err_set(err, ERR_TOO_BIG, "a tool call's arguments are larger than %zu bytes",
                arguments.max);
    good = good && !arguments.overflowed;
    buf_done(&arguments);
    return good && stream_keep(stream, &call->name, value_get_str(function, "name"), err) &&
           stream_keep(stream, &call->id, arena_printf(&stream->scratch, "call_%zu", place), err);
}

static bool read_message(struct stream *stream, const struct value *document, struct err *err)
{
    const struct value *message = value_get_map(document, "message");
    const struct value *calls = value_get_list(message, "tool_calls");
    struct str response = value_get_str(document, "response");
    if (!message && !response.data)
        return true;
    stream->has_content = true;
    if (message)
        response = provider_content_text(value_get(message, STR("content")), &stream->scratch);
    for (uint32_t i = 0; calls && i < calls->count; i++)
        if (!read_call(stream, &calls->items[i], err))
            return false;
    return stream_add_text(stream, response, err);
}

static void read_end(struct stream *stream, const struct value *document)
{
    stream_set_reason(stream, value_get_str(document, "done_reason"));
    stream->usage_known = value_get(document, STR("prompt_eval_count")) != NULL ||
                          value_get(document, STR("eval_count")) != NULL;
    stream->usage.input = provider_count(document, "prompt_eval_count");
    stream->usage.output = provider_count(document, "eval_count");
    stream->finished = stream->over = true;
}

static bool event(struct stream *stream, const struct stream_event *event, struct err *err)
{
    const struct value *document = event->document;
    const struct value *error = value_get(document, STR("error"));
    const struct value *done = value_get(document, STR("done"));
    if (error && error->kind != VALUE_NULL)
        return stream_vendor_error(stream, event, error->kind == VALUE_STR ? 200 : 500, err);
    if (!stream_keep(stream, &stream->model, value_get_str(document, "model"), err) ||
        !read_message(stream, document, err))
        return false;
    if (done && done->kind == VALUE_BOOL && done->truth)
        read_end(stream, document);
    return true;
}

static bool finish(struct stream *stream, struct answer *ret, struct err *err)
{
    if (stream->call_count)
        ret->finish_reason = STR("tool_calls");
    if (!stream->has_content)
        err_set(err, ERR_PROVIDER_BAD_REPLY,
                "the provider's stream has neither a message nor a response");
    return stream->has_content;
}

const struct provider_stream provider_stream_ollama = {
    .framing = STREAM_LINES,
    .event = event,
    .finish = finish,
};
