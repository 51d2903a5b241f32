/*
 * ollama.c -- Ollama, in its two forms: /api/chat (the default) and /api/generate (`api:
 * generate`); embeddings by /api/embed.
 *
 * Format: ollama docs/api.md; generate takes one prompt: system messages become its
 * `system`, the others are joined, one paragraph each. Settings stand in `options` under names of
 * their own. Tool arguments are objects there and text here.
 */
#include "worker/call/embed.h"
#include "worker/call/openai_form.h"

static bool is_generate(const struct provider_model *model)
{
    return str_is(model->api, "generate");
}

static void write_options(struct json_writer *w, const struct provider_model *model,
                          const struct params *params)
{
    json_key(w, "options");
    json_open(w, '{');
    provider_write_real(w, "temperature", provider_temperature(model, params));
    provider_write_int(w, "num_predict", provider_max_tokens(model, params));
    provider_write_real(w, "top_p", params->top_p);
    provider_write_int(w, "top_k", params->top_k);
    provider_write_int(w, "seed", params->seed);
    provider_write_real(w, "frequency_penalty", params->frequency_penalty);
    provider_write_real(w, "presence_penalty", params->presence_penalty);
    provider_write_strs(w, "stop", params->stop);
    json_close(w, '}');
}

/* response_format: json_object is "json", json_schema the schema itself. */
static void write_format(struct json_writer *w, const struct value *format)
{
    struct str type = value_get_str(format, "type");
    const struct value *schema = value_get_map(value_get_map(format, "json_schema"), "schema");
    if (!str_is(type, "json_object") && !schema)
        return;
    json_key(w, "format");
    if (schema)
        json_value(w, schema);
    else
        json_str(w, STR("json"));
}

/* Images are bare base64 in a list of their own. */
static void write_images(struct json_writer *w, const struct value *content)
{
    bool open = false;
    for (uint32_t i = 0; content && content->kind == VALUE_LIST && i < content->count; i++) {
        struct str rest = value_get_str(value_get_map(&content->items[i], "image_url"), "url");
        struct str kind;
        if (!str_starts(rest, STR("data:")) || !str_split(&rest, ',', &kind))
            continue;
        if (!open) {
            json_key(w, "images");
            json_open(w, '[');
            open = true;
        }
        json_str(w, rest);
    }
    if (open)
        json_close(w, ']');
}

static bool write_tool_calls(struct json_writer *w, const struct value *calls, struct arena *arena,
                             struct err *err)
{
    json_key(w, "tool_calls");
    json_open(w, '[');
    for (uint32_t i = 0; i < calls->count; i++) {
        const struct value *function = value_get_map(&calls->items[i], "function");
        struct value arguments;
        if (!openai_tool_arguments(&calls->items[i], arena, &arguments, err))
            return false;
        json_open(w, '{');
        json_key(w, "function");
        json_open(w, '{');
        json_key(w, "name");
        json_str(w, value_get_str(function, "name"));
        json_key(w, "arguments");
        json_value(w, &arguments);
        json_close(w, '}');
        json_close(w, '}');
    }
    json_close(w, ']');
    return true;
}

static bool write_message(struct json_writer *w, const struct value *message, struct arena *arena,
                          struct err *err)
{
    const struct value *content = value_get(message, STR("content"));
    const struct value *calls = value_get_list(message, "tool_calls");
    struct str role = value_get_str(message, "role");
    json_open(w, '{');
    json_key(w, "role");
    json_str(w, str_is(role, "developer") ? STR("system") : role);
    json_key(w, "content");
    json_str(w, provider_content_text(content, arena));
    write_images(w, content);
    bool good = !calls || write_tool_calls(w, calls, arena, err);
    json_close(w, '}');
    return good;
}

static bool write_chat(struct json_writer *w, const struct prompt *prompt, struct arena *arena,
                       struct err *err)
{
    bool good = true;
    json_key(w, "messages");
    json_open(w, '[');
    for (uint32_t i = 0; good && i < prompt->messages->count; i++)
        good = write_message(w, &prompt->messages->items[i], arena, err);
    json_close(w, ']');
    if (prompt->params->tools) {
        json_key(w, "tools");
        json_value(w, prompt->params->tools);
    }
    return good;
}

static void write_generate(struct json_writer *w, const struct prompt *prompt, struct arena *arena)
{
    struct str system = provider_join_texts(prompt->messages, true, arena);
    json_key(w, "prompt");
    json_str(w, provider_join_texts(prompt->messages, false, arena));
    if (system.data) {
        json_key(w, "system");
        json_str(w, system);
    }
}

static bool encode(const struct provider_model *model, const struct prompt *prompt,
                   struct arena *arena, struct provider_request *ret, struct err *err)
{
    struct provider_body body;
    bool good = true;
    provider_body_open(&body, arena);
    json_key(&body.json, "model");
    json_str(&body.json, model->model);
    if (is_generate(model))
        write_generate(&body.json, prompt, arena);
    else
        good = write_chat(&body.json, prompt, arena, err);
    json_key(&body.json, "stream");
    json_bool(&body.json, prompt->stream);
    write_format(&body.json, prompt->params->response_format);
    write_options(&body.json, model, prompt->params);

    struct provider_request request = {0};
    request.url = provider_url(model, provider_home_ollama,
                               is_generate(model) ? "/api/generate" : "/api/chat", arena);
    provider_add_json(&request);
    provider_add_bearer(&request, model, arena);
    provider_add_configured(&request, model);
    if (!good || !provider_body_close(&body, &request.body, err))
        return false;
    *ret = request;
    return true;
}

