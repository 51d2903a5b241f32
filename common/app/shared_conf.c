/*
 * shared_conf.c -- the rows of one tenant, what a table cannot check, and the way into the doors.
 *
 * Models have a file of their own (model_conf.c), and so have routes (route_conf.c) and the doors'
 * settings (doors_check.c).
 */
#include "common/app/shared_conf.h"

#include <stdio.h>

#include "common/app/doors_check.h"
#include "common/app/prices.h"

enum {
    TENANT_NAME_BYTES_MAX = 64, /* of a request's */
    WARNING_BYTES_MAX = 512,
    KEY_BYTES_MAX = 256
};

#define ROW(key, kind, otherwise, min, max, field, sentence)                                       \
    {                                                                                              \
        key, kind, otherwise, min, max, NULL, true, offsetof(struct tenant_conf, field), NULL, 0,  \
            sentence                                                                               \
    }

/* clang-format off */
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

/* clang-format on */

bool conf_has_control(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] < ' ' || s.data[i] == 0x7f)
            return true;
    return false;
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

static bool check_tenants(const struct shared_conf *conf, const struct conf_places *places,
                          struct err *err)
{
    const struct tenant_conf *tenants = conf->tenants.items;
    char key[KEY_BYTES_MAX];

    for (size_t i = 0; i < conf->tenants.count; i++) {
        struct str name = tenants[i].name;
        if (!str_empty(name) && name.len <= TENANT_NAME_BYTES_MAX && !conf_has_control(name))
            continue;
        snprintf(key, sizeof(key), "tenants." STR_FMT ".name", STR_ARG(name));
        return conf_refuse(places, str_of(key), err, "must be 1 to %d bytes without line breaks",
                           TENANT_NAME_BYTES_MAX);
    }
    return true;
}

bool shared_conf_has_model(const struct shared_conf *conf, struct str name)
{
    const struct model_conf *models = conf->models.items;

    for (size_t i = 0; i < conf->models.count; i++)
        if (str_eq(models[i].name, name))
            return true;
    return false;
}

static struct str model_name(const struct shared_conf *conf, size_t i)
{
    return ((const struct model_conf *)conf->models.items)[i].name;
}

bool shared_conf_refuse_model(const struct shared_conf *conf, struct str key, struct str name,
                              const struct conf_places *places, struct err *err)
{
    struct str near = {NULL, 0}, shown = str_utf8_cut(name, 80);
    unsigned best = name.len < 6 ? 2 : 4;
    char item[KEY_BYTES_MAX];

    for (size_t i = 0; i < conf->models.count; i++) {
        unsigned distance = str_distance(model_name(conf, i), name);
        if (distance > best || (distance == best && near.data) || distance >= name.len)
            continue;
        best = distance;
        near = model_name(conf, i);
    }
    if (!near.data)
        return conf_refuse(places, key, err,
                           "names the model '" STR_FMT "', which is not configured%s",
                           STR_ARG(shown), conf_aside(places, STR("models")).text);
    snprintf(item, sizeof(item), "models." STR_FMT, STR_ARG(near));
    return conf_refuse(places, key, err,
                       "names the model '" STR_FMT
                       "', which is not configured, did you mean '" STR_FMT "'?%s",
                       STR_ARG(shown), STR_ARG(near), conf_aside(places, str_of(item)).text);
}

static bool check_default_model(const struct shared_conf *conf, const struct conf_places *places,
                                struct err *err)
{
    struct str name = conf->default_model;

    return str_empty(name) || conf->models.count == 0 || shared_conf_has_model(conf, name) ||
           shared_conf_refuse_model(conf, STR("default_model"), name, places, err);
}

bool shared_conf_check(const struct shared_conf *conf, const struct conf_places *places,
                       struct err *err)
{
    const struct model_conf *models = conf->models.items;

    if (!doors_check(conf, places, err) || !check_default_model(conf, places, err) ||
        !check_tenants(conf, places, err))
        return false;
    for (size_t i = 0; i < conf->models.count; i++)
        if (!model_conf_check(&models[i], &conf->allowed_addresses, places, err))
            return false;
    return route_conf_check(conf, places, err);
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
