/*
 * conn.c -- the life of a connection; see conn.h.
 *
 * An answer without latency goes straight from the server's scratch buffer to the socket; only what
 * the kernel does not take, or what has to wait, is copied to the connection. Idle connections keep
 * at most IN_KEEP bytes.
 */
#include "tests/fake/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_KEEP   ((size_t)4096)
#define IN_STEP   ((size_t)64 << 10)
#define DRAIN_MS  1000
#define RESET_MS  20 /* so that the peer reads what came before a reset wipes it out */
#define PULLS_MAX 4  /* ledger refills per turn, so that a long ledger stops nobody */

struct conn *conn_new(struct server *server, int fd)
{
    struct conn *conn = xcalloc(1, sizeof(*conn));
    conn->fd = fd;
    conn->next = &server->conns;
    conn->prev = server->conns.prev;
    conn->prev->next = conn->next->prev = conn;
    if (++server->connections.now > server->connections.max)
        server->connections.max = server->connections.now;
    return conn;
}

static void call_finish(struct server *server, struct conn *conn, bool delivered)
{
    bool answering = conn->state != CONN_READING && conn->state != CONN_WAITING;
    if (conn->call) {
        struct call_end end = {.call = conn->call,
                               .delivered = delivered,
                               .given = delivered || (answering && conn->begun),
                               .charge = conn->charge};
        server->service.finish(server->service.ctx, &end, server_clock(server));
    }
    conn->call = 0;
}

void conn_close(struct server *server, struct conn *conn)
{
    call_finish(server, conn, false);
    wheel_stop(&server->wheel, &conn->timer);
    close(conn->fd);
    conn->prev->next = conn->next;
    conn->next->prev = conn->prev;
    buf_done(&conn->in);
    buf_done(&conn->out);
    free(conn);
    server->connections.now--;
}

static void conn_after(struct server *server, struct conn *conn, uint64_t delay_ms)
{
    /* The clock counts whole milliseconds; one more, so that nobody is answered early. */
    wheel_start(&server->wheel, &conn->timer, server_clock(server).ms + delay_ms + 1);
}

/* Says goodbye and reads what is left for a moment: closing over unread bytes would send a reset,
 * which may overtake the answer. */
static bool conn_drain(struct server *server, struct conn *conn)
{
    shutdown(conn->fd, SHUT_WR);
    conn->state = CONN_DRAINING;
    buf_done(&conn->out);
    conn_after(server, conn, DRAIN_MS);
    return true;
}

static bool drain_read(struct server *server, struct conn *conn)
{
    char waste[16 << 10];
    for (;;) {
        ssize_t got = recv(conn->fd, waste, sizeof(waste), 0);
        if (got > 0)
            continue;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return true;
        conn_close(server, conn);
        return false;
    }
}

/* What may be sent is out, and the answer ends badly here. Books it as not delivered. */
static bool conn_spoilt(struct server *server, struct conn *conn)
{
    if (conn->pace.end == END_CLOSE || conn->peer_closed) {
        conn_close(server, conn);
        return false;
    }
    conn->state = conn->pace.end == END_RESET ? CONN_RESETTING : CONN_HANGING;
    if (conn->state == CONN_RESETTING)
        conn_after(server, conn, RESET_MS);
    return true;
}

static void conn_reset(struct server *server, struct conn *conn)
{
    struct linger none = {.l_onoff = 1};
    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    conn_close(server, conn);
}

/* The answer is out. */
static bool conn_sent(struct server *server, struct conn *conn)
{
    if (conn->pace.end != END_KEEP)
        return conn_spoilt(server, conn);
    call_finish(server, conn, true);
    buf_done(&conn->out);
    conn->out_at = conn->out_to = 0;
    conn->state = CONN_READING;
    if (conn->peer_closed) {
        conn_close(server, conn);
        return false;
    }
    return conn->close_after ? conn_drain(server, conn) && drain_read(server, conn) : true;
}

/* Sends until the kernel is full or `len` is out; returns the bytes sent, -1 when the peer is gone.
 */
