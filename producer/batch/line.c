/*
 * line.c -- see line.h. A body in OpenAI's form is turned into a document of ours, and that is read
 * with the contract's own checks.
 */
#include "producer/batch/line.h"

#include "common/data/digest.h"

enum { ID_BYTES_MAX = 128, HASH_HEX = 40 };

/* Fields of the body that have a place of their own, or that a batch has no use for. */
static const char *const placed[] = {
    "messages",
    "model",
    "user",
    "metadata",
    "n",
    "stream",
    "stream_options",
    "stop",
    "store",
    "max_tokens",
    "max_completion_tokens",
    "service_tier",
};

static bool is_placed(struct str key)
{
    for (size_t i = 0; i < sizeof(placed) / sizeof(placed[0]); i++)
        if (str_is(key, placed[i]))
            return true;
    return false;
}

static bool is_plain(struct str id)
{
    for (size_t i = 0; i < id.len; i++)
        if ((unsigned char)id.data[i] <= ' ' || id.data[i] == 127)
            return false;
    return true;
}

/* A custom_id that is long, or no plain word, is replaced by its hash. */
static struct str make_id(struct arena *arena, struct str batch_id, struct str custom_id,
                          int64_t number)
{
    char hex[HASH_HEX + 1];
    if (!custom_id.data)
        return arena_printf(arena, STR_FMT ":%lld", STR_ARG(batch_id), (long long)number);
    if (batch_id.len + 1 + custom_id.len <= ID_BYTES_MAX && is_plain(custom_id))
        return arena_printf(arena, STR_FMT ":" STR_FMT, STR_ARG(batch_id), STR_ARG(custom_id));
    digest_sha256_hex(custom_id, hex, HASH_HEX);
    return arena_printf(arena, STR_FMT ":sha256-%s", STR_ARG(batch_id), hex);
}

static void add(struct value *map, const char *key, const struct value *value)
{
    if (value && value->kind != VALUE_NULL)
        value_map_add(map, str_of(key), *value);
}

/* `stop` may be one text or a list of them. */
static const struct value *stop_list(struct arena *arena, const struct value *stop)
{
    if (!stop || stop->kind != VALUE_STR)
        return stop;
    struct value *list = arena_new(arena, struct value);
    *list = (struct value){.kind = VALUE_LIST, .count = 1, .items = stop};
    return list;
}

static struct value *params_of(struct arena *arena, const struct value *body)
{
    struct value *params = value_map_new(arena, (size_t)body->count + 2);
    const struct value *tokens = value_get(body, STR("max_completion_tokens"));
    for (uint32_t i = 0; i < body->count; i++)
        if (!is_placed(body->pairs[i].key))
            value_map_add(params, body->pairs[i].key, body->pairs[i].value);
    add(params, "max_tokens", tokens ? tokens : value_get(body, STR("max_tokens")));
    add(params, "stop", stop_list(arena, value_get(body, STR("stop"))));
    return params;
}

static void add_models(struct arena *arena, struct value *document, const struct value *model)
{
    struct value *models = arena_new(arena, struct value);
    if (!model || model->kind == VALUE_NULL)
        return;
    *models = (struct value){.kind = VALUE_LIST, .count = 1, .items = model};
    add(document, "models", models);
}

/* How the vectors are to stand in the output; they travel as base64 in any case. */
static bool read_format(const struct value *body, bool *ret_numbers, struct err *err)
{
    const struct value *format = value_get(body, STR("encoding_format"));
    bool base64 = format && format->kind == VALUE_STR && str_is(format->text, "base64");
    *ret_numbers = !base64;
    if (base64 || !format || format->kind == VALUE_NULL ||
        (format->kind == VALUE_STR && str_is(format->text, "float")))
        return true;
    err_set(err, ERR_INVALID_REQUEST, "body.encoding_format must be float or base64");
    return false;
}

/* The request document of a body of /v1/embeddings. */
static struct value *embed_document_of(struct arena *arena, const struct value *body)
{
    static const struct value kind = {.kind = VALUE_STR, .text = {"embed", 5}};
    struct value *document = value_map_new(arena, 5);
    struct value *params = value_map_new(arena, 1);
    add(document, "kind", &kind);
    add(document, "input", value_get(body, STR("input")));
    add(document, "user", value_get(body, STR("user")));
    add_models(arena, document, value_get(body, STR("model")));
    add(params, "dimensions", value_get(body, STR("dimensions")));
    add(document, "params", params);
    return document;
}

