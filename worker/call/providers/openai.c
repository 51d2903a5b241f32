/*
 * openai.c -- OpenAI's chat completions, and every server that speaks them (by base_url).
 *
 * Format: POST /v1/chat/completions; openai-openapi, "CreateChatCompletionRequest" and
 * "CreateChatCompletionResponse". prompt_tokens includes cached tokens, completion_tokens includes
 * reasoning tokens, which is our own sense too.
 */
#include "worker/call/provider.h"

#define DEFAULT_URL "https://api.openai.com"

static void write_params(struct json_writer *w, const struct provider_model *model,
                         const struct params *params)
{
    provider_write_real(w, "temperature", provider_temperature(model, params));
    provider_write_int(w, "max_tokens", provider_max_tokens(model, params));
    provider_write_real(w, "top_p", params->top_p);
    provider_write_int(w, "seed", params->seed);
    provider_write_real(w, "frequency_penalty", params->frequency_penalty);
    provider_write_real(w, "presence_penalty", params->presence_penalty);
    provider_write_strs(w, "stop", params->stop);
    provider_write_any(w, "response_format", params->response_format);
    provider_write_any(w, "tools", params->tools);
    provider_write_any(w, "tool_choice", params->tool_choice);
}

static bool encode(const struct provider_model *model, const struct prompt *prompt,
                   struct arena *arena, struct provider_request *ret, struct err *err)
{
    struct provider_body body;
    provider_body_open(&body, arena);
    json_key(&body.json, "model");
    json_str(&body.json, model->model);
    json_key(&body.json, "messages");
    json_value(&body.json, prompt->messages);
    write_params(&body.json, model, prompt->params);

    struct provider_request request = {0};
    request.url = provider_url(model, DEFAULT_URL, "/v1/chat/completions", arena);
    provider_add_header(&request, STR("Content-Type"), STR("application/json"));
    if (!str_empty(model->api_key))
        provider_add_header(&request, STR("Authorization"),
                            arena_printf(arena, "Bearer " STR_FMT, STR_ARG(model->api_key)));
    provider_add_configured(&request, model);
    if (!provider_body_close(&body, &request.body, err))
        return false;
    *ret = request;
    return true;
}

struct named_error {
    const char *code; /* error.code or error.type */
    enum err_code meaning;
};

static const struct named_error named_errors[] = {
    {"context_length_exceeded", ERR_PROVIDER_CONTEXT},
    {"content_filter", ERR_PROVIDER_FILTER},
    {"content_policy_violation", ERR_PROVIDER_FILTER},
    {"insufficient_quota", ERR_PROVIDER_QUOTA},
    {"billing_hard_limit_reached", ERR_PROVIDER_QUOTA},
    {"model_not_found", ERR_PROVIDER_NOT_FOUND},
    {"invalid_api_key", ERR_PROVIDER_AUTH},
};

/* {"error":{"message","type","param","code"}}; some servers send {"error":"text"}. */
static void read_error(const struct provider_reply *reply, const struct value *document,
                       struct err *err)
{
    const struct value *error = value_get(document, STR("error"));
    struct str message =
        error && error->kind == VALUE_STR ? error->text : value_get_str(error, "message");
    provider_status_error(reply, message, err);
    struct str code = value_get_str(error, "code"), type = value_get_str(error, "type");
    for (size_t i = 0; i < sizeof(named_errors) / sizeof(named_errors[0]); i++) {
        if (!str_is(code, named_errors[i].code) && !str_is(type, named_errors[i].code))
            continue;
        err->code = named_errors[i].meaning;
        err->retry = err_retry_of(err->code);
    }
}

static void read_usage(const struct value *usage, struct answer *ret)
{
    if (!usage)
        return;
    ret->usage_known = true;
    ret->usage.input = provider_count(usage, "prompt_tokens");
    ret->usage.output = provider_count(usage, "completion_tokens");
    if (!value_get(usage, STR("prompt_tokens")) && !value_get(usage, STR("completion_tokens")))
        ret->usage.input = provider_count(usage, "total_tokens");
    ret->usage.cached_input =
        provider_count(value_get_map(usage, "prompt_tokens_details"), "cached_tokens");
    ret->usage.reasoning =
        provider_count(value_get_map(usage, "completion_tokens_details"), "reasoning_tokens");
}

static bool read_choice(const struct value *document, struct arena *arena, struct answer *ret,
                        struct err *err)
{
    const struct value *choices = value_get_list(document, "choices");
    const struct value *choice = choices && choices->count ? &choices->items[0] : NULL;
    const struct value *message = value_get_map(choice, "message");
    if (!message) {
        err_set(err, ERR_PROVIDER_BAD_REPLY, "the provider's reply has no choices[0].message");
        return false;
    }
    ret->text = provider_content_text(value_get(message, STR("content")), arena);
    if (value_get_list(message, "tool_calls") || value_get_str(message, "refusal").data)
        ret->message = message;
    ret->finish_reason = value_get_str(choice, "finish_reason");
    if (str_empty(ret->finish_reason))
        ret->finish_reason = STR("stop"); /* a whole reply; some servers leave it out */
    if (str_is(ret->finish_reason, "content_filter") && str_empty(ret->text)) {
        err_set(err, ERR_PROVIDER_FILTER,
                "the provider's content filter left nothing of the answer");
        return false;
    }
    return true;
}

static bool decode(const struct provider_reply *reply, struct arena *arena, struct answer *ret,
                   struct err *err)
{
    struct value document;
    struct answer answer = {0};
    if (!provider_read_json(reply, arena, &document, err))
        return false;
    const struct value *error = value_get(&document, STR("error"));
    if (reply->status != 200 || (error && error->kind != VALUE_NULL)) {
        read_error(reply, &document, err);
        return false;
    }
    answer.provider_id = value_get_str(&document, "id");
    answer.model = value_get_str(&document, "model");
    read_usage(value_get_map(&document, "usage"), &answer);
    bool good = read_choice(&document, arena, &answer, err);
    *ret = answer; /* also of a failed call: its tokens are paid */
    return good;
}

const struct provider provider_openai = {
    .name = "openai",
    .encode = encode,
    .decode = decode,
};
