/*
 * anthropic.c -- Anthropic's Messages.
 *
 * Format: POST /v1/messages with x-api-key and anthropic-version. System messages are a field of
 * their own; max_tokens is required. input_tokens leaves cached tokens out (ours includes them), so
 * the three input counts are added up. A tool's answer is a user message with a tool_result block.
 */
#include <math.h>

#include "worker/call/openai_form.h"
#include "worker/call/providers/anthropic.h"

enum { MAX_TOKENS_OTHERWISE = 4096 };

/* All system messages, joined by an empty line. */
static void write_system(struct json_writer *w, const struct value *messages, struct arena *arena)
{
    struct str system = provider_join_texts(messages, true, arena);
    if (!system.data)
        return;
    json_key(w, "system");
    json_str(w, system);
}

static void write_text_block(struct json_writer *w, struct str text)
{
    json_open(w, '{');
    json_key(w, "type");
    json_str(w, STR("text"));
    json_key(w, "text");
    json_str(w, text);
    json_close(w, '}');
}

/* "data:image/png;base64,AAAA" or an address. */
static void write_image(struct json_writer *w, struct str url)
{
    struct str rest = url, kind;
    json_open(w, '{');
    json_key(w, "type");
    json_str(w, STR("image"));
    json_key(w, "source");
    json_open(w, '{');
    json_key(w, "type");
    if (str_starts(url, STR("data:")) && str_split(&rest, ',', &kind)) {
        struct str media = str_slice(kind, 5, str_index(kind, ';'));
        json_str(w, STR("base64"));
        json_key(w, "media_type");
        json_str(w, media);
        json_key(w, "data");
        json_str(w, rest);
    } else {
        json_str(w, STR("url"));
        json_key(w, "url");
        json_str(w, url);
    }
    json_close(w, '}');
    json_close(w, '}');
}

static void write_parts(struct json_writer *w, const struct value *content)
{
    for (uint32_t i = 0; i < content->count; i++) {
        const struct value *part = &content->items[i];
        struct str text = value_get_str(part, "text");
        struct str url = value_get_str(value_get_map(part, "image_url"), "url");
        if (text.data)
            write_text_block(w, text);
        else if (url.data)
            write_image(w, url);
    }
}

static bool write_tool_use(struct json_writer *w, const struct value *call, struct arena *arena,
                           struct err *err)
{
    const struct value *function = value_get_map(call, "function");
    struct value input;
    if (!openai_tool_arguments(call, arena, &input, err))
        return false;
    json_open(w, '{');
    json_key(w, "type");
    json_str(w, STR("tool_use"));
    json_key(w, "id");
    json_str(w, value_get_str(call, "id"));
    json_key(w, "name");
    json_str(w, value_get_str(function, "name"));
    json_key(w, "input");
    json_value(w, &input);
    json_close(w, '}');
    return true;
}

static void write_tool_result(struct json_writer *w, const struct value *message,
                              struct arena *arena)
{
    json_str(w, STR("user"));
    json_key(w, "content");
    json_open(w, '[');
    json_open(w, '{');
    json_key(w, "type");
    json_str(w, STR("tool_result"));
    json_key(w, "tool_use_id");
    json_str(w, value_get_str(message, "tool_call_id"));
    json_key(w, "content");
    json_str(w, provider_content_text(value_get(message, STR("content")), arena));
    json_close(w, '}');
    json_close(w, ']');
}

static bool write_blocks(struct json_writer *w, const struct value *message, struct arena *arena,
                         struct err *err)
{
    const struct value *content = value_get(message, STR("content"));
    const struct value *calls = value_get_list(message, "tool_calls");
    bool good = true;
    json_open(w, '[');
    if (content && content->kind == VALUE_LIST)
        write_parts(w, content);
    else if (content && content->kind == VALUE_STR && content->text.len)
        write_text_block(w, content->text);
    for (uint32_t i = 0; calls && good && i < calls->count; i++)
        good = write_tool_use(w, &calls->items[i], arena, err);
    json_close(w, ']');
    return good;
}

