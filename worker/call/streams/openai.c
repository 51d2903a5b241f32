/*
 * openai.c -- chat completion chunks, of OpenAI and of every server that speaks them.
 *
 * Format: Server-Sent Events; openai-openapi, "CreateChatCompletionStreamResponse". Each chunk has
 * deltas of its choices (we ask for one and read choice 0); with include_usage one more chunk has
 * no choices and the tokens; `[DONE]` is the end. What a vendor does otherwise is in his form, as
 * for whole replies. Where servers differ:
 *
 *   finish_reason   null or "" while the answer goes on; some set it on every chunk, so text behind
 *                   it takes it back
 *   usage           at the end, or with every chunk so far; only what comes with the finish_reason
 *                   or later is the final count
 *   tool_calls      `index` says which; where it is missing or always 0, another id is another call
 *   reasoning       in reasoning_content; it is no text, but as in a whole reply a message with
 * tool calls keeps it error           an object or a text in place of choices, or as an event named
 * "error"
 */
#include "worker/call/openai_form.h"

static const struct stream_named_status statuses[] = {
    {"invalid_request_error", 400},
    {"context_length_exceeded", 400},
    {"content_filter", 400},
    {"content_policy_violation", 400},
    {"invalid_api_key", 401},
    {"authentication_error", 401},
    {"permission_error", 403},
    {"not_found_error", 404},
    {"model_not_found", 404},
    {"insufficient_quota", 429},
    {"rate_limit_exceeded", 429},
    {"rate_limit_error", 429},
    {"too_many_requests", 429},
    {"requests", 429},
    {"tokens", 429},
    {"service_unavailable", 503},
    {"timeout", 504},
    {"timeout_error", 504},
    {"overloaded_error", 529},
    {NULL, 0},
};

/* By `code`, a name or an HTTP status, else by `type`. */
static int status_of(const struct value *error)
{
    int64_t code = value_get_int(error, "code", 0);
    if (code >= 400 && code <= 599)
        return (int)code;
    int by_type = stream_status_of(statuses, value_get_str(error, "type"), 500);
    return stream_status_of(statuses, value_get_str(error, "code"), by_type);
}

static bool read_error(struct stream *stream, const struct stream_event *event,
                       const struct value *error, struct err *err)
{
    struct stream_event wrapped = *event;
    if (error == event->document) /* it stands there without "error" around it */
        wrapped.data =
            arena_printf(&stream->scratch, "{\"error\":" STR_FMT "}", STR_ARG(event->data));
    return stream_vendor_error(stream, &wrapped, status_of(error), err);
}

static const struct value *error_of(const struct stream_event *event)
{
    const struct value *error = openai_form_find_error(event->document);
    if (error)
        return error;
    return str_is(event->type, "error") ? event->document : NULL;
}

static const struct value *choice_zero(const struct value *document)
{
    const struct value *choices = value_get_list(document, "choices");
    for (uint32_t i = 0; choices && i < choices->count; i++)
        if (value_get_int(&choices->items[i], "index", 0) == 0)
            return &choices->items[i];
    return NULL;
}

/* NULL with an error when there are too many. */
static struct stream_call *call_of(struct stream *stream, const struct value *delta,
                                   struct err *err)
{
    struct str id = value_get_str(delta, "id");
    int64_t last = stream->call_count ? stream->calls[stream->call_count - 1].index : -1;
    int64_t index = value_get_int(delta, "index", str_empty(id) && last >= 0 ? last : last + 1);
    struct stream_call *call = stream_find_call(stream, index);
    if (call && !str_empty(id) && !str_empty(call->id) && !str_eq(call->id, id))
        call = NULL;
    return call ? call : stream_add_call(stream, index, err);
}

static bool read_call(struct stream *stream, const struct value *delta, struct err *err)
{
    const struct value *function = value_get_map(delta, "function");
    struct stream_call *call = call_of(stream, delta, err);
    return call && stream_keep(stream, &call->id, value_get_str(delta, "id"), err) &&
           stream_keep(stream, &call->name, value_get_str(function, "name"), err) &&
           stream_add(stream, &call->arguments, value_get_str(function, "arguments"), err);
}

static bool read_delta(struct stream *stream, const struct value *delta, struct err *err)
{
    const struct value *content = value_get(delta, STR("content"));
    const struct value *calls = value_get_list(delta, "tool_calls");
    size_t before = stream->answer_bytes;
    if (content && content->kind != VALUE_NULL) {
        struct str text;
        stream->has_content = true;
        if (!openai_form_content(content, &stream->scratch, &text, err) ||
            !stream_add_text(stream, text, err))
            return false;
    }
    for (uint32_t i = 0; calls && i < calls->count; i++)
        if (!read_call(stream, &calls->items[i], err))
            return false;
    if (!stream_add(stream, &stream->refusal, value_get_str(delta, "refusal"), err) ||
        !stream_add(stream, &stream->reasoning, value_get_str(delta, "reasoning_content"), err))
        return false;
    if (stream->answer_bytes > before)
        stream->finished = stream->usage_known = false;
    return true;
}

static bool read_choice(struct stream *stream, const struct value *choice, struct err *err)
{
    struct str reason = value_get_str(choice, "finish_reason");
    if (!read_delta(stream, value_get_map(choice, "delta"), err))
        return false;
    if (str_is(reason, "error")) {
        err_set(err, ERR_PROVIDER_DOWN, "the provider finished its stream with an error");
        return false;
    }
    if (str_empty(reason))
        return true;
    stream_set_reason(stream, reason);
    stream->finished = true;
    return true;
}

static void read_usage(struct stream *stream, const struct value *usage)
{
    if (!usage)
        return;
    openai_form_usage(stream->provider->stream->form, usage, &stream->usage);
    stream->usage_known = stream->finished;
}

bool openai_form_stream_event(struct stream *stream, const struct stream_event *event,
                              struct err *err)
{
    const struct value *document = event->document;
    if (!document) {
        stream->over = true;
        return true;
    }
    const struct value *error = error_of(event);
    if (error)
        return read_error(stream, event, error, err);
    const struct value *choice = choice_zero(document);
    if (!stream_keep(stream, &stream->id, value_get_str(document, "id"), err) ||
        !stream_keep(stream, &stream->model, value_get_str(document, "model"), err) ||
        (choice && !read_choice(stream, choice, err)))
        return false;
    read_usage(stream, value_get_map(document, "usage"));
    return true;
}

bool openai_form_stream_finish(struct stream *stream, struct answer *ret, struct err *err)
{
    return openai_form_finish(stream->provider->stream->form, ret->finish_reason, ret, err);
}
