/*
 * http_server.c -- evhttp answers a handful of GET paths.
 *
 * evhttp's own defaults are without limits, so all are set here. Requests with a body or a transfer
 * encoding have no business here and are refused with the connection closed: nobody can hide a
 * second request in them. A HEAD request gets the headers of the GET, its length included.
 */
#include "common/io/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <netinet/in.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"

enum { HEADER_BYTES_MAX = 16384, BODY_BYTES_MAX = 4096, IDLE_S = 15, ANSWER_BYTES_MAX = 8 << 20 };

struct http_server {
    struct evhttp *http;
    struct evhttp_bound_socket *socket;
    const struct http_route *routes;
    void *context;
    int port;
};

static const struct http_route *find_route(const struct http_server *server, const char *path)
{
    for (const struct http_route *route = server->routes; route->path; route++)
        if (path && strcmp(route->path, path) == 0)
            return route;
    return NULL;
}

static void send_answer(struct evhttp_request *request, const struct http_answer *answer)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    struct evbuffer *body = evbuffer_new();
    char length[24];

    must(body);
    snprintf(length, sizeof(length), "%zu", answer->body.len);
    evhttp_add_header(headers, "Content-Type", answer->content_type);
    evhttp_add_header(headers, "Content-Length", length);
    evhttp_add_header(headers, "Cache-Control", "no-store");
    if (evhttp_request_get_command(request) != EVHTTP_REQ_HEAD)
        evbuffer_add(body, answer->body.data, answer->body.len);
    evhttp_send_reply(request, answer->status, NULL, body);
    evbuffer_free(body);
}

static void refuse(struct http_answer *answer, int status, struct str why)
{
    buf_clear(&answer->body);
    answer->status = status;
    answer->content_type = "text/plain; charset=utf-8";
    buf_add_str(&answer->body, why);
}

static bool has_body(struct evhttp_request *request)
{
    struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
    const char *length = evhttp_find_header(headers, "Content-Length");

    return evhttp_find_header(headers, "Transfer-Encoding") || (length && strcmp(length, "0") != 0);
}

static void dispatch(struct http_server *server, struct evhttp_request *request,
                     struct http_answer *answer)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    const struct http_route *route = find_route(server, uri ? evhttp_uri_get_path(uri) : NULL);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    enum evhttp_cmd_type method = evhttp_request_get_command(request);

    if (has_body(request)) {
        evhttp_add_header(headers, "Connection", "close");
        refuse(answer, 400, STR("requests have no body here\n"));
    } else if (!route) {
        refuse(answer, 404, STR("there is nothing here\n"));
    } else if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
        evhttp_add_header(headers, "Allow", "GET, HEAD");
        refuse(answer, 405, STR("only GET and HEAD are answered here\n"));
    } else {
        route->handle(str_of(evhttp_uri_get_query(uri)), answer, server->context);
        if (answer->body.overflowed)
            refuse(answer, 500, STR("the answer is too large\n"));
    }
}

static void on_request(struct evhttp_request *request, void *context)
{
    struct http_answer answer = {.status = 200, .content_type = "text/plain; charset=utf-8"};

    buf_init(&answer.body, ANSWER_BYTES_MAX);
    dispatch(context, request, &answer);
    send_answer(request, &answer);
    buf_done(&answer.body);
}

/* "host:port", "[v6]:port"; no host: every address of the machine. */
static bool split_address(struct str address, char host[128], uint16_t *port)
{
    size_t colon = address.len;
    while (colon > 0 && address.data[colon - 1] != ':')
        colon--;
    int64_t number;
    if (colon == 0 || !str_to_i64(str_slice(address, colon, address.len), 0, 65535, &number))
        return false;
    struct str name = str_slice(address, 0, colon - 1);
    if (name.len > 1 && name.data[0] == '[' && name.data[name.len - 1] == ']')
        name = str_slice(name, 1, name.len - 1);
    if (name.len >= 128)
        return false;
    memcpy(host, name.data, name.len);
    host[name.len] = '\0';
    *port = (uint16_t)number;
    return true;
}

static int bound_port(struct evhttp_bound_socket *socket)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (getsockname(evhttp_bound_socket_get_fd(socket), (struct sockaddr *)&address, &len) != 0)
        return 0;
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

/* All methods are let in, as evhttp would answer the others with 501. */
static void set_limits(struct evhttp *http)
{
    evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
                                         EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS |
                                         EVHTTP_REQ_PATCH);
    evhttp_set_max_headers_size(http, HEADER_BYTES_MAX);
    evhttp_set_max_body_size(http, BODY_BYTES_MAX);
    evhttp_set_timeout(http, IDLE_S);
}

struct http_server *http_server_new(struct loop *loop, struct str address,
                                    const struct http_route *routes, void *context, struct err *err)
{
    struct http_server *server = xzalloc(sizeof(*server));
    char host[128];
    uint16_t port;
    server->routes = routes;
    server->context = context;
    if (!split_address(address, host, &port)) {
        err_set(err, ERR_CONFIG, "http_address '" STR_FMT "' is not HOST:PORT", STR_ARG(address));
        goto fail;
    }
    server->http = evhttp_new(loop_event_base(loop));
    must(server->http);
    set_limits(server->http);
    evhttp_set_gencb(server->http, on_request, server);
    errno = 0;
    server->socket = evhttp_bind_socket_with_handle(server->http, host[0] ? host : NULL, port);
    if (!server->socket) {
        err_set(err, ERR_CONFIG, "http_address '" STR_FMT "' cannot be listened on: %s",
                STR_ARG(address), errno ? strerror(errno) : "no such address");
        goto fail;
    }
    server->port = bound_port(server->socket);
    return server;

fail:
    http_server_free(server);
    return NULL;
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    if (server->http)
        evhttp_free(server->http);
    free(server);
}

int http_server_port(const struct http_server *server)
{
    return server->port;
}
