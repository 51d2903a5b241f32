/*
 * openai_form.c -- see openai_form.h.
 */
#include "worker/call/openai_form.h"

static void write_params(const struct openai_form *form, struct json_writer *w,
                         const struct provider_model *model, const struct params *params)
{
    const char *max_tokens = form->max_tokens_name ? form->max_tokens_name(model) : "max_tokens";
    provider_write_real(w, "temperature", provider_temperature(model, params));
    provider_write_int(w, max_tokens, provider_max_tokens(model, params));
    provider_write_real(w, "top_p", params->top_p);
    if (form->takes & OPENAI_TAKES_TOP_K)
        provider_write_int(w, "top_k", params->top_k);
    if (form->takes & OPENAI_TAKES_SEED)
        provider_write_int(w, "seed", params->seed);
    if (form->takes & OPENAI_TAKES_FREQUENCY_PENALTY)
        provider_write_real(w, "frequency_penalty", params->frequency_penalty);
    if (form->takes & OPENAI_TAKES_PRESENCE_PENALTY)
        provider_write_real(w, "presence_penalty", params->presence_penalty);
    provider_write_strs(w, "stop", params->stop);
    provider_write_any(w, "response_format", params->response_format);
    provider_write_any(w, "tools", params->tools);
    provider_write_any(w, "tool_choice", params->tool_choice);
}

static void write_stream(const struct openai_form *form, struct json_writer *w)
{
    json_key(w, "stream");
    json_bool(w, true);
    if (!(form->takes & OPENAI_TAKES_STREAM_OPTIONS))
        return;
    json_key(w, "stream_options");
    json_open(w, '{');
    json_key(w, "include_usage");
    json_bool(w, true);
    json_close(w, '}');
}

bool openai_form_body(const struct openai_form *form, const struct provider_model *model,
                      const struct prompt *prompt, struct arena *arena, struct str *ret,
                      struct err *err)
{
    struct provider_body body;
    provider_body_open(&body, arena);
    json_key(&body.json, "model");
    json_str(&body.json, model->model);
    json_key(&body.json, "messages");
    json_value(&body.json, prompt->messages);
    write_params(form, &body.json, model, prompt->params);
    if (prompt->stream)
        write_stream(form, &body.json);
    return provider_body_close(&body, ret, err);
}

struct str openai_form_url(const struct provider_model *model, const char *home, const char *ending,
                           const char *path, struct arena *arena)
{
    struct provider_model bare = {.base_url = model->base_url};
    if (str_ends(bare.base_url, str_of(ending)))
        bare.base_url.len -= str_of(ending).len;
    return provider_url(&bare, home, path, arena);
}

bool openai_form_encode(const struct openai_form *form, const struct provider_model *model,
                        const struct prompt *prompt, struct arena *arena,
                        struct provider_request *ret, struct err *err)
{
    struct provider_request request = {0};
    request.url = openai_form_url(model, form->home, "/v1", "/v1/chat/completions", arena);
    provider_add_json(&request);
    provider_add_bearer(&request, model, arena);
    provider_add_configured(&request, model);
    if (!openai_form_body(form, model, prompt, arena, &request.body, err))
        return false;
    *ret = request;
    return true;
}

/* What OpenAI itself says, and the words of the servers (vLLM among them) that give no name. */
static const struct openai_error common_errors[] = {
    {"context_length_exceeded", NULL, ERR_PROVIDER_CONTEXT},
    {"content_filter", NULL, ERR_PROVIDER_FILTER},
    {"content_policy_violation", NULL, ERR_PROVIDER_FILTER},
    {"insufficient_quota", NULL, ERR_PROVIDER_QUOTA},
    {"billing_hard_limit_reached", NULL, ERR_PROVIDER_QUOTA},
    {"model_not_found", NULL, ERR_PROVIDER_NOT_FOUND},
    {"invalid_api_key", NULL, ERR_PROVIDER_AUTH},
    {NULL, "maximum context length is", ERR_PROVIDER_CONTEXT},
    {0},
};

static bool has_words(struct str message, const char *words)
{
    return message.data && memmem(message.data, message.len, words, strlen(words));
}

