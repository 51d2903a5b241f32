/*
 * link.c -- connections that are carried, hindered and broken; see link.h.
 *
 * Everything that may change what a connection can do (bytes, room, time, rules) ends in pump():
 * it moves what may move, and then sets the watches and the timer for what is left.
 */
#include "tests/chaos/proxy/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/list.h"
#include "common/base/must.h"
#include "common/base/rand.h"
#include "common/base/xalloc.h"
#include "tests/chaos/proxy/lane.h"

enum { CLIENT, TARGET, SIDES };

/* From side `way` to the other: WAY_UP begins at the client, WAY_DOWN at the target. */
struct side {
    int fd; /* -1: not yet */
    struct loop_watch *watch;
    bool connecting, ended, told; /* ended: it sends no more; told: the other's end was passed on */
    bool full;                    /* the kernel takes no more from us */
};

struct connection {
    struct list_node node;
    struct link *link;
    struct side sides[SIDES];
    struct lane lanes[WAYS];
    struct timer timer;
    int64_t down_bytes; /* since the last change of rules */
};

struct link {
    struct loop *loop;
    char *name;
    struct sockaddr_in target;
    int listen_fd, port;
    struct loop_watch *listen_watch;
    struct rules rules;
    struct list connections;
    int64_t connection_count, accepted, resets, bytes[WAYS];
};

static void pump(struct connection *c);

/* --- sockets ------------------------------------------------------------------------------------
 */

static bool parse_address(struct str text, struct sockaddr_in *ret, struct err *err)
{
    size_t colon = str_index(text, ':');
    char host[INET_ADDRSTRLEN] = "";
    int64_t port;
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (colon < sizeof host && colon < text.len)
        memcpy(host, text.data, colon);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1 ||
        !str_to_i64(str_slice(text, colon + 1, text.len), 0, 65535, &port)) {
        err_set(err, ERR_USAGE, "'" STR_FMT "' is no address like 127.0.0.1:9092", STR_ARG(text));
        return false;
    }
    address.sin_port = htons((uint16_t)port);
    *ret = address;
    return true;
}

/* With SO_REUSEADDR, what is left of connections that we closed first does not keep us from
 * listening again. */
