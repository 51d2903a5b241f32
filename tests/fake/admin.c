/*
 * admin.c -- what the tests ask the fake provider itself: ledger, control, health, models.
 *
 * POST /control is all or nothing: it changes a copy of the settings and keeps it only when every
 * member was understood.
 */
#include "tests/fake/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

#define RETRY_AFTER_MAX 86400

static const char *const model_names[] = {
    "fake-model",    "fake-400",    "fake-401",           "fake-404",     "fake-429",
    "fake-500",      "fake-503",    "fake-hang",          "fake-garbage", "fake-empty",
    "fake-error200", "fake-cut",    "fake-drip",          "fake-length",  "fake-flaky-1",
    "fake-slow-100", "fake-big-64", "fake-retry-after-1",
};

void admin_models(struct service *service, const struct http_request *request,
                  struct answer *answer)
{
    struct slice key = call_key(OPENAI_CHAT, request);
    if (!call_key_accepted(service, key.len ? key : request->api_key)) {
        service_error(answer, 401, "incorrect API key provided");
        return;
    }
    buf_text(&answer->body, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < sizeof(model_names) / sizeof(model_names[0]); i++)
        buf_format(&answer->body,
                   "%s{\"id\":\"%s\",\"object\":\"model\",\"created\":0,\"owned_by\":\"fake\"}",
                   i ? "," : "", model_names[i]);
    buf_text(&answer->body, "]}\n");
}

void admin_health(struct service *service, const struct http_request *request,
                  struct answer *answer)
{
    (void)service, (void)request;
    buf_text(&answer->body, "{\"status\":\"ok\"}\n");
}

void admin_ledger(struct service *service, const struct http_request *request,
                  struct answer *answer)
{
    char since[32], model[MODEL_NAME_MAX + 1];
    bool has_since = http_query(request->query, "since", since, sizeof(since));
    bool has_model = http_query(request->query, "model", model, sizeof(model));
    char *end = since;
    unsigned long long number = has_since ? strtoull(since, &end, 10) : 0;
    if (has_since && (end == since || *end != '\0' || since[0] == '-')) {
        service_error(answer, 400, "'since' must be a number");
        return;
    }
    answer->type = "application/x-ndjson";
    answer->cursor = ledger_open(service->ledger, number, has_model ? model : NULL);
    if (!request->version_10) {
        answer->pace = PACE_LEDGER;
        answer->chunked = true;
        return;
    }
    while (ledger_more(service->ledger, &answer->cursor, &answer->body)) {
        /* HTTP/1.0 knows no chunks, so it is all put together first */
    }
}

void admin_summary(struct service *service, const struct http_request *request,
                   struct answer *answer)
{
    (void)request;
    ledger_summary(service->ledger, server_connections(service->server), &answer->body);
}

void admin_control(struct service *service, const struct http_request *request,
                   struct answer *answer)
{
    (void)request;
    const struct behave_conf *conf = &service->behave.conf;
    buf_text(&answer->body, "{\"latency\":\"");
    latency_print(&conf->latency, &answer->body);
    buf_text(&answer->body, "\",\"error_rate\":{");
    for (size_t i = 0; i < conf->rates_len; i++)
        buf_format(&answer->body, "%s\"%d\":%.10g", i ? "," : "", conf->rates[i].status,
                   conf->rates[i].rate);
    buf_text(&answer->body, "},\"retry_after\":");
    if (conf->retry_after_s >= 0)
        buf_format(&answer->body, "%d}\n", conf->retry_after_s);
    else
        buf_text(&answer->body, "null}\n");
}

static const char *set_latency(struct behave_conf *conf, yyjson_val *value)
{
    char text[64];
    if (yyjson_is_num(value))
        snprintf(text, sizeof(text), "%.10g", yyjson_get_num(value));
    else
        snprintf(text, sizeof(text), "%s", yyjson_is_str(value) ? yyjson_get_str(value) : "");
    return latency_parse(text, &conf->latency)
               ? NULL
               : "'latency' must be milliseconds, \"500ms\" or \"lognormal:MEDIAN_MS,SIGMA\"";
}

/* The object replaces all rates. */
static const char *set_rates(struct behave_conf *conf, yyjson_val *value)
{
    static const char why[] =
        "'error_rate' must map status 400 to 599 to rates whose sum is at most 1";
    if (!yyjson_is_obj(value))
        return why;
    conf->rates_len = 0;
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
            !behave_rate(conf, (int)status, yyjson_get_num(rate)))
            return why;
    }
    return NULL;
}

static const char *set_retry_after(struct behave_conf *conf, yyjson_val *value)
{
    bool number = yyjson_is_uint(value) && yyjson_get_uint(value) <= RETRY_AFTER_MAX;
    if (!number && !yyjson_is_null(value))
        return "'retry_after' must be seconds or null";
    conf->retry_after_s = number ? (int)yyjson_get_uint(value) : -1;
    return NULL;
}

/* What is wrong with the wish, or NULL. */
static const char *control_read(yyjson_val *root, struct behave_conf *conf, struct behave *behave)
{
    const char *why = NULL;
    yyjson_val *key, *value, *seed = NULL;
    size_t i, count;
    if (!yyjson_is_obj(root))
        return "the body must be a JSON object";
    yyjson_obj_foreach(root, i, count, key, value)
    {
        if (yyjson_equals_str(key, "latency"))
            why = set_latency(conf, value);
        else if (yyjson_equals_str(key, "error_rate"))
            why = set_rates(conf, value);
        else if (yyjson_equals_str(key, "retry_after"))
            why = set_retry_after(conf, value);
        else if (yyjson_equals_str(key, "seed") && yyjson_is_uint(value))
            seed = value;
        else
            why = "known are 'latency', 'error_rate', 'retry_after' and 'seed' (a number)";
        if (why)
            return why;
    }
    if (seed)
        behave_seed(behave, yyjson_get_uint(seed));
    return NULL;
}

void admin_control_set(struct service *service, const struct http_request *request,
                       struct answer *answer)
{
    struct behave_conf conf = service->behave.conf;
    yyjson_doc *doc = yyjson_read(request->body.at, request->body.len, 0);
    const char *why = control_read(yyjson_doc_get_root(doc), &conf, &service->behave);
    yyjson_doc_free(doc);
    if (why) {
        service_error(answer, 400, why);
        return;
    }
    service->behave.conf = conf;
    admin_control(service, request, answer);
}

void admin_reset(struct service *service, const struct http_request *request, struct answer *answer)
{
    ledger_reset(service->ledger);
    behave_reset(&service->behave);
    server_reset(service->server);
    admin_health(service, request, answer);
}
