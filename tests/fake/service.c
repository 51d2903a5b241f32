/*
 * service.c -- from a path to the function that serves it; see service.h.
 */
#include "tests/fake/service.h"

typedef void admin_serve(struct service *service, const struct http_request *request,
                         struct answer *answer);

// clang-format off
static const struct route {
    const char *method, *path; /* one '*' stands for one part of the path */
    admin_serve *admin;        /* NULL: a call */
    enum dialect dialect;
    enum vendor vendor;
} routes[] = {
    {"POST", "/v1/chat/completions", NULL,          OPENAI_CHAT,        OPENAI},
    {"POST", "/v1/messages",         NULL,          ANTHROPIC_MESSAGES, ANTHROPIC},
    {"POST", "/api/chat",            NULL,          OLLAMA_CHAT,        OLLAMA},
    {"POST", "/api/generate",        NULL,          OLLAMA_GENERATE,    OLLAMA},
    {"POST", "/chat/completions",    NULL,          OPENAI_CHAT,        DEEPSEEK},
    {"POST", "/compatible-mode/v1/chat/completions", NULL, OPENAI_CHAT, QWEN},
    {"POST", "/openai/deployments/*/chat/completions", NULL, OPENAI_CHAT, AZURE},
    {"POST", "/v1/embeddings",       NULL,          OPENAI_EMBED,       OPENAI},
    {"POST", "/compatible-mode/v1/embeddings", NULL, OPENAI_EMBED,      QWEN},
    {"POST", "/openai/deployments/*/embeddings", NULL, OPENAI_EMBED,    AZURE},
    {"POST", "/api/embed",           NULL,          OLLAMA_EMBED,       OLLAMA},
    {"GET",  "/v1/models",           admin_models,  0, 0},
    {"GET",  "/healthz",             admin_health,  0, 0},
    {"GET",  "/ledger",              admin_ledger,  0, 0},
    {"GET",  "/ledger/summary",      admin_summary, 0, 0},
    {"GET",  "/ledger/limits",       admin_limits,  0, 0},
    {"GET",  "/control",             control_show,  0, 0},
    {"POST", "/control",             control_set,   0, 0},
    {"POST", "/control/reset",       control_reset, 0, 0},
};
// clang-format on

/* `ret_part` is what stands in the place of '*'. */
static bool path_matches(struct slice path, const char *pattern, struct slice *ret_part)
{
    const char *star = strchr(pattern, '*');
    *ret_part = (struct slice){0};
    if (!star)
        return slice_is(path, pattern);
    size_t before = (size_t)(star - pattern), behind = strlen(star + 1);
    if (path.len <= before + behind || memcmp(path.at, pattern, before) != 0 ||
        memcmp(path.at + path.len - behind, star + 1, behind) != 0)
        return false;
    *ret_part = (struct slice){.at = path.at + before, .len = path.len - before - behind};
    return !memchr(ret_part->at, '/', ret_part->len);
}

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
    struct slice part;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const struct route *route = &routes[i];
        if (!path_matches(request->path, route->path, &part))
            continue;
        path_known = true;
        if (!slice_is(request->method, route->method))
            continue;
        struct door door = {route->path, route->dialect, route->vendor, part};
        if (route->admin)
            route->admin(ctx, request, ret);
        else
            call_serve(ctx, &door, request, now, ret);
        return;
    }
    if (path_known)
        service_error(ret, 405, "this path does not know the method");
    else
        service_error(ret, 404, "there is nothing at this path");
}

static void finish(void *ctx, const struct call_end *end, struct moment now)
{
    struct service *service = ctx;
    ledger_finish(service->ledger, end->call, end->delivered, now);
    if (end->given)
        limits_output(service->limits, end->charge.meter, end->charge.tokens, now.us);
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