static bool write_message(struct json_writer *w, const struct value *message, struct arena *arena,
                          struct err *err)
{
    struct str role = value_get_str(message, "role");
    const struct value *content = value_get(message, STR("content"));
    bool good = true;
    json_open(w, '{');
    json_key(w, "role");
    if (str_is(role, "tool")) {
        write_tool_result(w, message, arena);
    } else {
        json_str(w, role);
        json_key(w, "content");
        if (content && content->kind == VALUE_STR && !value_get_list(message, "tool_calls"))
            json_str(w, content->text);
        else
            good = write_blocks(w, message, arena, err);
    }
    json_close(w, '}');
    return good;
}

/* OpenAI's {"type":"function","function":{name,description,parameters}} is
 * {name,description,input_schema}. */
static void write_tools(struct json_writer *w, const struct value *tools)
{
    json_key(w, "tools");
    json_open(w, '[');
    for (uint32_t i = 0; i < tools->count; i++) {
        const struct value *function = value_get_map(&tools->items[i], "function");
        if (!function)
            continue;
        struct str description = value_get_str(function, "description");
        json_open(w, '{');
        json_key(w, "name");
        json_str(w, value_get_str(function, "name"));
        if (description.data) {
            json_key(w, "description");
            json_str(w, description);
        }
        json_key(w, "input_schema");
        json_value(w, value_get_map(function, "parameters"));
        json_close(w, '}');
    }
    json_close(w, ']');
}

static void write_params(struct json_writer *w, const struct provider_model *model,
                         const struct params *params)
{
    double temperature = provider_temperature(model, params);
    if (!isnan(temperature)) {
        json_key(w, "temperature");
        json_real(w, temperature > 1 ? 1 : temperature); /* theirs ends at 1 */
    }
    provider_write_real(w, "top_p", params->top_p);
    provider_write_int(w, "top_k", params->top_k);
    provider_write_strs(w, "stop_sequences", params->stop);
    if (params->tools)
        write_tools(w, params->tools);
}

static bool write_body(struct json_writer *w, const struct provider_model *model,
                       const struct prompt *prompt, struct arena *arena, struct err *err)
{
    int64_t max_tokens = provider_max_tokens(model, prompt->params);
    bool good = true;
    json_key(w, "model");
    json_str(w, model->model);
    json_key(w, "max_tokens");
    json_int(w, max_tokens == INT_ABSENT ? MAX_TOKENS_OTHERWISE : max_tokens);
    json_key(w, "messages");
    json_open(w, '[');
    for (uint32_t i = 0; good && i < prompt->messages->count; i++)
        if (!provider_is_system(&prompt->messages->items[i]))
            good = write_message(w, &prompt->messages->items[i], arena, err);
    json_close(w, ']');
    write_system(w, prompt->messages, arena);
    write_params(w, model, prompt->params);
    if (prompt->stream) {
        json_key(w, "stream");
        json_bool(w, true);
    }
    return good;
}

static bool encode(const struct provider_model *model, const struct prompt *prompt,
                   struct arena *arena, struct provider_request *ret, struct err *err)
{
    struct provider_body body;
    provider_body_open(&body, arena);
    if (!write_body(&body.json, model, prompt, arena, err))
        return false;
    struct provider_request request = {0};
    request.url = provider_url(model, provider_home_anthropic, "/v1/messages", arena);
    provider_add_json(&request);
    provider_add_header(&request, STR("anthropic-version"), STR("2023-06-01"));
    if (!str_empty(model->api_key))
        provider_add_header(&request, STR("x-api-key"), model->api_key);
    provider_add_configured(&request, model);
    if (!provider_body_close(&body, &request.body, err))
        return false;
    *ret = request;
    return true;
}

