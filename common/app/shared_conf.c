/*
 * shared_conf.c -- the rows of one model, what a table cannot check, and the way into the doors.
 *
 * Reserved Kafka properties are those a guarantee stands on: a deployment that set them would lose
 * or repeat work without a word. The door has a list of its own for what only it knows.
 */
#include "common/app/shared_conf.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/app/addresses.h"
#include "common/app/prices.h"

enum {
    MODEL_NAME_BYTES_MAX = 128,
    TENANT_NAME_BYTES_MAX = 64, /* of a request's */
    TOPIC_PREFIX_BYTES_MAX = 100,
    HEADERS_MAX = 12, /* beside a provider's own */
    API_KEYS_MAX = 31,
    WARNING_BYTES_MAX = 512
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

#undef ROW
#define ROW(key, kind, otherwise, min, max, field, sentence)                                       \
    {                                                                                              \
        key, kind, otherwise, min, max, NULL, true, offsetof(struct tenant_conf, field), NULL, 0,  \
            sentence                                                                               \
    }

const struct conf_row tenant_conf_rows[] = {
    ROW("name", CONF_STR, NULL, 0, 0, name, "The tenant, as requests name it; 'default': each tenant that has no item of its own"),
    ROW("weight", CONF_INT, "1", 1, 1000, weight, "Its part of the tokens when tenants compete, against 1 of each other's"),
    ROW("requests_per_minute", CONF_INT, "0", 0, 1000000000, requests_per_minute, "Most calls in any 60 seconds, over all models and the whole fleet; 0: no limit"),
    ROW("tokens_per_minute", CONF_INT, "0", 0, 1000000000000, tokens_per_minute, "The same for tokens, input and output; 0: no limit"),
    ROW("user_requests_per_minute", CONF_INT, "0", 0, 1000000000, user_requests_per_minute, "The same for each user of the tenant (a request's 'user')"),
    ROW("user_tokens_per_minute", CONF_INT, "0", 0, 1000000000000, user_tokens_per_minute, "The same for tokens"),
    ROW("budget_day", CONF_REAL, "0", 0, 1000000000, budget_day, "US dollars that the tenant's calls may cost in a day (UTC), over the whole fleet; 0: no budget. Needs prices"),
    ROW("budget_month", CONF_REAL, "0", 0, 1000000000, budget_month, "The same for a calendar month"),
    {0},
};

struct reserved {
    const char *name;
    const char *why;
};

static const struct reserved reserved[] = {
    {"enable.auto.commit", "offsets are committed when work is finished"},
    {"auto.commit.enable", "offsets are committed when work is finished"},
    {"enable.auto.offset.store", "offsets are committed when work is finished"},
    {"auto.offset.reset", "a lost offset stops the program instead of skipping messages"},
    {"enable.idempotence", "the producer is always idempotent"},
    {"transactional.id", "Kafka transactions are not used"},
    {"acks", "a record is safe only when all in-sync replicas have it"},
    {"request.required.acks", "a record is safe only when all in-sync replicas have it"},
    {"partitioner", "all publishers must put one session into the same partition"},
    {"partition.assignment.strategy", "assignment is eager"},
    {"enable.partition.eof", "the end of a partition is a signal the programs need"},
    {"group.id", "use the program's 'group' setting"},
    {"group.instance.id", "it is made of the program's 'instance' setting and a number"},
    {"client.id", "it is made of the program's 'instance' setting and a number"},
    {"session.timeout.ms", "use 'kafka.session_timeout'"},
    {"bootstrap.servers", "use 'kafka.bootstrap_servers'"},
    {"metadata.broker.list", "use 'kafka.bootstrap_servers'"},
    {"message.timeout.ms", "use 'kafka.delivery_timeout'"},
    {"delivery.timeout.ms", "use 'kafka.delivery_timeout'"},
    {"message.max.bytes", "use 'kafka.message_bytes_max'"},
    {"linger.ms", "use 'kafka.linger'"},
    {"queue.buffering.max.ms", "use 'kafka.linger'"},
    {NULL, NULL},
};
/* clang-format on */

static bool check_properties(const struct conf_props *properties, struct err *err)
{
    for (size_t i = 0; i < properties->count; i++)
        for (const struct reserved *row = reserved; row->name; row++) {
            if (!str_is(properties->keys[i], row->name))
                continue;
            err_set(err, ERR_CONFIG, "kafka.properties: '%s' cannot be set: %s", row->name,
                    row->why);
            return false;
        }
    return true;
}

bool conf_has_control(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] < ' ' || s.data[i] == 0x7f)
            return true;
    return false;
}

