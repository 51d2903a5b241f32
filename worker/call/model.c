/*
 * model.c -- see model.h.
 */
#include "worker/call/model.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/plant.h"
#include "common/base/xalloc.h"
#include "common/data/digest.h"

enum { LIMIT_ID_LEN = 32, POOL_LEN = 32 };
static const enum http_version http_auto = HTTP_2; /* docs/decisions/0014 */

struct model_table {
    unsigned holders;
    struct map by_name;
    struct model *models;
    size_t count;
    unsigned members; /* processes that make calls to them; 0: not known yet */
    struct map routes;
    struct str otherwise;
    const struct route *default_route;
    struct arena arena; /* all names and keys: the configuration may go before the table does */
};

/* api_key first, then api_keys; what is empty or there already is left out. */
static void fill_keys(struct model *model, const struct model_conf *conf, struct arena *arena)
{
    struct str *secrets = arena_array(arena, struct str, KEYS_MAX);
    size_t count = 0;
    for (size_t i = 0; i <= conf->api_keys.count && count < KEYS_MAX; i++) {
        struct str key = i ? conf->api_keys.items[i - 1] : conf->api_key;
        bool known = str_empty(key);
        for (size_t k = 0; k < count; k++)
            known |= str_eq(secrets[k], key);
        if (!known)
            secrets[count++] = arena_str(arena, key);
    }
    model->secrets = secrets;
    model->dialect.api_key = secrets[0];
    model->lacks_key = model_conf_lacks_key(conf);
    model->keys = arena_new(arena, struct keys);
    model->key_count = count ? count : 1;
    model->quotas = arena_array(arena, struct quota *, model->key_count);
}

static int64_t usual_ms(struct str latency_class)
{
    return str_is(latency_class, "interactive") ? 1000
           : str_is(latency_class, "slow")      ? 15000
                                                : 3000;
}

/* The hash shows nothing of the key; further headers may carry one, too. */
static struct str pool_of(const struct model *model, struct str key, struct arena *arena)
{
    const struct provider_model *d = &model->dialect;
    struct buf text;
    char hash[POOL_LEN + 1];
    buf_init(&text, 1 << 20);
    buf_printf(&text, "%s\n" STR_FMT "\n" STR_FMT, model->provider->name, STR_ARG(d->base_url),
               STR_ARG(key));
    for (size_t i = 0; i < d->header_count; i++)
        buf_printf(&text, "\n" STR_FMT ": " STR_FMT, STR_ARG(d->header_names[i]),
                   STR_ARG(d->header_values[i]));
    digest_sha256_hex(buf_str(&text), hash, POOL_LEN);
    buf_done(&text);
    return arena_str(arena, str_of(hash));
}

static void fill_transport(struct model *model, const struct model_conf *conf, struct arena *arena)
{
    model->http = str_is(conf->http, "1.1") ? HTTP_1_1
                  : str_is(conf->http, "2") ? HTTP_2
                                            : http_auto;
    model->ca_file = str_empty(conf->ca_file) ? (struct str){0} : arena_str(arena, conf->ca_file);
    struct str *pools = arena_array(arena, struct str, model->key_count);
    for (size_t i = 0; i < model->key_count; i++)
        pools[i] = pool_of(model, model->secrets[i], arena);
    model->pools = pools;
}

static bool fill(struct model *model, const struct model_conf *conf, struct arena *arena,
                 struct err *err)
{
    model->provider = provider_by_name(conf->provider);
    if (!model->provider) {
        err_set(err, ERR_CONFIG, "models.%.*s: unknown provider '%.*s'", STR_ARG(conf->name),
                STR_ARG(conf->provider));
        return false;
    }
    struct str url = conf->base_url;
    while (str_ends(url, STR("/")))
        url.len--;
    struct str *names = arena_array(arena, struct str, conf->headers.count + 1);
    struct str *values = arena_array(arena, struct str, conf->headers.count + 1);
    for (size_t i = 0; i < conf->headers.count; i++) {
        names[i] = arena_str(arena, conf->headers.keys[i]);
        values[i] = arena_str(arena, conf->headers.values[i]);
    }
    model->dialect = (struct provider_model){
        .name = arena_str(arena, conf->name),
        .model = arena_str(arena, str_empty(conf->model) ? conf->name : conf->model),
        .base_url = str_empty(url) ? (struct str){0} : arena_str(arena, url),
        .api = arena_str(arena, conf->api),
        .api_version = arena_str(arena, conf->api_version),
        .max_tokens = conf->max_tokens > 0 ? conf->max_tokens : INT_ABSENT,
        .temperature = conf->temperature,
        .header_names = names,
        .header_values = values,
        .header_count = conf->headers.count,
    };
    fill_keys(model, conf, arena);
    fill_transport(model, conf, arena);
    model->local = conf->local;
    model->context_tokens = conf->context_tokens;
    model->usual_ms = usual_ms(conf->latency_class);
    model->timeout_ms = conf->timeout_ms;
    model->connect_timeout_ms = conf->connect_timeout_ms;
    model->stream = str_is(conf->stream, "on")    ? MODEL_STREAM_ON
                    : str_is(conf->stream, "off") ? MODEL_STREAM_OFF
                                                  : MODEL_STREAM_AUTO;
    model->first_token_timeout_ms = conf->first_token_timeout_ms;
    model->idle_timeout_ms = conf->idle_timeout_ms;
    model->attempts_max = (unsigned)conf->attempts_max + (PLANTED(37) ? 2 : 0);
    model->hedge = (struct hedge_rule){.on = str_is(conf->hedge, "p95") || PLANTED(67),
                                       .floor_ms = conf->hedge_floor_ms,
                                       .percent = (unsigned)conf->hedge_percent};
    return true;
}