/* The first row that holds; NULL: none does. */
static const struct openai_error *find_error(const struct openai_error *row, struct str code,
                                             struct str type, struct str message)
{
    for (; row && (row->name || row->words); row++) {
        if (row->name && !str_is(code, row->name) && !str_is(type, row->name))
            continue;
        if (!row->words || has_words(message, row->words))
            return row;
    }
    return NULL;
}

/* FastAPI's servers: {"detail":"text"} or {"detail":[{"loc","msg"}]}. */
static struct str detail_of(const struct value *document)
{
    const struct value *list = value_get_list(document, "detail");
    return list && list->count ? value_get_str(&list->items[0], "msg")
                               : value_get_str(document, "detail");
}

/* {"error":{"message","type","param","code"}} or {"error":"text"}; some servers put the members
 * into the document itself. */
static struct str message_of(const struct value *document, const struct value *error)
{
    struct str message = error->kind == VALUE_STR ? error->text : value_get_str(error, "message");
    return message.data ? message : detail_of(document);
}

/* An error inside a 200 may carry the status that it should have had. */
static int status_of(const struct provider_reply *reply, const struct value *error)
{
    int64_t code = value_get_int(error, "code", 0);
    return reply->status == 200 && code >= 400 && code <= 599 ? (int)code : reply->status;
}

void openai_form_error(const struct openai_form *form, const struct provider_reply *reply,
                       const struct value *document, struct err *err)
{
    const struct value *error = value_get(document, STR("error"));
    if (!error || error->kind == VALUE_NULL)
        error = document;
    struct provider_reply meant = *reply;
    struct str message = message_of(document, error);
    struct str code = value_get_str(error, "code"), type = value_get_str(error, "type");
    meant.status = status_of(reply, error);
    provider_status_error(&meant, message, err);
    const struct openai_error *found = find_error(form->errors, code, type, message);
    if (!found)
        found = find_error(common_errors, code, type, message);
    if (!found)
        return;
    err->code = found->meaning;
    err->retry = err_retry_of(err->code);
}

void openai_form_usage(const struct openai_form *form, const struct value *usage, struct usage *ret)
{
    struct usage told = {
        .input = provider_count(usage, "prompt_tokens"),
        .output = provider_count(usage, "completion_tokens"),
        .cached_input =
            provider_count(value_get_map(usage, "prompt_tokens_details"), "cached_tokens"),
        .reasoning =
            provider_count(value_get_map(usage, "completion_tokens_details"), "reasoning_tokens"),
    };
    if (!value_get(usage, STR("prompt_tokens")) && !value_get(usage, STR("completion_tokens")))
        told.input = provider_count(usage, "total_tokens");
    if (form->count)
        form->count(usage, &told);
    provider_cap_usage(&told);
    *ret = told;
}

/* A whole reply has stopped; some servers leave the reason out. */
bool openai_form_finish(const struct openai_form *form, struct str theirs, struct answer *ret,
                        struct err *err)
{
    ret->finish_reason = str_empty(theirs) ? STR("stop") : theirs;
    for (const struct openai_finish *row = form->finishes; row && row->theirs; row++) {
        if (!str_is(theirs, row->theirs))
            continue;
        ret->finish_reason = str_of(row->ours);
        if (row->meaning == ERR_NONE)
            continue;
        err_set(err, row->meaning, "the provider ended the answer with '%s'", row->theirs);
        return false;
    }
    if (str_is(ret->finish_reason, "content_filter") && str_empty(ret->text)) {
        err_set(err, ERR_PROVIDER_FILTER,
                "the provider's content filter left nothing of the answer");
        return false;
    }
    return true;
}

/* Whatever else it is, an answer without a word is not what was
 * paid for. */
bool openai_form_content(const struct value *content, struct arena *arena, struct str *ret,
                         struct err *err)
{
    if (content && content->kind != VALUE_NULL && content->kind != VALUE_STR &&
        content->kind != VALUE_LIST) {
        err_set(err, ERR_PROVIDER_BAD_REPLY,
                "the content of the provider's message is of kind %s, no text",
                value_kind_name(content->kind));
        return false;
    }
    *ret = provider_content_text(content, arena);
    return true;
}

