/*
 * azure.c -- Azure OpenAI.
 *
 * Format: openai_form.h with learn.microsoft.com/azure/ai-services/openai/reference (2024-10-21)
 * and its "Content filtering": POST <base_url>/openai/deployments/<deployment>/chat/completions
 * with the api-version as a query and the key in api-key (an Entra token goes into `headers`). The
 * model's name is the deployment's. max_completion_tokens, which the reasoning models insist on, is
 * known from version 2024-12-01 on, stream_options from 2024-09-01 on; before, a stream does not
 * say what it cost. A stream begins with an event of prompt_filter_results and no choices. Tokens
 * are counted as OpenAI counts them. A filtered prompt is an error with the categories in
 * innererror, a filtered answer has them beside it; the error's text says which.
 */
#include "worker/call/openai_form.h"

enum { CATEGORIES_BYTES_MAX = 100 };

static const char *max_tokens_name(const struct provider_model *model)
{
    bool knows = str_cmp(model->api_version, STR("2024-12-01")) >= 0;
    return knows ? "max_completion_tokens" : "max_tokens";
}

static const struct openai_form form = {
    .home = provider_home_azure,
    .takes = OPENAI_TAKES_SEED | OPENAI_TAKES_FREQUENCY_PENALTY | OPENAI_TAKES_PRESENCE_PENALTY |
             OPENAI_TAKES_STREAM_OPTIONS,
    .embeds = OPENAI_EMBEDS_DIMENSIONS | OPENAI_EMBEDS_BASE64,
    .max_tokens_name = max_tokens_name,
};

/* What the model's version of the API knows. */
static struct openai_form form_of(const struct provider_model *model)
{
    struct openai_form known = form;
    if (str_cmp(model->api_version, STR("2024-09-01")) < 0)
        known.takes &= ~(unsigned)OPENAI_TAKES_STREAM_OPTIONS;
    return known;
}

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

/* As one segment of a path, or one value of a query (RFC 3986, 2.1). */
static struct str encoded(struct str s, struct arena *arena)
{
    static const char digits[] = "0123456789ABCDEF";
    char *bytes = arena_alloc(arena, 3 * s.len + 1);
    size_t at = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (is_unreserved(s.data[i])) {
            bytes[at++] = s.data[i];
            continue;
        }
        bytes[at++] = '%';
        bytes[at++] = digits[c >> 4];
        bytes[at++] = digits[c & 15];
    }
    bytes[at] = '\0';
    return str_from(bytes, at);
}

/* Everything but the body. */
static void address(const struct provider_model *model, const char *what, struct arena *arena,
                    struct provider_request *ret)
{
    struct str deployment = encoded(model->model, arena);
    struct str path =
        arena_printf(arena, "/openai/deployments/" STR_FMT "/%s?api-version=" STR_FMT,
                     STR_ARG(deployment), what, STR_ARG(encoded(model->api_version, arena)));
    *ret = (struct provider_request){0};
    ret->url = openai_form_url(model, provider_home_azure, "/openai", path.data, arena);
    provider_add_json(ret);
    if (!str_empty(model->api_key))
        provider_add_header(ret, STR("api-key"), model->api_key);
    provider_add_configured(ret, model);
}

static bool encode(const struct provider_model *model, const struct prompt *prompt,
                   struct arena *arena, struct provider_request *ret, struct err *err)
{
    struct provider_request request;
    const struct openai_form known = form_of(model);
    address(model, "chat/completions", arena, &request);
    if (!openai_form_body(&known, model, prompt, arena, &request.body, err))
        return false;
    *ret = request;
    return true;
}

/* {"violence":{"filtered":true,"severity":"medium"},"jailbreak":{"filtered":true},..} as
 * "violence medium, jailbreak"; "" when nothing was filtered. */
static struct str filtered_categories(const struct value *results, struct arena *arena)
{
    struct str list = STR("");
    for (uint32_t i = 0; results && i < results->count && list.len < CATEGORIES_BYTES_MAX; i++) {
        const struct value *category = &results->pairs[i].value;
        const struct value *filtered = value_get(category, STR("filtered"));
        if (!filtered || filtered->kind != VALUE_BOOL || !filtered->truth)
            continue;
        struct str severity = value_get_str(category, "severity");
        list = arena_printf(arena, STR_FMT "%s" STR_FMT "%s" STR_FMT, STR_ARG(list),
                            list.len ? ", " : "", STR_ARG(results->pairs[i].key),
                            str_empty(severity) ? "" : " ", STR_ARG(severity));
    }
    return str_utf8_cut(list, CATEGORIES_BYTES_MAX);
}

/* The reference writes inner_error and content_filter_results, the servers what is looked for
 * first. */
static const struct value *filter_results(const struct value *document)
{
    const struct value *error = value_get_map(document, "error");
    const struct value *inner = value_get_map(error, "innererror");
    if (!inner)
        inner = value_get_map(error, "inner_error");
    const struct value *results = value_get_map(inner, "content_filter_result");
    if (!results)
        results = value_get_map(inner, "content_filter_results");
    const struct value *choices = value_get_list(document, "choices");
    if (!results && choices && choices->count)
        results = value_get_map(&choices->items[0], "content_filter_results");
    return results;
}

static void add_categories(const struct provider_reply *reply, struct arena *arena, struct err *err)
{
    struct value document;
    struct err unread;
    if (!json_read(reply->body, arena, &document, &unread) || document.kind != VALUE_MAP)
        return;
    struct str list = filtered_categories(filter_results(&document), arena);
    if (!str_empty(list))
        err_prefix(err, "filtered for " STR_FMT, STR_ARG(list));
}

static bool decode(const struct provider_reply *reply, struct arena *arena, struct answer *ret,
                   struct err *err)
{
    if (openai_form_decode(&form, reply, arena, ret, err))
        return true;
    if (err->code == ERR_PROVIDER_FILTER)
        add_categories(reply, arena, err);
    return false;
}

static bool embed_encode(const struct provider_embed *embed, const struct provider_model *model,
                         const struct prompt *prompt, struct arena *arena,
                         struct provider_request *ret, struct err *err)
{
    struct provider_request request;
    address(model, "embeddings", arena, &request);
    if (!openai_form_embed_body(embed->form, model->model, prompt, arena, &request.body, err))
        return false;
    *ret = request;
    return true;
}

static const struct provider_embed form_embed = {
    .encode = embed_encode,
    .decode = openai_form_embed_decode,
    .form = &form,
};

OPENAI_FORM_STREAM(form);

const struct provider provider_azure = {
    .name = "azure",
    .encode = encode,
    .decode = decode,
    .stream = &form_stream,
    .embed = &form_embed,
};
