/*
 * conn.h -- one connection from accept to close; the inside of the server, for server.c and conn.c.
 *
 *     READING --request--> WAITING --latency--> WRITING --sent--> READING
 *                  |                               |
 *                  +--hang--> HANGING <----stall---+--"close" or refused--> DRAINING --> closed
 *                                                  +--reset--> RESETTING --> closed
 *
 * epoll is edge-triggered and never changed after accept: `readable` remembers what it said. While
 * an answer is pending nothing is read, so a client that pipelines waits for its turn in the
 * kernel.
 *
 * conn_* functions that return bool say whether the connection still exists.
 */
#ifndef FAKE_CONN_H
#define FAKE_CONN_H

#include "tests/fake/server.h"
#include "tests/fake/wheel.h"

#include <time.h>

enum conn_state {
    CONN_READING,
    CONN_WAITING,
    CONN_HANGING,
    CONN_WRITING,
    CONN_DRAINING,
    CONN_RESETTING,
};

struct conn {
    struct wheel_node timer; /* first, so that a fired node is its connection */
    struct conn *next, *prev;
    int fd;
    enum conn_state state;
    struct pace pace; /* repeat_bytes: what is left of them */
    bool readable;    /* the kernel may have bytes for us */
    bool peer_closed;
    bool close_after; /* this answer is the last */
    bool more;        /* the ledger has lines left */
    struct buf in, out;
    size_t out_at; /* sent so far */
    size_t out_to; /* may be sent now; less than out.len while the pace holds it back */
    bool begun;    /* something of the body was allowed out */
    uint64_t call;
    struct charge charge;
    struct ledger_cursor cursor;
    struct http_reader reader;
};

struct server {
    int epoll_fd, listen_fd, signal_fd;
    uint16_t port;
    bool accepting;
    struct timespec started;
    struct server_service service;
    struct ledger_connections connections;
    struct conn conns; /* list head */
    struct wheel wheel;
    struct answer answer; /* of the request being served */
    struct buf scratch;   /* its bytes */
};

/* Takes over a non-blocking socket that is in epoll already or will be at once. */
struct conn *conn_new(struct server *server, int fd);
void conn_close(struct server *server, struct conn *conn);

/* What epoll said about it. */
void conn_event(struct server *server, struct conn *conn, uint32_t events);
void conn_timer(struct server *server, struct conn *conn);

#endif