/* The request document of a body; NULL when it asks for what a batch cannot give. */
static struct value *document_of(struct arena *arena, const struct value *body, struct err *err)
{
    const struct value *n = value_get(body, STR("n"));
    if (n && n->kind != VALUE_NULL && !(n->kind == VALUE_INT && n->number == 1)) {
        err_set(err, ERR_INVALID_REQUEST, "body.n must be 1: each line has one answer");
        return NULL;
    }
    struct value *document = value_map_new(arena, 6);
    add(document, "messages", value_get(body, STR("messages")));
    add(document, "user", value_get(body, STR("user")));
    add(document, "metadata", value_get(body, STR("metadata")));
    add_models(arena, document, value_get(body, STR("model")));
    add(document, "params", params_of(arena, body));
    return document;
}

static bool check_envelope(const struct value *line, struct err *err)
{
    const struct value *custom_id = value_get(line, STR("custom_id"));
    struct str method = value_get_str(line, "method");
    struct str url = value_get_str(line, "url");
    if (!custom_id || custom_id->kind != VALUE_STR || str_empty(custom_id->text))
        err_set(err, ERR_INVALID_REQUEST, "custom_id must be a text that is not empty");
    else if (method.data && !str_is(method, "POST"))
        err_set(err, ERR_INVALID_REQUEST, "method must be POST");
    else if (url.data && !str_is(url, BATCH_URL) && !str_is(url, BATCH_URL_EMBED))
        err_set(err, ERR_INVALID_REQUEST, "url must be %s or %s, is '" STR_FMT "'", BATCH_URL,
                BATCH_URL_EMBED, STR_ARG(str_utf8_cut(url, 100)));
    else if (!value_get_map(line, "body"))
        err_set(err, ERR_INVALID_REQUEST, "body must be an object");
    else
        return true;
    return false;
}

static bool is_openai(const struct value *line)
{
    return value_get(line, STR("custom_id")) || value_get(line, STR("body")) ||
           value_get(line, STR("url"));
}

static void fill(struct arena *arena, const struct batch_defaults *defaults, int64_t number,
                 struct batch_line *ret)
{
    struct request *request = &ret->request;
    if (str_empty(request->id))
        request->id = make_id(arena, defaults->batch_id, ret->custom_id, number);
    if (str_empty(request->tenant))
        request->tenant = defaults->tenant;
    if (request->deadline_ms == INT_ABSENT)
        request->deadline_ms = defaults->deadline_ms;
    if (!defaults->model.data)
        return;
    request->models.items = arena_new(arena, struct str);
    request->models.items[0] = defaults->model;
    request->models.count = 1;
}

/* Of a line in OpenAI's form; NULL: it is not usable. */
static const struct value *read_openai(const struct value *line, struct arena *arena,
                                       struct batch_line *ret, struct err *err)
{
    const struct value *body = value_get_map(line, "body");
    ret->custom_id = value_get_str(line, "custom_id");
    if (!check_envelope(line, err))
        return NULL;
    if (!str_is(value_get_str(line, "url"), BATCH_URL_EMBED))
        return document_of(arena, body, err);
    return read_format(body, &ret->numbers, err) ? embed_document_of(arena, body) : NULL;
}

bool batch_line_read(struct str text, int64_t number, const struct batch_defaults *defaults,
                     struct arena *arena, struct batch_line *ret, struct err *err)
{
    struct value parsed;
    *ret = (struct batch_line){0};
    if (!contract_parse(text, ENCODING_JSON, arena, &parsed, err))
        return false;
    const struct value *document = &parsed;
    ret->openai = is_openai(&parsed);
    if (ret->openai && !(document = read_openai(&parsed, arena, ret, err)))
        return false;
    if (!contract_read(&contract_request, document, arena, &ret->request, err))
        return false;
    fill(arena, defaults, number, ret);
    return request_check(&ret->request, err) &&
           contract_check(&contract_request, &ret->request, err);
}
