/*
 * provider.c -- the table of providers, and what most of them share.
 */
#include "worker/call/provider.h"

#include <math.h>
#include <strings.h>
#include <time.h>

#include "common/base/must.h"
#include "worker/call/reset.h"

#define PROVIDER(name, home, key)                                                                  \
    extern const struct provider provider_##name;                                                  \
    const char provider_home_##name[] = home;
#include "schemas/provider.def"
#undef PROVIDER

static const struct provider *const providers[] = {
#define PROVIDER(name, home, key) &provider_##name,
#include "schemas/provider.def"
#undef PROVIDER
    NULL,
};

static const char *const names[] = {
#define PROVIDER(name, home, key) #name,
#include "schemas/provider.def"
#undef PROVIDER
    NULL,
};

enum { VENDOR_WORDS_MAX = 200, RETRY_AFTER_MS_MAX = 3600000, PROVIDER_BODY_FIRST = 1000 };

const struct provider *provider_by_name(struct str name)
{
    for (size_t i = 0; providers[i]; i++)
        if (str_is(name, providers[i]->name))
            return providers[i];
    return NULL;
}

const char *const *provider_names(void)
{
    return names;
}

void provider_embedding_names(char ret[PROVIDER_NAMES_BYTES])
{
    const char *with[sizeof(providers) / sizeof(providers[0])];
    size_t count = 0, at = 0;
    for (size_t i = 0; providers[i]; i++)
        if (providers[i]->embed)
            with[count++] = providers[i]->name;
    ret[0] = '\0';
    for (size_t i = 0; i < count && at < PROVIDER_NAMES_BYTES; i++)
        at += (size_t)snprintf(ret + at, PROVIDER_NAMES_BYTES - at, "%s%s",
                               i == 0           ? ""
                               : i + 1 == count ? " or "
                                                : ", ",
                               with[i]);
}

bool provider_encode(const struct provider *provider, const struct provider_model *model,
                     const struct prompt *prompt, struct arena *arena, struct provider_request *ret,
                     struct err *err)
{
    char others[PROVIDER_NAMES_BYTES];
    if (!prompt->inputs)
        return provider->encode(model, prompt, arena, ret, err);
    if (provider->embed)
        return provider->embed->encode(provider->embed, model, prompt, arena, ret, err);
    provider_embedding_names(others);
    err_set(err, ERR_INVALID_REQUEST, "provider '%s' has no embeddings; use a model of %s",
            provider->name, others);
    return false;
}

bool provider_decode(const struct provider *provider, const struct prompt *prompt,
                     const struct provider_reply *reply, struct arena *arena, struct answer *ret,
                     struct err *err)
{
    if (!prompt->inputs)
        return provider->decode(reply, arena, ret, err);
    return provider->embed->decode(provider->embed, prompt, reply, arena, ret, err);
}

struct status_meaning {
    int from, to;
    enum err_code code;
};

/* First match counts. 529 is Anthropic's "overloaded". */
static const struct status_meaning meanings[] = {
    {401, 401, ERR_PROVIDER_AUTH},    {402, 402, ERR_PROVIDER_QUOTA},
    {403, 403, ERR_PROVIDER_AUTH},    {404, 404, ERR_PROVIDER_NOT_FOUND},
    {408, 408, ERR_PROVIDER_TIMEOUT}, {409, 409, ERR_PROVIDER_DOWN},
    {425, 425, ERR_PROVIDER_DOWN},    {429, 429, ERR_PROVIDER_RATE},
    {400, 499, ERR_PROVIDER_REQUEST}, {504, 504, ERR_PROVIDER_TIMEOUT},
    {500, 599, ERR_PROVIDER_DOWN},    {100, 999, ERR_PROVIDER_BAD_REPLY},
};

static enum err_code code_of(int status)
{
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
        if (status >= meanings[i].from && status <= meanings[i].to)
            return meanings[i].code;
    return ERR_PROVIDER_BAD_REPLY;
}

