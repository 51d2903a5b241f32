/*
 * service.c -- from a path to the function that serves it; see service.h.
 */
#include "tests/fake/service.h"

typedef void admin_serve(struct service *service, const struct http_request *request,
                         struct answer *answer);

// clang-format off
static const struct route {
    const char *method, *path;
    admin_serve *admin; /* NULL: a call of this dialect */
    enum dialect dialect;
} routes[] = {
    {"POST", "/v1/chat/completions", NULL,              OPENAI_CHAT},
    {"POST", "/v1/messages",         NULL,              ANTHROPIC_MESSAGES},
    {"POST", "/api/chat",            NULL,              OLLAMA_CHAT},
    {"POST", "/api/generate",        NULL,              OLLAMA_GENERATE},
    {"GET",  "/v1/models",           admin_models,      0},
    {"GET",  "/healthz",             admin_health,      0},
    {"GET",  "/ledger",              admin_ledger,      0},
    {"GET",  "/ledger/summary",      admin_summary,     0},
    {"GET",  "/control",             admin_control,     0},
    {"POST", "/control",             admin_control_set, 0},
    {"POST", "/control/reset",       admin_reset,       0},
};
// clang-format on

void service_error(struct answer *answer, int status, const char *text)
{
    answer->status = status;
    buf_text(&answer->body, "{\"error\":{\"message\":");
    buf_json(&answer->body, slice_of(text));
    buf_text(&answer->body, ",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}\n");
}

static void serve(void *ctx, const struct http_request *request, struct moment now,
                  struct answer *ret)
{
    bool path_known = false;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const struct route *route = &routes[i];
        if (!slice_is(request->path, route->path))
            continue;
        path_known = true;
        if (!slice_is(request->method, route->method))
            continue;
        if (route->admin)
            route->admin(ctx, request, ret);
        else
            call_serve(ctx, route->dialect, route->path, request, now, ret);
        return;
    }
    if (path_known)
        service_error(ret, 405, "this path does not know the method");
    else
        service_error(ret, 404, "there is nothing at this path");
}

static void finish(void *ctx, uint64_t call, bool delivered, struct moment now)
{
    struct service *service = ctx;
    ledger_finish(service->ledger, call, delivered, now);
}

static bool more(void *ctx, struct ledger_cursor *cursor, struct buf *out)
{
    struct service *service = ctx;
    return ledger_more(service->ledger, cursor, out);
}

struct server_service service_door(struct service *service)
{
    return (struct server_service){.ctx = service, .serve = serve, .finish = finish, .more = more};
}