static struct key_state *key_of(const struct model *old, struct str secret)
{
    for (size_t i = 0; old && i < old->keys->count; i++)
        if (str_eq(old->secrets[i], secret))
            return old->keys->of[i];
    return xzalloc(sizeof(struct key_state));
}

/* What is known of the model's keys and of its latency, shared with the old table: calls that began
 * with that one are under way. */
static void remember(struct model *model, const struct model *old)
{
    model->latency = old ? old->latency : xzalloc(sizeof(*model->latency));
    if (!old)
        latency_init(model->latency);
    model->latency->holders++;
    model->hedging = old ? old->hedging : xzalloc(sizeof(*model->hedging));
    if (!old)
        hedging_init(model->hedging);
    model->hedging->holders++;
    for (size_t i = 0; i < model->key_count; i++) {
        struct key_state *state = key_of(old, model->secrets[i]);
        state->holders++;
        keys_add(model->keys, state);
    }
}

static void forget(const struct model *model)
{
    for (size_t i = 0; i < model->keys->count; i++)
        if (--model->keys->of[i]->holders == 0)
            free(model->keys->of[i]);
    if (--model->latency->holders == 0)
        free(model->latency);
    if (--model->hedging->holders == 0)
        free(model->hedging);
}

/* The gate of the same model of the table before, if there is one, else a new one. */
static struct gate *gate_of(struct model *model, const struct model_conf *conf,
                            const struct model_table *before)
{
    const struct gate_rule rule = {
        .breaker = {(unsigned)conf->breaker_failures, conf->breaker_pause_max_ms},
        .budget_percent = (unsigned)conf->retry_budget,
    };
    const struct model *old = before ? model_find(before, model->dialect.name) : NULL;
    if (old && old->provider == model->provider &&
        str_eq(old->dialect.base_url, model->dialect.base_url) &&
        str_eq(old->dialect.model, model->dialect.model)) {
        remember(model, old);
        return gate_hold(old->gate, &rule);
    }
    remember(model, NULL);
    return gate_new(model->dialect.name, &rule);
}

static bool fill_routes(struct model_table *table, const struct shared_conf *conf, struct err *err)
{
    const struct model_conf *given = conf->models.items;
    if (!routes_fill(&table->routes, conf, table, &table->arena, err))
        return false;
    for (size_t i = 0; i < table->count; i++) {
        struct model *model = &table->models[i];
        model->fallback = route_of_fallbacks(model, &given[i], table, &table->arena, err);
        if (!model->fallback && given[i].fallback.count)
            return false;
    }
    if (str_empty(conf->default_route))
        return true;
    table->default_route = model_route(table, conf->default_route);
    if (!table->default_route)
        err_set(err, ERR_CONFIG, "default_route '%.*s' is not among the routes",
                STR_ARG(conf->default_route));
    return table->default_route != NULL;
}

struct model_table *model_table_new(const struct shared_conf *conf,
                                    const struct model_table *before, struct err *err)
{
    struct model_table *table = xzalloc(sizeof(*table));
    const struct model_conf *given = conf->models.items;
    table->holders = 1;
    table->members = before ? before->members : 0;
    map_init(&table->by_name);
    map_init(&table->routes);
    arena_init(&table->arena, NULL, 64 << 20);
    table->models = xcalloc(conf->models.count + 1, sizeof(*table->models));
    struct prices *prices = prices_load(conf->prices_file, err);
    if (!prices)
        goto fail;
    for (size_t i = 0; i < conf->models.count; i++) {
        struct model *model = &table->models[i];
        if (!fill(model, &given[i], &table->arena, err))
            goto fail;
        if (map_find(&table->by_name, model->dialect.name)) {
            err_set(err, ERR_CONFIG, "models.%.*s stands there twice", STR_ARG(given[i].name));
            goto fail;
        }
        map_add(&table->by_name, &model->node, model->dialect.name);
        prices_of(prices, &given[i], &model->price);
        model->gate = gate_of(model, &given[i], before);
        gate_members(model->gate, table->members);
        table->count++;
    }
    if (!str_empty(conf->default_model)) {
        table->otherwise = arena_str(&table->arena, conf->default_model);
        if (!map_find(&table->by_name, table->otherwise)) {
            err_set(err, ERR_CONFIG, "default_model '%.*s' is not among the models",
                    STR_ARG(conf->default_model));
            goto fail;
        }
    }
    if (!fill_routes(table, conf, err))
        goto fail;
    prices_free(prices);
    return table;

fail:
    prices_free(prices);
    model_table_release(table);
    return NULL;
}