static bool refuse_model(const struct model_conf *model, const char *member, const char *why,
                         struct err *err)
{
    err_set(err, ERR_CONFIG, "'models." STR_FMT ".%s' %s", STR_ARG(model->name), member, why);
    return false;
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

static bool check_headers(const struct model_conf *model, struct err *err)
{
    const struct conf_props *headers = &model->headers;

    for (size_t i = 0; i < headers->count; i++)
        if (!is_header_name(headers->keys[i]) || conf_has_control(headers->values[i]))
            return refuse_model(model, "headers",
                                "has a name that is none for a header, or a line break in it", err);
    for (size_t i = 0; i < headers->count; i++)
        if (is_ours(headers->keys[i]))
            return refuse_model(model, "headers",
                                "has Content-Length, Transfer-Encoding, Expect, Connection, "
                                "X-Request-Id or Idempotency-Key, which are the worker's own",
                                err);
    if (headers->count > HEADERS_MAX)
        return refuse_model(model, "headers", "has more than 12 names", err);
    return true;
}

/* A path is put behind it: what follows '?' or '#' would swallow that. */
static bool check_base_url(const struct model_conf *model, struct err *err)
{
    const struct provider_facts *facts = provider_facts(model->provider);
    struct str url = model->base_url;

    if (str_empty(url) && facts && !*facts->home)
        return refuse_model(model, "base_url",
                            "must be set: this provider has no address of its own", err);
    if (!str_empty(url) && !str_starts(url, STR("http://")) && !str_starts(url, STR("https://")))
        return refuse_model(model, "base_url", "must begin with http:// or https://", err);
    if (conf_has_control(url))
        return refuse_model(model, "base_url", "has a line break in it", err);
    if (!str_empty(url) && !address_plain(url))
        return refuse_model(model, "base_url",
                            "must name a host, or a host and a port, and no user: a password "
                            "belongs into headers",
                            err);
    if (str_index(url, '?') < url.len || str_index(url, '#') < url.len ||
        str_index(url, ' ') < url.len)
        return refuse_model(model, "base_url",
                            "must be an address alone, without blanks, '?' and '#'", err);
    return true;
}

/* Only azure has a use for it. */
static bool check_api_version(const struct model_conf *model, struct err *err)
{
    struct str version = model->api_version;
    bool good = !str_is(model->provider, "azure") || !str_empty(version);

    for (size_t i = 0; i < version.len; i++) {
        char c = version.data[i];
        good &= (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
    }
    return good || refuse_model(model, "api_version", "must be a date such as 2024-10-21", err);
}

static struct str address_of(const struct model_conf *model)
{
    const struct provider_facts *facts = provider_facts(model->provider);
    return str_empty(model->base_url) && facts ? str_of(facts->home) : model->base_url;
}

static bool check_transport(const struct model_conf *model, struct err *err)
{
    if (str_is(model->http, "2") && !str_starts(address_of(model), STR("https://")))
        return refuse_model(model, "http", "can be 2 only where base_url begins with https://",
                            err);
    if (conf_has_control(model->ca_file))
        return refuse_model(model, "ca_file", "has a line break in it", err);
    char path[PATH_MAX];
    snprintf(path, sizeof(path), STR_FMT, STR_ARG(model->ca_file));
    if (!str_empty(model->ca_file) && access(path, R_OK) != 0)
        return refuse_model(model, "ca_file", "names a file that cannot be read", err);
    return true;
}

/* The key goes to the address, so where it may go can be said in one place. */
static bool check_address(const struct model_conf *model, const struct conf_strs *allowed,
                          struct err *err)
{
    struct str url = address_of(model);
    if (str_empty(url) || address_allowed(url, allowed))
        return true;
    err_set(err, ERR_CONFIG,
            "'models." STR_FMT "' is at '" STR_FMT
            "', which is none of providers.allowed_addresses; correct its base_url, or add the "
            "host there",
            STR_ARG(model->name), STR_ARG(str_utf8_cut(address_host(url), 100)));
    return false;
}

static bool check_model(const struct model_conf *model, struct err *err)
{
    if (conf_has_control(model->name) || model->name.len > MODEL_NAME_BYTES_MAX)
        return refuse_model(model, "name", "must be at most 128 bytes without line breaks", err);
    if (conf_has_control(model->api_key))
        return refuse_model(model, "api_key", "has a line break in it", err);
    if (model->api_keys.count > API_KEYS_MAX)
        return refuse_model(model, "api_keys", "has more than 31 keys", err);
    for (size_t i = 0; i < model->api_keys.count; i++)
        if (conf_has_control(model->api_keys.items[i]))
            return refuse_model(model, "api_keys", "has a key with a line break in it", err);
    return check_base_url(model, err) && check_headers(model, err) &&
           check_api_version(model, err) && check_transport(model, err);
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

static void warn_of_key(const struct model_conf *model,
                        void (*visit)(const char *text, void *context), void *context)
{
    char text[WARNING_BYTES_MAX];
    if (!model_conf_lacks_key(model))
        return;
    snprintf(text, sizeof(text),
             "'models." STR_FMT ".api_key' is not set: " STR_FMT
             " refuses calls without a key; set it, as ${%s}, or api_key_file",
             STR_ARG(model->name), STR_ARG(model->provider), provider_facts(model->provider)->key);
    visit(text, context);
}

static void warn_of_price(const struct model_conf *model, const struct prices *prices,
                          void (*visit)(const char *text, void *context), void *context)
{
    char text[WARNING_BYTES_MAX];
    struct price price;
    if (prices_of(prices, model, &price))
        return;
    snprintf(text, sizeof(text),
             "'models." STR_FMT "' has no price: the cost of its calls is not known (null); add"
             " " STR_FMT "/" STR_FMT " to prices_file, or set price_input and price_output",
             STR_ARG(model->name), STR_ARG(model->provider),
             STR_ARG(str_empty(model->model) ? model->name : model->model));
    visit(text, context);
}

/* A budget of its own, or of any tenant. */
static bool has_budget(const struct shared_conf *conf, const struct model_conf *model)
{
    const struct tenant_conf *tenants = conf->tenants.items;
    bool any = model->budget_day > 0 || model->budget_month > 0;

    for (size_t i = 0; i < conf->tenants.count; i++)
        any |= tenants[i].budget_day > 0 || tenants[i].budget_month > 0;
    return any;
}

static void warn_of_budget(const struct shared_conf *conf, const struct model_conf *model,
                           const struct prices *prices,
                           void (*visit)(const char *text, void *context), void *context)
{
    char text[WARNING_BYTES_MAX];
    struct price price;
    if (!has_budget(conf, model) || prices_of(prices, model, &price))
        return;
    snprintf(text, sizeof(text),
             "'models." STR_FMT "' has no price: its calls cost nothing where a budget is counted, "
             "so no 'budget_day' or 'budget_month' holds them",
             STR_ARG(model->name));
    visit(text, context);
}

void shared_conf_each_warning(const struct shared_conf *conf,
                              void (*visit)(const char *text, void *context), void *context)
{
    const struct model_conf *models = conf->models.items;
    struct err err;
    struct prices *prices = prices_load(conf->prices_file, &err);
    if (!prices)
        visit(err.text, context);
    for (size_t i = 0; i < conf->models.count; i++) {
        warn_of_key(&models[i], visit, context);
        if (prices)
            warn_of_price(&models[i], prices, visit, context);
        if (prices)
            warn_of_budget(conf, &models[i], prices, visit, context);
    }
    prices_free(prices);
}

static bool check_tenants(const struct shared_conf *conf, struct err *err)
{
    const struct tenant_conf *tenants = conf->tenants.items;

    for (size_t i = 0; i < conf->tenants.count; i++) {
        if (str_empty(tenants[i].name) || tenants[i].name.len > TENANT_NAME_BYTES_MAX ||
            conf_has_control(tenants[i].name)) {
            err_set(err, ERR_CONFIG,
                    "'tenants." STR_FMT ".name' must be 1 to %d bytes without line breaks",
                    STR_ARG(str_utf8_cut(tenants[i].name, 80)), TENANT_NAME_BYTES_MAX);
            return false;
        }
        for (size_t k = 0; k < i; k++)
            if (str_eq(tenants[k].name, tenants[i].name)) {
                err_set(err, ERR_CONFIG, "'tenants." STR_FMT "' stands there twice",
                        STR_ARG(tenants[i].name));
                return false;
            }
    }
    return true;
}

/* What Kafka takes as a topic's name, with room for our own part behind it. */
static bool check_prefix(struct str prefix, struct err *err)
{
    bool good = prefix.len > 0 && prefix.len <= TOPIC_PREFIX_BYTES_MAX;

    for (size_t i = 0; i < prefix.len; i++) {
        char c = prefix.data[i];
        good &= (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                c == '.' || c == '_' || c == '-';
    }
    if (!good)
        err_set(err, ERR_CONFIG,
                "'topics.prefix' must be 1 to %d letters, digits, '.', '_' or '-', is '" STR_FMT
                "'",
                TOPIC_PREFIX_BYTES_MAX, STR_ARG(str_utf8_cut(prefix, 80)));
    return good;
}

bool shared_conf_has_model(const struct shared_conf *conf, struct str name)
{
    const struct model_conf *models = conf->models.items;

    for (size_t i = 0; i < conf->models.count; i++)
        if (str_eq(models[i].name, name))
            return true;
    return false;
}

static bool check_default_model(const struct shared_conf *conf, struct err *err)
{
    if (str_empty(conf->default_model) || conf->models.count == 0)
        return true;
    if (shared_conf_has_model(conf, conf->default_model))
        return true;
    err_set(err, ERR_CONFIG, "'default_model': no model '" STR_FMT "' is configured",
            STR_ARG(conf->default_model));
    return false;
}

bool shared_conf_check(const struct shared_conf *conf, struct err *err)
{
    const struct model_conf *models = conf->models.items;

    if (!check_properties(&conf->kafka_properties, err) || !check_prefix(conf->topic_prefix, err) ||
        !check_default_model(conf, err) || !check_tenants(conf, err))
        return false;
    for (size_t i = 0; i < conf->models.count; i++)
        if (!check_model(&models[i], err) ||
            !check_address(&models[i], &conf->allowed_addresses, err))
            return false;
    return route_conf_check(conf, err);
}

void shared_kafka_conf(const struct shared_conf *conf, struct kafka_conf *ret)
{
    *ret = (struct kafka_conf){
        .bootstrap_servers = conf->kafka_servers,
        .properties = &conf->kafka_properties,
        .session_timeout_ms = conf->session_timeout_ms,
        .fetch_bytes_max = conf->fetch_bytes_max,
        .message_bytes_max = conf->message_bytes_max,
        .linger_ms = conf->linger_ms,
        .delivery_timeout_ms = conf->delivery_timeout_ms,
    };
}

void shared_postgres_conf(const struct shared_conf *conf, struct postgres_conf *ret)
{
    *ret = (struct postgres_conf){
        .conninfo = conf->postgres_conninfo,
        .password = str_empty(conf->postgres_password) ? (struct str){0} : conf->postgres_password,
    };
}

void shared_redis_conf(const struct shared_conf *conf, struct redis_conf *ret)
{
    *ret = (struct redis_conf){
        .url = str_empty(conf->redis_url) ? (struct str){0} : conf->redis_url,
        .password = str_empty(conf->redis_password) ? (struct str){0} : conf->redis_password,
        .command_timeout_ms = conf->redis_timeout_ms,
    };
}
