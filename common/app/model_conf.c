/*
 * model_conf.c -- the rows of one model, the providers there are, and what a table cannot check of
 * a model.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/app/addresses.h"
#include "common/app/shared_conf.h"

enum {
    MODEL_NAME_BYTES_MAX = 128,
    HEADERS_MAX = 12, /* beside a provider's own */
    API_KEYS_MAX = 31,
    KEY_BYTES_MAX = 384
};

static const struct provider_facts providers[] = {
#define PROVIDER(name, home, key) {#name, home, key},
#include "schemas/provider.def"
#undef PROVIDER
};

/* "|openai|anthropic|.." */
static const char provider_choices[] =
#define PROVIDER(name, home, key) "|" #name
#include "schemas/provider.def"
#undef PROVIDER
    ;

#define ROW(key, kind, otherwise, min, max, choices, field, sentence)                              \
    {                                                                                              \
        key, kind, otherwise, min, max, choices, true, offsetof(struct model_conf, field), NULL,   \
            0, sentence                                                                            \
    }

/* clang-format off */
const struct conf_row model_conf_rows[] = {
    ROW("name", CONF_STR, NULL, 0, 0, NULL, name, "Name by which requests ask for the model"),
    ROW("provider", CONF_ENUM, "openai", 0, 0, provider_choices + 1, provider, "Whose dialect is spoken; openai also for every compatible server"),
    ROW("model", CONF_STR, "", 0, 0, NULL, model, "The provider's name for it, azure: the deployment's; empty: the same name"),
    ROW("base_url", CONF_STR, "", 0, 0, NULL, base_url, "Address without /v1; empty: the provider's own. Azure has none and needs https://RESOURCE.openai.azure.com"),
    ROW("api_key", CONF_SECRET, "", 0, 0, NULL, api_key, "Key; better as ${OPENAI_API_KEY} or api_key_file"),
    ROW("api_keys", CONF_SECRETS, "", 0, 0, NULL, api_keys, "Several keys, beside api_key or instead of it: calls are spread over them; one that is refused or slowed down is left alone for a while. Rate limits are per key"),
    ROW("fallback", CONF_STRS, "", 0, 0, NULL, fallback, "Models that are asked, in this order, when this one fails or is away"),
    ROW("context_tokens", CONF_INT, "0", 0, 1000000000, NULL, context_tokens, "Size of the context window; a route passes it over for what is surely larger; 0: not known"),
    ROW("latency_class", CONF_ENUM, "normal", 0, 0, "interactive|normal|slow", latency_class, "How fast it usually answers (about 1, 3, 15 seconds); counts where nothing was measured yet"),
    ROW("local", CONF_BOOL, "false", 0, 0, NULL, local, "Runs on machines of our own: free without a price, and what prefer_local and the policy rule mean"),
    ROW("api", CONF_ENUM, "chat", 0, 0, "chat|generate", api, "Ollama: /api/chat or /api/generate"),
    ROW("api_version", CONF_STR, "2024-10-21", 0, 0, NULL, api_version, "Azure: version of its API, a date; reasoning models need 2024-12-01-preview or later"),
    ROW("http", CONF_ENUM, "auto", 0, 0, "auto|1.1|2", http, "Version of HTTP; 2: up to 100 calls share a connection where the server agrees (https only); auto: as 2 for https, else 1.1"),
    ROW("ca_file", CONF_STR, "", 0, 0, NULL, ca_file, "File of certificates (PEM) that the server's must come from; empty: the system's"),
    ROW("max_tokens", CONF_INT, "0", 0, 10000000, NULL, max_tokens, "Most tokens of an answer when the request does not say; 0: the provider's own"),
    ROW("temperature", CONF_REAL, "", 0, 2, NULL, temperature, "Temperature when the request does not say; empty: the provider's own"),
    ROW("timeout", CONF_DURATION, "120s", 10, 86400000, NULL, timeout_ms, "Longest call, from connect to the last byte"),
    ROW("connect_timeout", CONF_DURATION, "5s", 10, 600000, NULL, connect_timeout_ms, "Longest connect, TLS included"),
    ROW("stream", CONF_ENUM, "auto", 0, 0, "auto|on|off", stream, "Whether answers are asked for piece by piece, so that silence and cuts are seen at once; auto: for interactive requests, not in the batch lane"),
    ROW("first_token_timeout", CONF_DURATION, "60s", 10, 86400000, NULL, first_token_timeout_ms, "Of a streamed answer: longest wait for its first token, thinking included"),
    ROW("idle_timeout", CONF_DURATION, "30s", 10, 86400000, NULL, idle_timeout_ms, "Of a streamed answer: longest silence behind its first token"),
    ROW("attempts_max", CONF_INT, "4", 1, 50, NULL, attempts_max, "Most calls for one answer, the first included; one that tries in vain whether a provider that seems to be away is back does not count"),
    ROW("breaker_failures", CONF_INT, "10", 0, 1000000, NULL, breaker_failures, "Calls in a row that fail as if the provider were away (no connection, cut, time-out, 5xx) until calls wait for it; 0: they never do"),
    ROW("breaker_pause_max", CONF_DURATION, "1s", 100, 600000, NULL, breaker_pause_max_ms, "Longest pause between two calls that try whether it is back"),
    ROW("retry_budget", CONF_INT, "20", 0, 1000, NULL, retry_budget, "Most retries in vain, in percent of the requests; ten a second may be made in any case. Beyond it they wait"),
    ROW("hedge", CONF_ENUM, "off", 0, 0, "off|p95", hedge, "p95: a call without a sign of an answer for longer than 95 of 100 took lately is made a second time, with another key where there is one. The first answer counts, the other call is ended; both may be paid. Not in the batch lane"),
    ROW("hedge_floor", CONF_DURATION, "500ms", 1, 86400000, NULL, hedge_floor_ms, "No second call before this"),
    ROW("hedge_percent", CONF_INT, "5", 1, 100, NULL, hedge_percent, "Most second calls, in percent of the requests' first ones"),
    ROW("requests_per_minute", CONF_INT, "0", 0, 1000000000, NULL, requests_per_minute, "Rate limit that the whole fleet keeps to in any 60 seconds, per provider, address, key and the provider's name of the model; 0: none"),
    ROW("tokens_per_minute", CONF_INT, "0", 0, 1000000000000, NULL, tokens_per_minute, "The same for tokens, input and output; 0: none"),
    ROW("limits", CONF_ENUM, "learn", 0, 0, "learn|off", limits, "learn: a limit that is not set here is taken from the provider's headers, and where less is left than the fleet has used, others use the key, and it waits for them; off: what the headers say does not count"),
    ROW("concurrency_max", CONF_INT, "0", 0, 1000000, NULL, concurrency_max, "Most calls at once in each process, per provider, address, key and the provider's name of the model; fewer while the provider is overloaded or slow; 0: any number"),
    ROW("concurrency_min", CONF_INT, "1", 1, 1000000, NULL, concurrency_min, "It is not lowered further than this"),
    ROW("budget_day", CONF_REAL, "0", 0, 1000000000, NULL, budget_day, "US dollars that the calls of all entries with this provider, address and key may cost in a day (UTC), over the whole fleet; 0: no budget. Needs prices"),
    ROW("budget_month", CONF_REAL, "0", 0, 1000000000, NULL, budget_month, "The same for a calendar month"),
    ROW("price_input", CONF_REAL, "", 0, 1000000, NULL, price_input, "US dollars per million input tokens; empty: as in prices_file, without which there is no cost"),
    ROW("price_output", CONF_REAL, "", 0, 1000000, NULL, price_output, "US dollars per million output tokens"),
    ROW("price_cached_input", CONF_REAL, "", 0, 1000000, NULL, price_cached_input, "US dollars per million input tokens read from the provider's cache; empty: as other input"),
    ROW("price_cache_write", CONF_REAL, "", 0, 1000000, NULL, price_cache_write, "US dollars per million input tokens written to the provider's cache; empty: as other input"),
    ROW("headers", CONF_PROPS, "", 0, 0, "-", headers, "Further HTTP headers"),
    {0},
};
/* clang-format on */