/* {"function":{"name","arguments":{..}}}; ids are made by place. */
static void read_tool_calls(const struct value *calls, struct arena *arena, struct answer *ret)
{
    if (!calls || !calls->count)
        return;
    struct value *items = arena_array(arena, struct value, calls->count);
    for (uint32_t i = 0; i < calls->count; i++) {
        const struct value *function = value_get_map(&calls->items[i], "function");
        items[i] =
            openai_tool_call(arena_printf(arena, "call_%u", i), value_get_str(function, "name"),
                             value_get(function, STR("arguments")), arena);
    }
    ret->message = openai_tool_message(ret->text, items, calls->count, arena);
    ret->finish_reason = STR("tool_calls");
}

static bool read_text(const struct value *document, struct arena *arena, struct answer *ret,
                      struct err *err)
{
    const struct value *message = value_get_map(document, "message");
    struct str response = value_get_str(document, "response");
    const struct value *done = value_get(document, STR("done"));
    bool cut = done && done->kind == VALUE_BOOL && !done->truth;
    if ((!message && !response.data) || cut) {
        err_set(err, ERR_PROVIDER_BAD_REPLY,
                "the provider's reply has neither a message nor a"
                " response, or it is not done");
        return false;
    }
    struct str reason = value_get_str(document, "done_reason");
    ret->text =
        message ? provider_content_text(value_get(message, STR("content")), arena) : response;
    ret->finish_reason = str_empty(reason) ? STR("stop") : reason;
    read_tool_calls(value_get_list(message, "tool_calls"), arena, ret);
    return true;
}

/* False: the reply is an error, or no JSON. */
static bool read_document(const struct provider_reply *reply, struct arena *arena,
                          struct value *ret, struct err *err)
{
    if (!provider_read_json(reply, arena, ret, err))
        return false;
    struct str error = value_get_str(ret, "error");
    if (reply->status == 200 && !error.data)
        return true;
    provider_status_error(reply, error, err);
    if (reply->status == 200)
        err_set(err, ERR_PROVIDER_DOWN, "the provider answered with an error: " STR_FMT,
                STR_ARG(str_utf8_cut(error, 200)));
    return false;
}

static bool decode(const struct provider_reply *reply, struct arena *arena, struct answer *ret,
                   struct err *err)
{
    struct value document;
    struct answer answer = {0};
    if (!read_document(reply, arena, &document, err))
        return false;
    answer.model = value_get_str(&document, "model");
    answer.usage_known = value_get(&document, STR("prompt_eval_count")) != NULL ||
                         value_get(&document, STR("eval_count")) != NULL;
    answer.usage.input = provider_count(&document, "prompt_eval_count");
    answer.usage.output = provider_count(&document, "eval_count");
    bool good = read_text(&document, arena, &answer, err);
    *ret = answer;
    return good;
}

/* A text that is too long is an error, not cut: the vector would be that of another text. */
static bool embed_encode(const struct provider_embed *embed, const struct provider_model *model,
                         const struct prompt *prompt, struct arena *arena,
                         struct provider_request *ret, struct err *err)
{
    struct provider_body body;
    struct provider_request request = {0};
    (void)embed;
    provider_body_open(&body, arena);
    json_key(&body.json, "model");
    json_str(&body.json, model->model);
    embed_write_inputs(&body.json, prompt);
    json_key(&body.json, "truncate");
    json_bool(&body.json, false);
    provider_write_int(&body.json, "dimensions", prompt->params->dimensions);
    request.url = provider_url(model, provider_home_ollama, "/api/embed", arena);
    provider_add_json(&request);
    provider_add_bearer(&request, model, arena);
    provider_add_configured(&request, model);
    if (!provider_body_close(&body, &request.body, err))
        return false;
    *ret = request;
    return true;
}

static bool read_vectors(const struct value *document, const struct prompt *prompt,
                         struct arena *arena, struct answer *ret, struct err *err)
{
    const struct value *list = value_get_list(document, "embeddings");
    struct embed_vectors vectors;
    if (!embed_begin(&vectors, prompt, list, arena, err))
        return false;
    for (uint32_t i = 0; i < list->count; i++)
        if (!embed_put(&vectors, i, &list->items[i], err))
            return false;
    embed_end(&vectors, ret);
    return true;
}

static bool embed_decode(const struct provider_embed *embed, const struct prompt *prompt,
                         const struct provider_reply *reply, struct arena *arena,
                         struct answer *ret, struct err *err)
{
    struct value document;
    struct answer answer = {0};
    (void)embed;
    if (!read_document(reply, arena, &document, err)) {
        if (strstr(err->text, "input length exceeds")) {
            err->code = ERR_PROVIDER_CONTEXT;
            err->retry = err_retry_of(err->code);
        }
        return false;
    }
    answer.model = value_get_str(&document, "model");
    answer.usage_known = value_get(&document, STR("prompt_eval_count")) != NULL;
    answer.usage.input = provider_count(&document, "prompt_eval_count");
    bool good = read_vectors(&document, prompt, arena, &answer, err);
    *ret = answer;
    return good;
}

static const struct provider_embed embed = {.encode = embed_encode, .decode = embed_decode};

const struct provider provider_ollama = {
    .name = "ollama",
    .encode = encode,
    .decode = decode,
    .stream = &provider_stream_ollama,
    .embed = &embed,
};