static ssize_t send_some(int fd, const char *bytes, size_t len)
{
    size_t sent = 0;
    while (sent < len) {
        ssize_t n = send(fd, bytes + sent, len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return -1;
        sent += (size_t)n;
    }
    return (ssize_t)sent;
}

/* The next part of a ledger, as one HTTP chunk. */
static void conn_refill(struct server *server, struct conn *conn)
{
    struct buf *lines = &server->scratch;
    lines->len = 0;
    conn->out.len = conn->out_at = 0;
    conn->more = server->service.more(server->service.ctx, &conn->cursor, lines);
    if (lines->len) {
        buf_format(&conn->out, "%zx\r\n", lines->len);
        buf_add(&conn->out, lines->at, lines->len);
        buf_text(&conn->out, "\r\n");
    }
    if (!conn->more)
        buf_text(&conn->out, "0\r\n\r\n");
    conn->out_to = conn->out.len;
}

/* Goes back to the part of the body that is sent again. */
static void conn_repeat(struct conn *conn)
{
    struct pace *pace = &conn->pace;
    if (conn->out_to < conn->out.len || pace->repeat_bytes < pace->repeat_len || !pace->repeat_len)
        return;
    pace->repeat_bytes -= pace->repeat_len;
    conn->out_at = conn->out_to = conn->out.len - pace->repeat_len;
}

/* What to do when all that may be sent now is sent. */
static bool conn_flushed(struct server *server, struct conn *conn)
{
    conn_repeat(conn);
    if (conn->out_to < conn->out.len)
        conn_after(server, conn, pace_wait_ms(&conn->pace, !conn->begun));
    else if (conn->more)
        conn_after(server, conn, 0);
    else
        return conn_sent(server, conn);
    return true;
}

static bool conn_flush(struct server *server, struct conn *conn)
{
    for (int pulls = 0;; pulls++) {
        ssize_t n = send_some(conn->fd, conn->out.at + conn->out_at, conn->out_to - conn->out_at);
        if (n < 0) {
            conn_close(server, conn);
            return false;
        }
        conn->out_at += (size_t)n;
        if (conn->out_at < conn->out_to)
            return true; /* epoll will tell */
        if (!conn->more || pulls == PULLS_MAX)
            return conn_flushed(server, conn);
        conn_refill(server, conn);
    }
}

static void head_write(struct conn *conn, const struct http_request *request,
                       const struct answer *answer, struct buf *out)
{
    out->len = 0;
    if (answer->early)
        buf_text(out, "HTTP/1.1 102 Processing\r\n\r\n"
                      "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n");
    buf_text(out, "HTTP/1.1 ");
    buf_number(out, (unsigned)answer->status);
    buf_text(out, " ");
    buf_text(out, http_reason(answer->status));
    buf_text(out, "\r\ncontent-type: ");
    buf_text(out, answer->type);
    buf_add(out, answer->extra.at, answer->extra.len);
    if (conn->close_after)
        buf_text(out, "\r\nconnection: close");
    else if (request && request->version_10)
        buf_text(out, "\r\nconnection: keep-alive");
    if (answer->chunked) {
        buf_text(out, "\r\ntransfer-encoding: chunked\r\n\r\n");
        return;
    }
    int64_t length = (int64_t)answer->body.len + answer->length_wrong;
    buf_text(out, "\r\ncontent-length: ");
    buf_number(out, length > 0 ? (unsigned long long)length : 0);
    buf_text(out, "\r\n\r\n");
}

/* Keeps what could not be sent at once, exactly: thousands of these wait at the same time. */
static void conn_keep(struct server *server, struct conn *conn, size_t sent, size_t to)
{
    const struct buf *bytes = &server->scratch;
    buf_reserve(&conn->out, bytes->len - sent);
    buf_add(&conn->out, bytes->at + sent, bytes->len - sent);
    conn->out_at = 0;
    conn->out_to = to - sent;
    conn->more = server->answer.pace.kind == PACE_LEDGER;
    conn->cursor = server->answer.cursor;
}

/* Starts to send `scratch`, of which `head_len` bytes are the head, or lets it wait for its time.
 */
static bool conn_answer(struct server *server, struct conn *conn, size_t head_len)
{
    const struct answer *answer = &server->answer;
    struct buf *bytes = &server->scratch;
    size_t sent = 0;
    bytes->len = pace_stop(&conn->pace, head_len, bytes->len);
    size_t to = pace_first(&conn->pace, bytes->at, head_len, bytes->len);
    conn->begun = to > head_len;
    if (answer->delay_ms == 0 && conn->pace.kind == PACE_WHOLE) {
        conn->state = CONN_WRITING;
        ssize_t n = send_some(conn->fd, bytes->at, bytes->len);
        if (n < 0) {
            conn_close(server, conn);
            return false;
        }
        sent = (size_t)n;
        if (sent == bytes->len)
            return conn_sent(server, conn);
    }
    conn_keep(server, conn, sent, to);
    if (answer->delay_ms) {
        conn->state = CONN_WAITING;
        conn_after(server, conn, answer->delay_ms);
        return true;
    }
    conn->state = CONN_WRITING;
    return sent ? true : conn_flush(server, conn);
}

static bool conn_serve(struct server *server, struct conn *conn, const struct http_request *request)
{
    struct answer *answer = &server->answer;
    answer_clear(answer);
    server->service.serve(server->service.ctx, request, server_clock(server), answer);
    conn->call = answer->call;
    conn->charge = answer->charge;
    conn->pace = answer->pace;
    conn->close_after = !request->keep_alive;
    if (conn->peer_closed) {
        conn_close(server, conn);
        return false;
    }
    if (answer->pace.kind == PACE_HANG) {
        conn->state = CONN_HANGING;
        return true;
    }
    head_write(conn, request, answer, &server->scratch);
    size_t head_len = server->scratch.len;
    buf_add(&server->scratch, answer->body.at, answer->body.len);
    return conn_answer(server, conn, head_len);
}

/* A request that cannot be read ends its connection. */
static bool conn_refuse(struct server *server, struct conn *conn, int status)
{
    struct answer *answer = &server->answer;
    answer_clear(answer);
    answer->status = status;
    buf_format(&answer->body, "{\"error\":{\"message\":\"%s\",\"type\":\"invalid_request_error\"}}",
               http_reason(status));
    conn->pace = (struct pace){.kind = PACE_WHOLE};
    conn->close_after = true;
    buf_done(&conn->in);
    head_write(conn, NULL, answer, &server->scratch);
    size_t head_len = server->scratch.len;
    buf_add(&server->scratch, answer->body.at, answer->body.len);
    return conn_answer(server, conn, head_len);
}

/* Reads once. False when there is nothing more for now, or when the connection was closed. */
static bool conn_fill(struct server *server, struct conn *conn)
{
    struct buf *in = &conn->in;
    if (!conn->readable)
        return false;
    size_t want = http_expected(&conn->reader);
    if (in->cap < IN_KEEP)
        buf_reserve(in, IN_KEEP);
    else if (want > in->cap)
        buf_reserve(in, want - in->len);
    else if (in->len == in->cap)
        buf_reserve(in, IN_STEP);
    size_t room = in->cap - in->len;
    ssize_t got = recv(conn->fd, in->at + in->len, room, 0);
    if (got < 0 && errno == EINTR)
        return true;
    if (got < 0 && errno == EAGAIN) {
        conn->readable = false;
        return false;
    }
    if (got <= 0) {
        conn_close(server, conn);
        return false;
    }
    in->len += (size_t)got;
    /* A short read emptied the socket; the end of the stream comes with an event of its own, unless
     * we have had that one already. */
    if ((size_t)got < room)
        conn->readable = conn->peer_closed;
    return true;
}

static void conn_consume(struct conn *conn, size_t used)
{
    struct buf *in = &conn->in;
    in->len -= used;
    if (in->len)
        memmove(in->at, in->at + used, in->len);
    else if (in->cap > IN_KEEP)
        buf_done(in);
}

static bool conn_continue(struct server *server, struct conn *conn)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    conn->reader.wants_continue = false;
    if (send_some(conn->fd, text, sizeof(text) - 1) == (ssize_t)sizeof(text) - 1)
        return true;
    conn_close(server, conn);
    return false;
}

