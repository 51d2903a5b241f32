/*
 * server.h -- an HTTP/1.1 server on one thread: epoll, a timer wheel, and as many connections as
 * the descriptor limit allows.
 *
 * The service behind it is three functions. Every call the service numbers (answer->call) is
 * finished exactly once: `delivered` says that all bytes went to the kernel before the peer was
 * seen to close. A peer that shuts down only its sending side counts as closed.
 *
 * One turn: wait; serve what is readable or writable; accept; fire the timers that are due.
 */
#ifndef FAKE_SERVER_H
#define FAKE_SERVER_H

#include "tests/fake/answer.h"
#include "tests/fake/http.h"

/* How a call ended. */
struct call_end {
    uint64_t call; /* its number in the ledger */
    bool delivered;
    bool given; /* the model had begun to answer */
    struct charge charge;
};

struct server_service {
    void *ctx;
    void (*serve)(void *ctx, const struct http_request *request, struct moment now,
                  struct answer *ret);
    void (*finish)(void *ctx, const struct call_end *end, struct moment now);
    /* Appends more of a PACE_LEDGER body; false when it was the last. */
    bool (*more)(void *ctx, struct ledger_cursor *cursor, struct buf *out);
};

struct server;

/* Listens on an IPv4 address; port 0 picks one. NULL with errno set when that fails. */
struct server *server_new(const char *address, uint16_t port, const struct server_service *service);
void server_free(struct server *server);

struct moment server_clock(const struct server *server);
uint16_t server_port(const struct server *server);
struct ledger_connections server_connections(const struct server *server);

/* Starts the count of the most connections anew. */
void server_reset(struct server *server);

/* Serves until SIGTERM or SIGINT. False with errno set when epoll fails. */
bool server_run(struct server *server);

#endif