/* {"type":"error","error":{"type","message"}} */
static void read_error(const struct provider_reply *reply, const struct value *document,
                       struct err *err)
{
    const struct value *error = value_get_map(document, "error");
    struct str message = value_get_str(error, "message"), type = value_get_str(error, "type");
    provider_status_error(reply, message, err);
    if (str_is(type, "overloaded_error") || str_is(type, "api_error"))
        err->code = ERR_PROVIDER_DOWN;
    else if (str_is(type, "rate_limit_error"))
        err->code = ERR_PROVIDER_RATE;
    else if (str_is(type, "billing_error"))
        err->code = ERR_PROVIDER_QUOTA;
    else if (str_is(type, "invalid_request_error") &&
             str_starts(message, STR("prompt is too long")))
        err->code = ERR_PROVIDER_CONTEXT;
    err->retry = err_retry_of(err->code);
}

static void read_usage(const struct value *usage, struct answer *ret)
{
    if (!usage)
        return;
    int64_t read = provider_count(usage, "cache_read_input_tokens");
    ret->usage_known = true;
    ret->usage.cached_input = read;
    ret->usage.cache_write = provider_count(usage, "cache_creation_input_tokens");
    ret->usage.input = provider_count(usage, "input_tokens") + read + ret->usage.cache_write;
    ret->usage.output = provider_count(usage, "output_tokens");
}

struct stop_reason {
    const char *theirs, *ours;
};

static const struct stop_reason stop_reasons[] = {
    {"end_turn", "stop"},
    {"stop_sequence", "stop"},
    {"max_tokens", "length"},
    {"tool_use", "tool_calls"},
    {"refusal", "content_filter"},
    {"pause_turn", "stop"},
    {"model_context_window_exceeded", "length"},
};

struct str anthropic_finish_reason(struct str theirs)
{
    for (size_t i = 0; i < sizeof(stop_reasons) / sizeof(stop_reasons[0]); i++)
        if (str_is(theirs, stop_reasons[i].theirs))
            return str_of(stop_reasons[i].ours);
    return theirs;
}

static void read_tool_calls(const struct value *content, struct arena *arena, struct answer *ret)
{
    struct value *calls = arena_array(arena, struct value, content->count + 1);
    uint32_t count = 0;
    for (uint32_t i = 0; i < content->count; i++)
        if (str_is(value_get_str(&content->items[i], "type"), "tool_use"))
            calls[count++] = openai_tool_call(value_get_str(&content->items[i], "id"),
                                              value_get_str(&content->items[i], "name"),
                                              value_get(&content->items[i], STR("input")), arena);
    if (count)
        ret->message = openai_tool_message(ret->text, calls, count, arena);
}

static bool decode(const struct provider_reply *reply, struct arena *arena, struct answer *ret,
                   struct err *err)
{
    struct value document;
    struct answer answer = {0};
    if (!provider_read_json(reply, arena, &document, err))
        return false;
    if (reply->status != 200 || str_is(value_get_str(&document, "type"), "error")) {
        read_error(reply, &document, err);
        return false;
    }
    const struct value *content = value_get_list(&document, "content");
    struct str stop = value_get_str(&document, "stop_reason");
    read_usage(value_get_map(&document, "usage"), &answer);
    *ret = answer; /* its tokens are paid, whatever comes below */
    if (!content) {
        err_set(err, ERR_PROVIDER_BAD_REPLY, "the provider's reply has no content");
        return false;
    }
    answer.provider_id = value_get_str(&document, "id");
    answer.model = value_get_str(&document, "model");
    answer.text = provider_content_text(content, arena);
    answer.finish_reason = str_empty(stop) ? STR("stop") : anthropic_finish_reason(stop);
    read_tool_calls(content, arena, &answer);
    *ret = answer;
    return true;
}

const struct provider provider_anthropic = {
    .name = "anthropic",
    .encode = encode,
    .decode = decode,
    .stream = &provider_stream_anthropic,
};