static int bound_socket(int port)
{
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    must(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    return ntohs(address.sin_port);
}

/* A port that was asked for by number stays bound while it does not listen; one that the kernel
 * chose does not. So the kernel's choice is asked for again, by number. */
static bool take_port(struct link *link, struct err *err)
{
    for (int tries = 0; tries < 20; tries++) {
        int chosen = bound_socket(0);
        if (chosen < 0)
            break;
        link->port = port_of(chosen);
        close(chosen);
        link->listen_fd = bound_socket(link->port);
        if (link->listen_fd >= 0)
            return true;
    }
    err_set(err, ERR_UNAVAILABLE, "no port is free for '%s'", link->name);
    return false;
}

static void set_linger_zero(int fd)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static void set_no_delay(int fd)
{
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* --- a connection's life ------------------------------------------------------------------------
 */

static void side_close(struct side *side, bool reset)
{
    if (side->fd < 0)
        return;
    loop_watch_free(side->watch);
    if (reset)
        set_linger_zero(side->fd);
    close(side->fd);
    side->fd = -1;
}

static void connection_end(struct connection *c, bool reset)
{
    struct link *link = c->link;
    for (int i = 0; i < SIDES; i++) {
        side_close(&c->sides[i], reset);
        lane_done(&c->lanes[i]);
    }
    timer_cancel(link->loop, &c->timer);
    list_remove(&link->connections, &c->node);
    link->connection_count--;
    link->resets += reset;
    free(c);
}

static void side_ready(int fd, int what, void *context)
{
    struct connection *c = context;
    (void)what;
    for (int i = 0; i < SIDES; i++) {
        if (c->sides[i].fd == fd)
            c->sides[i].full = false;
    }
    pump(c);
}

static void side_open(struct connection *c, int which, int fd)
{
    set_no_delay(fd);
    c->sides[which].fd = fd;
    c->sides[which].watch = loop_watch_new(c->link->loop, fd, 0, side_ready, c);
}

/* False when the target refuses at once. */
static bool begin_connect(struct connection *c)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    const struct sockaddr_in *target = &c->link->target;
    bool done = connect(fd, (const struct sockaddr *)target, sizeof *target) == 0;
    if (!done && errno != EINPROGRESS) {
        close(fd);
        return false;
    }
    side_open(c, TARGET, fd);
    c->sides[TARGET].connecting = c->sides[TARGET].full = !done;
    return true;
}

/* True when the connect has ended well; false in `ret_alive` when it has failed. */
static bool connected(struct side *side, bool *ret_alive)
{
    if (!side->connecting)
        return true;
    if (side->full)
        return false;
    int error = 0;
    socklen_t len = sizeof error;
    must(getsockopt(side->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0);
    *ret_alive = error == 0;
    side->connecting = error != 0;
    return error == 0;
}

/* --- bytes --------------------------------------------------------------------------------------
 */

static bool is_unlucky(struct link *link)
{
    int64_t chance = link->rules.chance_millionths;
    return chance > 0 && (int64_t)rand_below(loop_rand(link->loop), 1000000) < chance;
}

/* Reads what there is room for. False: the sender was reset. */
static bool fill(struct connection *c, int way)
{
    struct side *from = &c->sides[way];
    char *to;
    size_t room;
    while (!from->ended && (room = lane_room(&c->lanes[way], &to)) > 0) {
        ssize_t got = recv(from->fd, to, room, 0);
        if (got < 0)
            return errno == EAGAIN || errno == EINTR;
        if (got == 0)
            from->ended = true;
        else
            lane_put(&c->lanes[way], (size_t)got, &c->link->rules, loop_now_ms(c->link->loop));
    }
    return true;
}

/* Bytes that may pass before the connection is cut. */
static size_t before_cut(const struct connection *c, int way, size_t bytes)
{
    int64_t cut = c->link->rules.cut_bytes;
    if (way == WAY_UP || cut < 0)
        return bytes;
    int64_t left = cut > c->down_bytes ? cut - c->down_bytes : 0;
    return bytes < (size_t)left ? bytes : (size_t)left;
}

/* Writes what may go. False: the connection is to be reset. */
static bool empty(struct connection *c, int way, int64_t *wait_ms)
{
    struct link *link = c->link;
    struct side *to = &c->sides[1 - way];
    const char *data;
    size_t ready;
    while (!to->full && (ready = lane_ready(&c->lanes[way], &link->rules, loop_now_ms(link->loop),
                                            &data, wait_ms)) > 0) {
        size_t bytes = before_cut(c, way, ready);
        if (bytes == 0 || is_unlucky(link))
            return false;
        ssize_t sent = send(to->fd, data, bytes, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        to->full = sent < 0 && errno == EAGAIN;
        if (sent <= 0)
            continue;
        lane_take(&c->lanes[way], (size_t)sent);
        link->bytes[way] += sent;
        c->down_bytes += way == WAY_DOWN ? sent : 0;
    }
    return true;
}

/* One direction; false: the connection is to be reset. */
static bool carry(struct connection *c, int way, int64_t *wait_ms)
{
    struct side *from = &c->sides[way], *to = &c->sides[1 - way];
    if (rules_hold(&c->link->rules, way))
        return true;
    if (!fill(c, way) || !empty(c, way, wait_ms))
        return false;
    if (from->ended && c->lanes[way].len == 0 && !to->told) {
        to->told = true;
        (void)shutdown(to->fd, SHUT_WR);
    }
    return true;
}

static void set_watches(struct connection *c)
{
    for (int way = 0; way < WAYS; way++) {
        struct side *from = &c->sides[way];
        if (from->fd < 0)
            continue;
        char *to;
        bool held = rules_hold(&c->link->rules, way);
        bool reads = !held && !from->ended && !from->connecting && lane_room(&c->lanes[way], &to);
        loop_watch_change(from->watch, (reads ? LOOP_READ : 0) | (from->full ? LOOP_WRITE : 0));
    }
}

static void pump_timer(void *context)
{
    pump(context);
}

static void set_timer(struct connection *c, const int64_t *waits_ms)
{
    int64_t first = -1;
    for (int way = 0; way < WAYS; way++) {
        if (waits_ms[way] >= 0 && (first < 0 || waits_ms[way] < first))
            first = waits_ms[way];
    }
    struct loop *loop = c->link->loop;
    if (first < 0)
        timer_cancel(loop, &c->timer);
    else
        timer_set(loop, &c->timer, loop_now_ms(loop) + (first > 0 ? first : 1), pump_timer, c);
}

static void pump(struct connection *c)
{
    int64_t waits_ms[WAYS] = {-1, -1};
    struct side *target = &c->sides[TARGET];
    bool alive = true;
    if (target->fd < 0 && !c->link->rules.blackhole)
        alive = begin_connect(c);
    if (alive && target->fd >= 0 && connected(target, &alive)) {
        for (int way = 0; way < WAYS && alive; way++)
            alive = carry(c, way, &waits_ms[way]);
        if (alive && c->sides[CLIENT].told && target->told) {
            connection_end(c, false);
            return;
        }
    }
    if (!alive) {
        connection_end(c, true);
        return;
    }
    set_watches(c);
    set_timer(c, waits_ms);
}

/* --- the link -----------------------------------------------------------------------------------
 */

static void accept_ready(int listen_fd, int what, void *context)
{
    struct link *link = context;
    (void)what;
    for (;;) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (link->connection_count == LINK_CONNECTIONS_MAX) {
            set_linger_zero(fd);
            close(fd);
            continue;
        }
        struct connection *c = xzalloc(sizeof *c);
        c->link = link;
        c->sides[TARGET].fd = -1;
        lane_init(&c->lanes[WAY_UP]);
        lane_init(&c->lanes[WAY_DOWN]);
        list_append(&link->connections, &c->node);
        link->connection_count++;
        link->accepted++;
        side_open(c, CLIENT, fd);
        pump(c);
    }
}

/* The port stays ours; who connects is refused by the kernel. */
static void stop_listening(struct link *link)
{
    loop_watch_change(link->listen_watch, 0);
    (void)shutdown(link->listen_fd, SHUT_RDWR);
}

static void start_listening(struct link *link)
{
    must(listen(link->listen_fd, 1024) == 0);
    loop_watch_change(link->listen_watch, LOOP_READ);
}

static void reset_all(struct link *link)
{
    struct list_node *node;
    while ((node = list_first(&link->connections)) != NULL)
        connection_end(container_of(node, struct connection, node), true);
}

/* Connections that end at this are taken off the list while it is walked. */
static void rules_changed(struct link *link, const struct rules *before)
{
    if (link->rules.down && !before->down) {
        stop_listening(link);
        reset_all(link);
    } else if (before->down && !link->rules.down) {
        start_listening(link);
    }
    struct list_node *node = list_first(&link->connections);
    while (node) {
        struct connection *c = container_of(node, struct connection, node);
        node = list_next(&link->connections, node);
        c->down_bytes = 0;
        if (link->rules.latency_ms < before->latency_ms) {
            lane_hasten(&c->lanes[WAY_UP], loop_now_ms(link->loop));
            lane_hasten(&c->lanes[WAY_DOWN], loop_now_ms(link->loop));
        }
        pump(c);
    }
}

bool link_command(struct link *link, struct str words, struct err *err)
{
    struct rules before = link->rules;
    if (str_is(words, "reset")) {
        reset_all(link);
        return true;
    }
    if (str_starts(words, STR("target ")))
        return parse_address(str_slice(words, 7, words.len), &link->target, err);
    if (!rules_apply(&link->rules, str_is(words, "up") ? STR("clear") : words, err))
        return false;
    rules_changed(link, &before);
    return true;
}

void link_describe(const struct link *link, struct buf *ret)
{
    buf_printf(ret,
               "%s port %d target 127.0.0.1:%d connections %lld accepted %lld resets %lld "
               "up %lld down %lld\n",
               link->name, link->port, ntohs(link->target.sin_port),
               (long long)link->connection_count, (long long)link->accepted,
               (long long)link->resets, (long long)link->bytes[WAY_UP],
               (long long)link->bytes[WAY_DOWN]);
}

struct link *link_new(struct loop *loop, struct str name, struct str target, struct err *err)
{
    struct link *link = xzalloc(sizeof *link);
    link->loop = loop;
    link->name = xstrndup(name);
    link->listen_fd = -1;
    list_init(&link->connections);
    rules_clear(&link->rules);
    if (!parse_address(target, &link->target, err) || !take_port(link, err)) {
        link_free(link);
        return NULL;
    }
    link->listen_watch = loop_watch_new(loop, link->listen_fd, 0, accept_ready, link);
    start_listening(link);
    return link;
}

void link_free(struct link *link)
{
    if (!link)
        return;
    reset_all(link);
    if (link->listen_watch)
        loop_watch_free(link->listen_watch);
    if (link->listen_fd >= 0)
        close(link->listen_fd);
    free(link->name);
    free(link);
}

struct str link_name(const struct link *link)
{
    return str_of(link->name);
}

int link_port(const struct link *link)
{
    return link->port;
}