/* Serves the request at the front of `in` when it is whole. `ret_more` when bytes are missing. */
static bool conn_step(struct server *server, struct conn *conn, bool *ret_more)
{
    struct http_request request;
    size_t used = 0;
    *ret_more = conn->in.len == 0;
    if (*ret_more)
        return true;
    enum http_verdict verdict =
        http_read(&conn->reader, conn->in.at, conn->in.len, &request, &used);
    if (verdict == HTTP_MORE) {
        *ret_more = true;
        return conn->reader.wants_continue ? conn_continue(server, conn) : true;
    }
    if (verdict != HTTP_READY)
        return conn_refuse(server, conn, (int)verdict);
    /* `request` points into `in`, so the bytes go when it is served; a closed connection took them
     * along. */
    if (!conn_serve(server, conn, &request))
        return false;
    conn_consume(conn, used);
    return true;
}

/* Reads and serves until bytes are missing or an answer has to wait. */
static void conn_run(struct server *server, struct conn *conn)
{
    while (conn->state == CONN_READING) {
        bool more;
        if (!conn_step(server, conn, &more))
            return;
        if (more && !conn_fill(server, conn))
            return;
    }
}

void conn_event(struct server *server, struct conn *conn, uint32_t events)
{
    conn->readable |= (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    conn->peer_closed |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    if (conn->state == CONN_DRAINING) {
        drain_read(server, conn);
        return;
    }
    if (conn->state != CONN_READING && conn->peer_closed) {
        conn_close(server, conn);
        return;
    }
    if (conn->state == CONN_WRITING && (events & EPOLLOUT) && !conn->timer.next &&
        !conn_flush(server, conn))
        return;
    conn_run(server, conn);
}

void conn_timer(struct server *server, struct conn *conn)
{
    if (conn->state == CONN_DRAINING) {
        conn_close(server, conn);
        return;
    }
    if (conn->state == CONN_RESETTING) {
        conn_reset(server, conn);
        return;
    }
    if (conn->state == CONN_WRITING && conn->out_to < conn->out.len) {
        conn->out_to = pace_next(&conn->pace, conn->out.at, conn->out_to, conn->out.len);
        conn->begun = true;
    }
    conn->state = CONN_WRITING;
    if (conn_flush(server, conn))
        conn_run(server, conn);
}
