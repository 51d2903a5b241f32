/*
 * http_server.h -- a small HTTP server (evhttp inside): health, readiness, metrics.
 *
 * Routes are a table of exact paths. The handler fills the reply before it returns. Header and body
 * sizes and idle time are bounded; the number of connections only by the process's open files, so
 * the port belongs into a network of friends.
 */
#ifndef QUERN_COMMON_IO_HTTP_SERVER_H
#define QUERN_COMMON_IO_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/loop/loop.h"

struct http_server;

struct http_answer {
    int status;               /* preset to 200 */
    const char *content_type; /* preset to "text/plain; charset=utf-8" */
    struct buf body;
};

struct http_route {
    const char *path; /* NULL ends the table */
    /* query: the part after '?', absent without one. GET and HEAD only. */
    void (*handle)(struct str query, struct http_answer *answer, void *context);
};

/* address "127.0.0.1:0" picks a free port, ":9101" listens on all addresses. ERR_CONFIG when it
 * cannot be listened on. */
struct http_server *http_server_new(struct loop *loop, struct str address,
                                    const struct http_route *routes, void *context,
                                    struct err *err);
void http_server_free(struct http_server *server); /* takes NULL */
int http_server_port(const struct http_server *server);

#endif