static bool read_choice(const struct openai_form *form, const struct value *document,
                        struct arena *arena, struct answer *ret, struct err *err)
{
    const struct value *choices = value_get_list(document, "choices");
    const struct value *choice = choices && choices->count ? &choices->items[0] : NULL;
    const struct value *message = value_get_map(choice, "message");
    if (!message) {
        err_set(err, ERR_PROVIDER_BAD_REPLY, "the provider's reply has no choices[0].message");
        return false;
    }
    if (!openai_form_content(value_get(message, STR("content")), arena, &ret->text, err))
        return false;
    if (value_get_list(message, "tool_calls") || value_get_str(message, "refusal").data)
        ret->message = message;
    return openai_form_finish(form, value_get_str(choice, "finish_reason"), ret, err);
}

/* Some servers have the member in every reply: null, false, "" or {} says that there is none. */
static bool says_error(const struct value *error)
{
    switch (error ? error->kind : VALUE_NULL) {
    case VALUE_NULL:
        return false;
    case VALUE_BOOL:
        return error->truth;
    case VALUE_STR:
        return error->text.len > 0;
    case VALUE_MAP:
        return error->count > 0;
    default:
        return true;
    }
}

const struct value *openai_form_find_error(const struct value *document)
{
    const struct value *error = value_get(document, STR("error"));
    if (says_error(error))
        return error;
    return str_is(value_get_str(document, "object"), "error") ? document : NULL;
}

bool openai_form_open(const struct openai_form *form, const struct provider_reply *reply,
                      struct arena *arena, struct value *document, struct answer *ret,
                      struct err *err)
{
    if (!provider_read_json(reply, arena, document, err))
        return false;
    if (reply->status != 200 || openai_form_find_error(document)) {
        openai_form_error(form, reply, document, err);
        return false;
    }
    ret->provider_id = value_get_str(document, "id");
    ret->model = value_get_str(document, "model");
    const struct value *usage = value_get_map(document, "usage");
    ret->usage_known = usage != NULL;
    if (usage)
        openai_form_usage(form, usage, &ret->usage);
    return true;
}

bool openai_form_decode(const struct openai_form *form, const struct provider_reply *reply,
                        struct arena *arena, struct answer *ret, struct err *err)
{
    struct value document;
    struct answer answer = {0};
    if (!openai_form_open(form, reply, arena, &document, &answer, err))
        return false;
    bool good = read_choice(form, &document, arena, &answer, err);
    *ret = answer; /* also of a failed call: its tokens are paid */
    return good;
}

struct value openai_tool_call(struct str id, struct str name, const struct value *arguments,
                              struct arena *arena)
{
    struct buf bytes;
    buf_init(&bytes, PROVIDER_BODY_MAX);
    json_write(arguments, &bytes);
    struct str text = arena_str(arena, buf_str(&bytes));
    buf_done(&bytes);

    struct value *function = value_map_new(arena, 2);
    value_map_add(function, STR("name"), value_str(name));
    value_map_add(function, STR("arguments"), value_str(text));
    struct value *call = value_map_new(arena, 3);
    value_map_add(call, STR("id"), value_str(id));
    value_map_add(call, STR("type"), value_str(STR("function")));
    value_map_add(call, STR("function"), *function);
    return *call;
}

const struct value *openai_tool_message(struct str text, struct value *calls, uint32_t count,
                                        struct arena *arena)
{
    struct value *message = value_map_new(arena, 3);
    value_map_add(message, STR("role"), value_str(STR("assistant")));
    value_map_add(message, STR("content"), value_str(text));
    value_map_add(message, STR("tool_calls"),
                  (struct value){.kind = VALUE_LIST, .count = count, .items = calls});
    return message;
}

bool openai_tool_arguments(const struct value *call, struct arena *arena, struct value *ret,
                           struct err *err)
{
    const struct value *function = value_get_map(call, "function");
    if (json_read(value_get_str(function, "arguments"), arena, ret, err))
        return true;
    err_set(err, ERR_INVALID_REQUEST, "a tool call's arguments in messages are not JSON");
    return false;
}