/* A model that is being checked. */
struct subject {
    const struct model_conf *model;
    const struct conf_places *places;
    struct err *err;
};

/* Of its member `name`; "" is the model itself. */
static struct str key_of(const struct subject *s, const char *name, char room[KEY_BYTES_MAX])
{
    snprintf(room, KEY_BYTES_MAX, "models." STR_FMT "%s%s", STR_ARG(s->model->name),
             *name ? "." : "", name);
    return str_of(room);
}

static bool refuse(const struct subject *s, const char *member, const char *why)
{
    char key[KEY_BYTES_MAX];
    return conf_refuse(s->places, key_of(s, member, key), s->err, "%s", why);
}

/* What another member of the same model has to do with it: its place, in brackets. */
static struct conf_aside aside(const struct subject *s, const char *member)
{
    char key[KEY_BYTES_MAX];
    return conf_aside(s->places, key_of(s, member, key));
}

/* What RFC 9110 (5.6.2) takes as a header's name. */
static bool is_header_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return s.len > 0;
}

/* They say where a body ends, or which call it is; a second one would say it otherwise. */
static bool is_ours(struct str name)
{
    static const char *const names[] = {"content-length", "transfer-encoding", "expect",
                                        "connection",     "x-request-id",      "idempotency-key"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (str_eq_nocase(name, str_of(names[i])))
            return true;
    return false;
}

/* At the header's own line, but without its name: what was taken for one may hold its value. */
static bool refuse_header(const struct subject *s, struct str name, const char *why)
{
    char key[KEY_BYTES_MAX], member[KEY_BYTES_MAX];

    snprintf(member, sizeof(member), "headers." STR_FMT, STR_ARG(str_utf8_cut(name, 100)));
    const char *where = conf_place(s->places, key_of(s, member, key));
    err_set(s->err, ERR_CONFIG, "%s%s'" STR_FMT "' %s", where ? where : "", where ? ": " : "",
            STR_ARG(key_of(s, "headers", key)), why);
    return false;
}

static bool check_headers(const struct subject *s)
{
    const struct model_conf *model = s->model;
    const struct conf_props *headers = &model->headers;

    for (size_t i = 0; i < headers->count; i++)
        if (!is_header_name(headers->keys[i]) || conf_has_control(headers->values[i]))
            return refuse_header(s, headers->keys[i],
                                 "has a name that is none for a header, or a line break in it");
    for (size_t i = 0; i < headers->count; i++)
        if (is_ours(headers->keys[i]))
            return refuse_header(s, headers->keys[i],
                                 "has Content-Length, Transfer-Encoding, Expect, Connection, "
                                 "X-Request-Id or Idempotency-Key, which are the worker's own");
    if (headers->count > HEADERS_MAX)
        return refuse(s, "headers", "has more than 12 names");
    return true;
}

/* A path is put behind it: what follows '?' or '#' would swallow that. */
static bool check_base_url(const struct subject *s)
{
    const struct model_conf *model = s->model;
    const struct provider_facts *facts = provider_facts(model->provider);
    struct str url = model->base_url;

    if (str_empty(url) && facts && !*facts->home)
        return refuse(s, "base_url", "must be set: this provider has no address of its own");
    if (!str_empty(url) && !str_starts(url, STR("http://")) && !str_starts(url, STR("https://")))
        return refuse(s, "base_url", "must begin with http:// or https://");
    if (conf_has_control(url))
        return refuse(s, "base_url", "has a line break in it");
    if (!str_empty(url) && !address_plain(url))
        return refuse(s, "base_url",
                      "must name a host, or a host and a port, and no user: a password "
                      "belongs into headers");
    if (str_index(url, '?') < url.len || str_index(url, '#') < url.len ||
        str_index(url, ' ') < url.len)
        return refuse(s, "base_url", "must be an address alone, without blanks, '?' and '#'");
    return true;
}

/* Only azure has a use for it. */
static bool check_api_version(const struct subject *s)
{
    const struct model_conf *model = s->model;
    struct str version = model->api_version;
    bool good = !str_is(model->provider, "azure") || !str_empty(version);

    for (size_t i = 0; i < version.len; i++) {
        char c = version.data[i];
        good &= (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
    }
    return good || refuse(s, "api_version", "must be a date such as 2024-10-21");
}

static struct str address_of(const struct model_conf *model)
{
    const struct provider_facts *facts = provider_facts(model->provider);
    return str_empty(model->base_url) && facts ? str_of(facts->home) : model->base_url;
}

static bool refuse_http(const struct subject *s)
{
    char key[KEY_BYTES_MAX];
    return conf_refuse(s->places, key_of(s, "http", key), s->err,
                       "can be 2 only where base_url%s begins with https://",
                       aside(s, "base_url").text);
}

static bool check_transport(const struct subject *s)
{
    const struct model_conf *model = s->model;
    char path[PATH_MAX];

    if (str_is(model->http, "2") && !str_starts(address_of(model), STR("https://")))
        return refuse_http(s);
    if (conf_has_control(model->ca_file))
        return refuse(s, "ca_file", "has a line break in it");
    snprintf(path, sizeof(path), STR_FMT, STR_ARG(model->ca_file));
    if (!str_empty(model->ca_file) && access(path, R_OK) != 0)
        return refuse(s, "ca_file", "names a file that cannot be read");
    return true;
}

/* The key goes to the address, so where it may go can be said in one place. */
static bool check_address(const struct subject *s, const struct conf_strs *allowed)
{
    struct str url = address_of(s->model);
    char key[KEY_BYTES_MAX];

    if (str_empty(url) || address_allowed(url, allowed))
        return true;
    return conf_refuse(s->places, key_of(s, str_empty(s->model->base_url) ? "" : "base_url", key),
                       s->err,
                       "is at '" STR_FMT "', which is none of providers.allowed_addresses%s; "
                       "correct it, or add the host there",
                       STR_ARG(str_utf8_cut(address_host(url), 100)),
                       conf_aside(s->places, STR("providers.allowed_addresses")).text);
}

static bool check_concurrency(const struct subject *s)
{
    const struct model_conf *model = s->model;
    char key[KEY_BYTES_MAX];

    if (!model->concurrency_max || model->concurrency_min <= model->concurrency_max)
        return true;
    return conf_refuse(s->places, key_of(s, "concurrency_min", key), s->err,
                       "is %lld, more than concurrency_max, %lld%s",
                       (long long)model->concurrency_min, (long long)model->concurrency_max,
                       aside(s, "concurrency_max").text);
}

static bool check_names(const struct subject *s)
{
    const struct model_conf *model = s->model;

    if (conf_has_control(model->name) || model->name.len > MODEL_NAME_BYTES_MAX)
        return refuse(s, "name", "must be at most 128 bytes without line breaks");
    if (conf_has_control(model->api_key))
        return refuse(s, "api_key", "has a line break in it");
    if (model->api_keys.count > API_KEYS_MAX)
        return refuse(s, "api_keys", "has more than 31 keys");
    for (size_t i = 0; i < model->api_keys.count; i++)
        if (conf_has_control(model->api_keys.items[i]))
            return refuse(s, "api_keys", "has a key with a line break in it");
    return true;
}

bool model_conf_check(const struct model_conf *model, const struct conf_strs *allowed,
                      const struct conf_places *places, struct err *err)
{
    const struct subject s = {.model = model, .places = places, .err = err};
    return check_names(&s) && check_base_url(&s) && check_headers(&s) && check_api_version(&s) &&
           check_transport(&s) && check_concurrency(&s) && check_address(&s, allowed);
}

const struct provider_facts *provider_facts(struct str name)
{
    for (size_t i = 0; i < sizeof(providers) / sizeof(providers[0]); i++)
        if (str_is(name, providers[i].name))
            return &providers[i];
    return NULL;
}

static bool carries_key(struct str header)
{
    return str_eq_nocase(header, STR("authorization")) || str_eq_nocase(header, STR("api-key")) ||
           str_eq_nocase(header, STR("x-api-key"));
}

bool model_conf_lacks_key(const struct model_conf *model)
{
    const struct provider_facts *facts = provider_facts(model->provider);

    if (!facts || !*facts->key || !str_empty(model->api_key))
        return false;
    for (size_t i = 0; i < model->api_keys.count; i++)
        if (!str_empty(model->api_keys.items[i]))
            return false;
    /* Behind a base_url may be a server that needs none, but for vendors who have nothing else. */
    if (*facts->home && !str_empty(model->base_url))
        return false;
    for (size_t i = 0; i < model->headers.count; i++)
        if (carries_key(model->headers.keys[i]))
            return false;
    return true;
}
