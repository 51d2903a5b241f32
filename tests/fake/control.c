/*
 * control.c -- the settings that can be changed while it runs.
 *
 * POST /control is all or nothing: it changes a copy of the settings and keeps it only when every
 * member was understood.
 *
 * To add a setting: a function and a row in `settings`, a line in control_show(), a line in
 * README.md.
 */
#include "tests/fake/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

#define RETRY_AFTER_MAX 86400

/* The copy that a request changes. */
struct wish {
    struct behave_conf conf;
    struct limit_rule rules[LIMIT_RULES_MAX];
    size_t rules_len;
    bool has_rules, has_seed;
    uint64_t seed;
};

void control_show(struct service *service, const struct http_request *request,
                  struct answer *answer)
{
    (void)request;
    const struct behave_conf *conf = &service->behave.conf;
    struct buf *out = &answer->body;
    buf_text(out, "{\"latency\":\"");
    latency_print(&conf->latency, out);
    buf_text(out, "\",\"error_rate\":{");
    for (size_t i = 0; i < conf->rates_len; i++)
        buf_format(out, "%s\"%d\":%.10g", i ? "," : "", conf->rates[i].status, conf->rates[i].rate);
    buf_text(out, "},\"trouble_rate\":{");
    for (size_t i = 0; i < conf->troubles_len; i++)
        buf_format(out, "%s\"%s\":%.10g", i ? "," : "", conf->troubles[i].name,
                   conf->troubles[i].rate);
    buf_text(out, "},\"retry_after\":");
    if (conf->retry_after_s >= 0)
        buf_format(out, "%d", conf->retry_after_s);
    else
        buf_text(out, "null");
    buf_format(out, ",\"first_token\":%u,\"chunk_delay\":%u,\"vendor\":\"%s\",\"redirect\":",
               conf->first_token_ms, conf->chunk_delay_ms, vendor_name(conf->vendor));
    buf_json(out, slice_of(conf->redirect));
    buf_text(out, ",\"limits\":[");
    const struct limit_rule *rules;
    size_t len = limits_rules(service->limits, &rules);
    for (size_t i = 0; i < len; i++) {
        buf_text(out, i ? "," : "");
        limit_rule_print(&rules[i], out);
    }
    buf_text(out, "]}\n");
}

static const char *set_latency(struct wish *wish, yyjson_val *value)
{
    char text[64];
    if (yyjson_is_num(value))
        snprintf(text, sizeof(text), "%.10g", yyjson_get_num(value));
    else
        snprintf(text, sizeof(text), "%s", yyjson_is_str(value) ? yyjson_get_str(value) : "");
    return latency_parse(text, &wish->conf.latency)
               ? NULL
               : "'latency' must be milliseconds, \"500ms\" or \"lognormal:MEDIAN_MS,SIGMA\"";
}

/* The object replaces all rates. */
static const char *set_rates(struct wish *wish, yyjson_val *value)
{
    static const char why[] =
        "'error_rate' must map status 400 to 599 to rates whose sum is at most 1";
    if (!yyjson_is_obj(value))
        return why;
    wish->conf.rates_len = 0;
    yyjson_val *code, *rate;
    size_t i, count;
    yyjson_obj_foreach(value, i, count, code, rate)
    {
        const char *text = yyjson_get_str(code);
        if (!text)
            return why;
        char *end;
        long status = strtol(text, &end, 10);
        if (*end || status < 400 || status > 599 || !yyjson_is_num(rate) ||
            !behave_rate(&wish->conf, (int)status, yyjson_get_num(rate)))
            return why;
    }
    return NULL;
}

/* The object replaces all troubles. */
static const char *set_troubles(struct wish *wish, yyjson_val *value)
{
    static const char why[] =
        "'trouble_rate' must map names of models to rates whose sum is at most 1";
    if (!yyjson_is_obj(value))
        return why;
    wish->conf.troubles_len = 0;
    yyjson_val *key, *rate;
    size_t i, count;
    yyjson_obj_foreach(value, i, count, key, rate)
    {
        struct slice name = {yyjson_get_str(key), yyjson_get_len(key)};
        if (!yyjson_is_num(rate) || !behave_trouble(&wish->conf, name, yyjson_get_num(rate)))
            return why;
    }
    return NULL;
}

static const char *set_retry_after(struct wish *wish, yyjson_val *value)
{
    bool number = yyjson_is_uint(value) && yyjson_get_uint(value) <= RETRY_AFTER_MAX;
    if (!number && !yyjson_is_null(value))
        return "'retry_after' must be seconds or null";
    wish->conf.retry_after_s = number ? (int)yyjson_get_uint(value) : -1;
    return NULL;
}

static bool milliseconds(yyjson_val *value, uint32_t *ret)
{
    if (!yyjson_is_uint(value) || yyjson_get_uint(value) > LATENCY_MS_MAX)
        return false;
    *ret = (uint32_t)yyjson_get_uint(value);
    return true;
}

static const char *set_first_token(struct wish *wish, yyjson_val *value)
{
    return milliseconds(value, &wish->conf.first_token_ms) ? NULL
                                                           : "'first_token' must be milliseconds";
}

static const char *set_chunk_delay(struct wish *wish, yyjson_val *value)
{
    return milliseconds(value, &wish->conf.chunk_delay_ms) ? NULL
                                                           : "'chunk_delay' must be milliseconds";
}

static const char *set_vendor(struct wish *wish, yyjson_val *value)
{
    struct slice name = {yyjson_get_str(value), yyjson_get_len(value)};
    if (!vendor_of_model(name, &wish->conf.vendor) || !vendor_parse(name, &wish->conf.vendor))
        return "'vendor' must be the name of one that speaks OpenAI's form";
    return NULL;
}