/* Whoever has the key has the limit; the hash shows nothing of it. */
static void limit_id(const struct model *model, struct str name, struct str key, char *ret)
{
    const struct provider_model *d = &model->dialect;
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_printf(&text, "%s\n" STR_FMT "\n" STR_FMT "\n" STR_FMT, model->provider->name,
               STR_ARG(d->base_url), STR_ARG(name), STR_ARG(key));
    digest_sha256_hex(buf_str(&text), ret, LIMIT_ID_LEN);
    buf_done(&text);
}

static struct quota *quota_for(struct quotas *quotas, const struct model *model,
                               const struct model_conf *given, struct str id, struct str key_id)
{
    return quota_of(quotas, &(struct quota_spec){
                                .id = id,
                                .key_id = key_id,
                                .name = model->dialect.name,
                                .requests = given->requests_per_minute,
                                .tokens = given->tokens_per_minute,
                                .budget_day = given->budget_day,
                                .budget_month = given->budget_month,
                                .price_input = model->price.input,
                                .price_output = model->price.output,
                                .learns = str_is(given->limits, "learn"),
                                .concurrency = {given->concurrency_min, given->concurrency_max},
                            });
}

void model_table_limit(struct model_table *table, const struct shared_conf *conf,
                       struct quotas *quotas)
{
    const struct model_conf *given = conf->models.items;
    quotas_begin(quotas, &conf->tenants);
    for (size_t i = 0; i < table->count; i++) {
        struct model *model = &table->models[i];
        char id[LIMIT_ID_LEN + 1], key_id[LIMIT_ID_LEN + 1];
        for (size_t key = 0; key < model->keys->count; key++) {
            limit_id(model, model->dialect.model, model->secrets[key], id);
            limit_id(model, (struct str){0}, model->secrets[key], key_id);
            model->quotas[key] = quota_for(quotas, model, &given[i], str_of(id), str_of(key_id));
        }
    }
    quotas_end(quotas);
}

void model_table_members(struct model_table *table, unsigned members)
{
    table->members = members;
    for (size_t i = 0; i < table->count; i++)
        gate_members(table->models[i].gate, members);
}

struct model_table *model_table_hold(struct model_table *table)
{
    table->holders++;
    return table;
}

void model_table_release(struct model_table *table)
{
    if (!table || --table->holders)
        return;
    for (size_t i = 0; i < table->count; i++) {
        gate_release(table->models[i].gate);
        forget(&table->models[i]);
    }
    map_done(&table->by_name);
    map_done(&table->routes);
    arena_done(&table->arena);
    free(table->models);
    free(table);
}

const struct model *model_find(const struct model_table *table, struct str name)
{
    struct map_node *node = map_find(&table->by_name, name);
    return node ? container_of(node, struct model, node) : NULL;
}

bool model_streams(const struct model *model, bool batch)
{
    return model->provider->stream &&
           (model->stream == MODEL_STREAM_ON || (model->stream == MODEL_STREAM_AUTO && !batch));
}

const struct route *model_route(const struct model_table *table, struct str name)
{
    struct map_node *node = map_find(&table->routes, name);
    return node ? container_of(node, struct route, node) : NULL;
}

const struct route *model_default_route(const struct model_table *table)
{
    return table->default_route;
}

double model_latency_ms(const struct model *model)
{
    return model->latency->mean_ms > 0 ? model->latency->mean_ms : (double)model->usual_ms;
}

struct str model_default(const struct model_table *table)
{
    return table->otherwise;
}

/* A price in dollars per million tokens is one in millionths of a dollar per token; here in
 * millionths of that, which is as fine as anybody's price. */
static __int128 times(int64_t tokens, double price)
{
    return (__int128)tokens * llround(price * 1e6);
}

int64_t model_cost_microusd(const struct model *model, const struct usage *usage)
{
    const struct price *price = &model->price;
    if (isnan(price->input) || (isnan(price->output) && usage->output))
        return INT_ABSENT;
    int64_t cached = usage->cached_input < usage->input ? usage->cached_input : usage->input;
    int64_t rest = usage->input - cached;
    int64_t written = usage->cache_write < rest ? usage->cache_write : rest;
    __int128 cost = times(rest - written, price->input) +
                    times(cached, isnan(price->cached_input) ? price->input : price->cached_input) +
                    times(written, isnan(price->cache_write) ? price->input : price->cache_write) +
                    (usage->output ? times(usage->output, price->output) : 0);
    return (int64_t)((cost + 500000) / 1000000);
}
