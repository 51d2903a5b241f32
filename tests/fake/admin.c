/*
 * admin.c -- what the tests ask the fake provider itself: ledger, limits, health, models.
 */
#include "tests/fake/service.h"

#include <stdlib.h>

/* Of the models whose name ends in a number, one each. */
static const char *const model_names[] = {
    "fake-model",        "fake-400",         "fake-401",           "fake-404",
    "fake-429",          "fake-500",         "fake-503",           "fake-flaky-1",
    "fake-slow-100",     "fake-big-64",      "fake-retry-after-1", "fake-cut-100",
    "fake-reset-100",    "fake-stall-100",   "fake-drip-10-10",    "fake-huge-1024",
    "fake-stream-50-10", "fake-error-quota",
};

static void model_line(struct buf *out, const char *name)
{
    buf_format(out, "{\"id\":\"%s\",\"object\":\"model\",\"created\":0,\"owned_by\":\"fake\"}",
               name);
}

void admin_models(struct service *service, const struct http_request *request,
                  struct answer *answer)
{
    struct slice key = call_key(OPENAI, request);
    if (!call_key_accepted(service, key.len ? key : request->api_key)) {
        service_error(answer, 401, "incorrect API key provided");
        return;
    }
    buf_text(&answer->body, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < sizeof(model_names) / sizeof(model_names[0]); i++) {
        buf_text(&answer->body, i ? "," : "");
        model_line(&answer->body, model_names[i]);
    }
    for (size_t i = 0; trouble_name(i); i++) {
        buf_text(&answer->body, ",");
        model_line(&answer->body, trouble_name(i));
    }
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
        answer->pace.kind = PACE_LEDGER;
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

void admin_limits(struct service *service, const struct http_request *request,
                  struct answer *answer)
{
    (void)request;
    limits_print(service->limits, server_clock(service->server).us, &answer->body);
}