/* Goes into a header line, so it has to be a plain one. */
static const char *set_redirect(struct wish *wish, yyjson_val *value)
{
    const char *text = yyjson_get_str(value);
    size_t len = yyjson_get_len(value);
    for (size_t i = 0; i < len; i++)
        len = text[i] > ' ' && text[i] < 0x7f ? len : 0;
    if (len == 0 || len > REDIRECT_MAX)
        return "'redirect' must be a scheme and a host";
    memcpy(wish->conf.redirect, text, len);
    wish->conf.redirect[len] = '\0';
    return NULL;
}

static const char *set_seed(struct wish *wish, yyjson_val *value)
{
    if (!yyjson_is_uint(value))
        return "'seed' must be a number";
    wish->has_seed = true;
    wish->seed = yyjson_get_uint(value);
    return NULL;
}

static bool rule_name(yyjson_val *value, char *ret)
{
    size_t len = yyjson_get_len(value);
    if (yyjson_is_null(value))
        return true;
    if (len == 0 || len > LIMIT_NAME_MAX)
        return false;
    memcpy(ret, yyjson_get_str(value), len);
    return true;
}

static bool rule_number(yyjson_val *value, uint64_t min, uint64_t max, uint64_t *ret)
{
    *ret = yyjson_get_uint(value);
    return yyjson_is_uint(value) && *ret >= min && *ret <= max;
}

static bool rule_member(struct limit_rule *rule, const char *name, yyjson_val *value)
{
    if (strcmp(name, "key") == 0)
        return rule_name(value, rule->key);
    if (strcmp(name, "model") == 0)
        return rule_name(value, rule->model);
    if (strcmp(name, "requests") == 0)
        return rule_number(value, 0, UINT32_MAX, &rule->requests);
    if (strcmp(name, "tokens") == 0)
        return rule_number(value, 0, UINT64_MAX / 4, &rule->tokens);
    if (strcmp(name, "window_ms") == 0)
        return rule_number(value, 1, UINT32_MAX, &rule->window_ms);
    rule->estimate = yyjson_equals_str(value, "estimate");
    if (strcmp(name, "count") == 0)
        return rule->estimate || yyjson_equals_str(value, "actual");
    rule->silent = yyjson_get_bool(value);
    return strcmp(name, "silent") == 0 && yyjson_is_bool(value);
}

static bool rule_read(yyjson_val *object, struct limit_rule *ret)
{
    yyjson_val *key, *value;
    size_t i, count;
    *ret = limit_rule_new();
    if (!yyjson_is_obj(object))
        return false;
    yyjson_obj_foreach(object, i, count, key, value)
    {
        if (!rule_member(ret, yyjson_get_str(key), value))
            return false;
    }
    return true;
}

/* The array replaces all rules. */
static const char *set_limits(struct wish *wish, yyjson_val *value)
{
    static const char why[] = "'limits' must be an array of at most 64 objects with key, model, "
                              "requests, tokens, window_ms, count and silent";
    yyjson_val *rule;
    size_t i, count;
    if (!yyjson_is_arr(value) || yyjson_arr_size(value) > LIMIT_RULES_MAX)
        return why;
    yyjson_arr_foreach(value, i, count, rule)
    {
        if (!rule_read(rule, &wish->rules[i]))
            return why;
    }
    wish->has_rules = true;
    wish->rules_len = yyjson_arr_size(value);
    return NULL;
}

static const struct setting {
    const char *name;
    const char *(*set)(struct wish *wish, yyjson_val *value); /* what is wrong, or NULL */
} settings[] = {
    {"latency", set_latency},         {"error_rate", set_rates},
    {"retry_after", set_retry_after}, {"first_token", set_first_token},
    {"chunk_delay", set_chunk_delay}, {"vendor", set_vendor},
    {"redirect", set_redirect},       {"limits", set_limits},
    {"trouble_rate", set_troubles},   {"seed", set_seed},
};

static const struct setting *setting_find(yyjson_val *key)
{
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        if (yyjson_equals_str(key, settings[i].name))
            return &settings[i];
    }
    return NULL;
}

/* What is wrong with the wish, or NULL. */
static const char *wish_read(yyjson_val *root, struct wish *wish)
{
    yyjson_val *key, *value;
    size_t i, count;
    if (!yyjson_is_obj(root))
        return "the body must be a JSON object";
    yyjson_obj_foreach(root, i, count, key, value)
    {
        const struct setting *setting = setting_find(key);
        if (!setting)
            return "known are 'latency', 'error_rate', 'trouble_rate', 'retry_after', "
                   "'first_token', 'chunk_delay', 'vendor', 'redirect', 'limits' and 'seed'";
        const char *why = setting->set(wish, value);
        if (why)
            return why;
    }
    return NULL;
}

void control_set(struct service *service, const struct http_request *request, struct answer *answer)
{
    static struct wish wish;
    wish = (struct wish){.conf = service->behave.conf};
    yyjson_doc *doc = yyjson_read(request->body.at, request->body.len, 0);
    const char *why = wish_read(yyjson_doc_get_root(doc), &wish);
    yyjson_doc_free(doc);
    if (why) {
        service_error(answer, 400, why);
        return;
    }
    service->behave.conf = wish.conf;
    if (wish.has_seed)
        behave_seed(&service->behave, wish.seed);
    if (wish.has_rules)
        limits_set(service->limits, wish.rules, wish.rules_len);
    control_show(service, request, answer);
}

void control_reset(struct service *service, const struct http_request *request,
                   struct answer *answer)
{
    ledger_reset(service->ledger);
    limits_reset(service->limits);
    behave_reset(&service->behave);
    server_reset(service->server);
    admin_health(service, request, answer);
}