void provider_status_error(const struct provider_reply *reply, struct str message, struct err *err)
{
    if (!str_utf8_valid(message))
        message = STR("(not UTF-8)");
    err_set(err, code_of(reply->status), "the provider answered %d: " STR_FMT, reply->status,
            STR_ARG(str_utf8_cut(message, VENDOR_WORDS_MAX)));
    err->retry_after_ms = provider_retry_after_ms(reply);
}

static int64_t clamp_pause(double ms)
{
    if (isnan(ms) || ms <= 0)
        return 0;
    return ms > RETRY_AFTER_MS_MAX ? RETRY_AFTER_MS_MAX : (int64_t)ceil(ms);
}

/* "Wed, 21 Oct 2015 07:28:00 GMT" (RFC 9110, 5.6.7; the obsolete forms are not read). */
static int64_t until_date(struct str text, int64_t wall_ms)
{
    char date[40];
    struct tm tm = {0};
    if (text.len >= sizeof(date))
        return 0;
    memcpy(date, text.data, text.len);
    date[text.len] = '\0';
    if (!strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        return 0;
    return clamp_pause((double)timegm(&tm) * 1000.0 - (double)wall_ms);
}

int64_t provider_retry_after_ms(const struct provider_reply *reply)
{
    double number;
    struct str exact = str_trim(reply->retry_after_ms), coarse = str_trim(reply->retry_after);
    if (!str_empty(exact) && str_to_f64(exact, &number))
        return clamp_pause(number);
    if (str_empty(coarse))
        return reply->status == 429 ? rate_reset_ms(reply->rate_headers, reply->wall_ms) : 0;
    if (str_to_f64(coarse, &number))
        return clamp_pause(number * 1000.0);
    return until_date(coarse, reply->wall_ms);
}

struct str provider_url(const struct provider_model *model, const char *home, const char *path,
                        struct arena *arena)
{
    struct str base = str_empty(model->base_url) ? str_of(home) : model->base_url;
    return ARENA_JOIN(arena, base, str_of(path));
}

void provider_add_header(struct provider_request *request, struct str name, struct str value)
{
    must(request->header_count < PROVIDER_HEADERS_MAX);
    request->headers[request->header_count++] = (struct provider_header){name, value};
}

void provider_add_json(struct provider_request *request)
{
    provider_add_header(request, STR("Content-Type"), STR("application/json"));
}

void provider_add_bearer(struct provider_request *request, const struct provider_model *model,
                         struct arena *arena)
{
    if (!str_empty(model->api_key))
        provider_add_header(request, STR("Authorization"),
                            ARENA_JOIN(arena, STR("Bearer "), model->api_key));
}

void provider_add_configured(struct provider_request *request, const struct provider_model *model)
{
    for (size_t i = 0; i < model->header_count && request->header_count < PROVIDER_HEADERS_MAX; i++)
        provider_add_header(request, model->header_names[i], model->header_values[i]);
}

static bool text_part(const struct value *part, struct str *ret)
{
    *ret = value_get_str(part, "text");
    return ret->data != NULL;
}

struct str provider_content_text(const struct value *content, struct arena *arena)
{
    if (!content || content->kind == VALUE_NULL)
        return STR("");
    if (content->kind == VALUE_STR)
        return content->text;
    size_t bytes = 0;
    struct str text;
    for (uint32_t i = 0; content->kind == VALUE_LIST && i < content->count; i++)
        bytes += text_part(&content->items[i], &text) ? text.len : 0;
    char *joined = arena_alloc(arena, bytes + 1);
    size_t at = 0;
    for (uint32_t i = 0; content->kind == VALUE_LIST && i < content->count; i++) {
        if (!text_part(&content->items[i], &text))
            continue;
        memcpy(joined + at, text.data, text.len);
        at += text.len;
    }
    joined[at] = '\0';
    return str_from(joined, at);
}

bool provider_is_system(const struct value *message)
{
    struct str role = value_get_str(message, "role");
    return str_is(role, "system") || str_is(role, "developer");
}

/* Two rounds: there may be thousands, and a copy for each step would be their square. */
struct str provider_join_texts(const struct value *messages, bool system, struct arena *arena)
{
    struct str *texts = arena_array(arena, struct str, messages->count + 1);
    size_t bytes = 0, count = 0, at = 0;
    for (uint32_t i = 0; i < messages->count; i++) {
        const struct value *message = &messages->items[i];
        if (provider_is_system(message) != system)
            continue;
        texts[count] = provider_content_text(value_get(message, STR("content")), arena);
        bytes += texts[count++].len + 2;
    }
    if (!count)
        return (struct str){0};
    char *joined = arena_alloc(arena, bytes + 1);
    for (size_t i = 0; i < count; i++) {
        memcpy(joined + at, texts[i].data, texts[i].len);
        at += texts[i].len;
        memcpy(joined + at, "\n\n", 2);
        at += 2;
    }
    joined[at - 2] = '\0';
    return str_from(joined, at - 2);
}

int64_t provider_max_tokens(const struct provider_model *model, const struct params *params)
{
    return params->max_tokens != INT_ABSENT ? params->max_tokens : model->max_tokens;
}

double provider_temperature(const struct provider_model *model, const struct params *params)
{
    return isnan(params->temperature) ? model->temperature : params->temperature;
}

static void free_body(void *body)
{
    buf_done(body);
}

void provider_body_open(struct provider_body *body, struct arena *arena)
{
    struct provider_body fresh = {.bytes = arena_new(arena, struct buf)};
    buf_init(fresh.bytes, PROVIDER_BODY_MAX);
    buf_reserve(fresh.bytes, PROVIDER_BODY_FIRST);
    arena_defer(arena, free_body, fresh.bytes);
    fresh.json.out = fresh.bytes;
    *body = fresh;
    json_open(&body->json, '{');
}

bool provider_body_close(struct provider_body *body, struct str *ret, struct err *err)
{
    json_close(&body->json, '}');
    if (body->bytes->overflowed) {
        err_set(err, ERR_TOO_BIG, "the provider request is larger than %d bytes",
                PROVIDER_BODY_MAX);
        return false;
    }
    *ret = buf_str(body->bytes);
    return true;
}

bool provider_read_json(const struct provider_reply *reply, struct arena *arena, struct value *ret,
                        struct err *err)
{
    struct err why = {0};
    if (json_read(reply->body, arena, ret, &why) && ret->kind == VALUE_MAP)
        return true;
    if (why.code == ERR_TOO_BIG && reply->status == 200)
        err_set(err, ERR_TOO_BIG, "the provider's reply: %s", why.text); /* it would be again */
    else if (reply->status >= 200 && reply->status < 300)
        err_set(err, ERR_PROVIDER_BAD_REPLY, "the provider's reply is not a JSON object");
    else
        provider_status_error(reply, STR("(no JSON body)"), err);
    return false;
}

int64_t provider_count(const struct value *map, const char *key)
{
    const struct value *value = value_get(map, str_of(key));
    double n = !value                      ? 0
               : value->kind == VALUE_INT  ? (double)value->number
               : value->kind == VALUE_REAL ? value->real /* 12.0, as some write it */
                                           : 0;
    return n >= 0 && n <= PROVIDER_TOKENS_MAX ? (int64_t)n : 0;
}

void provider_cap_usage(struct usage *usage)
{
    if (usage->cached_input > usage->input)
        usage->cached_input = usage->input;
    if (usage->cache_write > usage->input - usage->cached_input)
        usage->cache_write = usage->input - usage->cached_input;
    if (usage->reasoning > usage->output)
        usage->reasoning = usage->output;
}

void provider_write_real(struct json_writer *json, const char *key, double value)
{
    if (isnan(value))
        return;
    json_key(json, key);
    json_real(json, value);
}

void provider_write_int(struct json_writer *json, const char *key, int64_t value)
{
    if (value == INT_ABSENT)
        return;
    json_key(json, key);
    json_int(json, value);
}

void provider_write_any(struct json_writer *json, const char *key, const struct value *value)
{
    if (!value)
        return;
    json_key(json, key);
    json_value(json, value);
}

void provider_write_strs(struct json_writer *json, const char *key, struct str_list strs)
{
    if (!strs.count)
        return;
    json_key(json, key);
    json_open(json, '[');
    for (size_t i = 0; i < strs.count; i++)
        json_str(json, strs.items[i]);
    json_close(json, ']');
}
