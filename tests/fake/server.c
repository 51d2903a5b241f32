/*
 * server.c -- the listening socket and the loop; see server.h.
 *
 * Signals come through a descriptor like everything else, so there is no moment at which they could
 * be lost. When the process runs out of descriptors the listening socket leaves epoll until a
 * connection closes; otherwise it would be reported ready for ever.
 */
#include "tests/fake/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG         8192
#define EVENTS_PER_TURN 256
#define ACCEPT_PER_TURN 256

struct moment server_clock(const struct server *server)
{
    struct timespec mono, wall;
    clock_gettime(CLOCK_MONOTONIC, &mono);
    clock_gettime(CLOCK_REALTIME, &wall);
    int64_t ns = (int64_t)(mono.tv_sec - server->started.tv_sec) * 1000000000 +
                 (mono.tv_nsec - server->started.tv_nsec);
    return (struct moment){.us = (uint64_t)ns / 1000,
                           .ms = (uint64_t)ns / 1000000,
                           .wall_ms =
                               (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000};
}

static bool listen_on(struct server *server, const char *address, uint16_t port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t len = sizeof(addr);
    int on = 1;
    if (inet_pton(AF_INET, address, &addr.sin_addr) != 1) {
        errno = EINVAL;
        return false;
    }
    server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->listen_fd < 0 ||
        setsockopt(server->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(server->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
        listen(server->listen_fd, BACKLOG) != 0 ||
        getsockname(server->listen_fd, (struct sockaddr *)&addr, &len) != 0)
        return false;
    server->port = ntohs(addr.sin_port);
    return true;
}

static bool watch(struct server *server, int fd, uint32_t events, void *ptr)
{
    struct epoll_event event = {.events = events, .data.ptr = ptr};
    return epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool signals_open(struct server *server)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return false;
    server->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return server->signal_fd >= 0 && watch(server, server->signal_fd, EPOLLIN, &server->signal_fd);
}

static bool accepting(struct server *server, bool on)
{
    if (server->accepting == on)
        return true;
    server->accepting = on;
    if (on)
        return watch(server, server->listen_fd, EPOLLIN, &server->listen_fd);
    return epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, server->listen_fd, NULL) == 0;
}

struct server *server_new(const char *address, uint16_t port, const struct server_service *service)
{
    struct server *server = xcalloc(1, sizeof(*server));
    server->service = *service;
    server->listen_fd = server->signal_fd = -1;
    server->conns.next = server->conns.prev = &server->conns;
    clock_gettime(CLOCK_MONOTONIC, &server->started);
    wheel_init(&server->wheel, 0);
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll_fd >= 0 && listen_on(server, address, port) && signals_open(server) &&
        accepting(server, true))
        return server;
    int saved = errno;
    server_free(server);
    errno = saved;
    return NULL;
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

void server_free(struct server *server)
{
    if (!server)
        return;
    while (server->conns.next != &server->conns)
        conn_close(server, server->conns.next);
    close_if_open(server->listen_fd);
    close_if_open(server->signal_fd);
    close_if_open(server->epoll_fd);
    buf_done(&server->scratch);
    buf_done(&server->answer.body);
    buf_done(&server->answer.extra);
    free(server);
}

uint16_t server_port(const struct server *server)
{
    return server->port;
}

struct ledger_connections server_connections(const struct server *server)
{
    return server->connections;
}

void server_reset(struct server *server)
{
    server->connections.max = server->connections.now;
}

static void accept_one(struct server *server, int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct conn *conn = conn_new(server, fd);
    if (!watch(server, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, conn))
        conn_close(server, conn);
}

static void accept_some(struct server *server)
{
    for (int i = 0; i < ACCEPT_PER_TURN; i++) {
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            accept_one(server, fd);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            accepting(server, false);
        if (fd < 0 && errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

static void fire(void *ctx, struct wheel_node *node)
{
    conn_timer(ctx, (struct conn *)node);
}

static int wait_ms(const struct server *server)
{
    int wait = wheel_wait_ms(&server->wheel);
    if (wait < 0)
        return -1;
    uint64_t due = server->wheel.now_ms + (uint64_t)wait, now = server_clock(server).ms;
    return due > now ? (int)(due - now) : 0;
}

/* Each descriptor is reported at most once per wait, so a connection closed by its own event is
 * never met again in the same batch. False when a signal came. */
static bool dispatch(struct server *server, const struct epoll_event *events, int count)
{
    bool listener_ready = false;
    for (int i = 0; i < count; i++) {
        void *ptr = events[i].data.ptr;
        if (ptr == &server->signal_fd)
            return false;
        if (ptr == &server->listen_fd)
            listener_ready = true;
        else
            conn_event(server, ptr, events[i].events);
    }
    if (listener_ready)
        accept_some(server);
    return true;
}

bool server_run(struct server *server)
{
    struct epoll_event events[EVENTS_PER_TURN];
    for (;;) {
        int count = epoll_wait(server->epoll_fd, events, EVENTS_PER_TURN, wait_ms(server));
        if (count < 0 && errno != EINTR)
            return false;
        uint64_t before = server->connections.now;
        if (!dispatch(server, events, count))
            return true;
        /* After the events: a timer may close connections that this batch still names. */
        wheel_turn(&server->wheel, server_clock(server).ms, fire, server);
        if (server->connections.now < before)
            accepting(server, true);
    }
}
