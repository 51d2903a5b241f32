/*
 * redis_link.c -- DOWN -> CONNECTING -> GREETING -> UP, and back with a growing delay.
 *
 * hiredis looks host names up with the system's resolver and waits for it; an address in the URL
 * avoids that.
 */
#include "common/io/redis_link.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <sys/socket.h>

#include "common/base/must.h"
#include "common/io/backoff.h"
#include "common/io/redis_resp.h"

#define OUT_BYTES_MAX  (256u << 20)
#define OUT_BYTES_KEEP (1u << 20) /* a larger buffer is given back when it is empty */
#define READS_PER_WAKE 16         /* of 16 KiB each; the loop comes back for the rest */

static void connect_begin(void *context);

static void link_watch(struct redis_link *link, int what);

static void link_lose(struct redis_link *link)
{
    struct err why = link->why;
    loop_watch_free(link->watch);
    link->watch = NULL;
    link->watched = 0;
    if (link->hiredis)
        redisFree(link->hiredis);
    link->hiredis = NULL;
    link->state = REDIS_LINK_DOWN;
    link->broken = false;
    buf_done(&link->out);
    buf_init(&link->out, OUT_BYTES_MAX);
    timer_set(link->loop, &link->timer,
              loop_now_ms(link->loop) + backoff_ms(loop_rand(link->loop), link->attempt++),
              connect_begin, link);
    link->calls->closed(&why, link->context);
}

static void link_lose_now(void *context)
{
    struct redis_link *link = context;
    if (link->broken)
        link_lose(link);
}

void redis_link_break(struct redis_link *link, const struct err *why)
{
    if (link->broken || link->state == REDIS_LINK_DOWN)
        return;
    link->broken = true;
    link->why = *why;
    timer_set(link->loop, &link->timer, loop_now_ms(link->loop), link_lose_now, link);
}

static void break_errno(struct redis_link *link, const char *doing, int error)
{
    char words[128];
    struct err why;
    err_set(&why, ERR_UNAVAILABLE, "redis: %s: %s", doing, strerror_r(error, words, sizeof(words)));
    redis_link_break(link, &why);
}

static void break_hiredis(struct redis_link *link, const char *doing)
{
    struct err why;
    err_set(&why, ERR_UNAVAILABLE, "redis: %s: %s", doing,
            link->hiredis ? link->hiredis->errstr : "out of memory");
    redis_link_break(link, &why);
}

/* ---- Connecting ---- */

static void greet(struct redis_link *link)
{
    const struct redis_url *url = link->url;
    link->greeting_left = 0;
    if (url->password[0]) {
        struct str words[] = {STR("AUTH"), str_of(url->user), str_of(url->password)};
        if (url->user[0])
            redis_resp_command(&link->out, words, 3);
        else
            redis_resp_command(&link->out, (struct str[]){words[0], words[2]}, 2);
        link->greeting_left++;
    }
    if (url->db) {
        char db[16];
        snprintf(db, sizeof(db), "%d", url->db);
        redis_resp_command(&link->out, (struct str[]){STR("SELECT"), str_of(db)}, 2);
        link->greeting_left++;
    }
    link->calls->opened(link->context);
}

static void connect_finish(struct redis_link *link)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(link->hiredis->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error) {
        break_errno(link, "connect", error);
        return;
    }
    link->state = REDIS_LINK_GREETING;
    link_watch(link, LOOP_READ);
    greet(link);
}

static void connect_expired(void *context)
{
    struct redis_link *link = context;
    struct err why;
    err_set(&why, ERR_UNAVAILABLE, "redis: no connection within %lld ms",
            (long long)link->connect_timeout_ms);
    link->broken = true;
    link->why = why;
    link_lose(link);
}

static void connect_begin(void *context)
{
    struct redis_link *link = context;
    link->state = REDIS_LINK_CONNECTING;
    timer_set(link->loop, &link->timer, loop_now_ms(link->loop) + link->connect_timeout_ms,
              connect_expired, link);
    if (link->url->path[0])
        link->hiredis = redisConnectUnixNonBlock(link->url->path);
    else
        link->hiredis = redisConnectNonBlock(link->url->host, link->url->port);
    if (!link->hiredis || link->hiredis->err)
        break_hiredis(link, "connect");
    else
        link_watch(link, LOOP_WRITE);
}

void redis_link_greeted(struct redis_link *link)
{
    must(link->state == REDIS_LINK_GREETING);
    if (link->broken)
        return;
    link->state = REDIS_LINK_UP;
    link->attempt = 0;
    link->connected++;
    timer_cancel(link->loop, &link->timer);
}

/* ---- Reading and writing ---- */

static void take(struct redis_link *link, const redisReply *reply)
{
    if (!link->greeting_left) {
        link->calls->reply(reply, link->context);
        return;
    }
    link->greeting_left--;
    if (reply->type != REDIS_REPLY_ERROR)
        return;
    struct err why;
    err_set(&why, ERR_UNAVAILABLE, "redis: login or database refused: %.200s", reply->str);
    redis_link_break(link, &why);
}

/* Hands on every reply that is complete. */
static void collect(struct redis_link *link)
{
    while (!link->broken) {
        void *reply = NULL;
        if (redisGetReplyFromReader(link->hiredis, &reply) != REDIS_OK) {
            break_hiredis(link, "receive");
            return;
        }
        if (!reply)
            return;
        take(link, reply);
        freeReplyObject(reply);
    }
}

static void receive(struct redis_link *link)
{
    redisContext *hiredis = link->hiredis;
    link->heard_ms = loop_now_ms(link->loop);
    for (int i = 0; i < READS_PER_WAKE && !link->broken; i++) {
        size_t before = hiredis->reader->len;
        if (redisBufferRead(hiredis) != REDIS_OK) {
            collect(link); /* what came before the end still counts */
            break_hiredis(link, "receive");
            return;
        }
        size_t got = hiredis->reader->len - before;
        collect(link);
        if (got < 16 * 1024)
            return;
    }
}

static void flush(struct redis_link *link)
{
    while (link->out.len > 0) {
        ssize_t sent = send(link->hiredis->fd, link->out.data, link->out.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (sent < 0) {
            break_errno(link, "send", errno);
            return;
        }
        if ((size_t)sent < link->out.len)
            buf_drop_front(&link->out, (size_t)sent);
        else
            buf_clear(&link->out);
    }
    if (link->out.len == 0 && link->out.cap > OUT_BYTES_KEEP) {
        buf_done(&link->out);
        buf_init(&link->out, OUT_BYTES_MAX);
    }
    link_watch(link, link->out.len ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void link_ready(int fd, int what, void *context)
{
    (void)fd;
    struct redis_link *link = context;
    if (link->broken)
        return;
    if (link->state == REDIS_LINK_CONNECTING) {
        connect_finish(link);
        return;
    }
    if (what & LOOP_READ)
        receive(link);
    if ((what & LOOP_WRITE) && !link->broken)
        flush(link);
}

static void link_watch(struct redis_link *link, int what)
{
    if (link->watch && link->watched == what)
        return;
    if (link->watch)
        loop_watch_change(link->watch, what);
    else
        link->watch = loop_watch_new(link->loop, link->hiredis->fd, what, link_ready, link);
    link->watched = what;
}

static void nudged(void *context)
{
    (void)context; /* being there was all: the end of this turn writes */
}

/* What a full socket left over waits for the write watch instead of being tried every turn. */
static bool turn_end(void *context)
{
    struct redis_link *link = context;
    timer_cancel(link->loop, &link->nudge);
    if (link->state >= REDIS_LINK_GREETING && !link->broken && link->out.len &&
        !(link->watched & LOOP_WRITE))
        flush(link);
    return false;
}

/* ---- Life cycle ---- */

void redis_link_init(struct redis_link *link, struct loop *loop, const struct redis_url *url,
                     int64_t connect_timeout_ms, const struct redis_link_calls *calls,
                     void *context)
{
    *link = (struct redis_link){
        .loop = loop,
        .url = url,
        .connect_timeout_ms = connect_timeout_ms,
        .calls = calls,
        .context = context,
    };
    buf_init(&link->out, OUT_BYTES_MAX);
    link->turn_end = (struct loop_hook){.run = turn_end, .context = link};
    loop_add_turn_end(loop, &link->turn_end);
    timer_set(loop, &link->timer, loop_now_ms(loop), connect_begin, link);
}

/* What was asked in the last turn is said: whoever leaves gives back what it holds. */
void redis_link_done(struct redis_link *link)
{
    turn_end(link);
    loop_remove_hook(link->loop, &link->turn_end);
    timer_cancel(link->loop, &link->timer);
    timer_cancel(link->loop, &link->nudge);
    loop_watch_free(link->watch);
    if (link->hiredis)
        redisFree(link->hiredis);
    buf_done(&link->out);
}

struct buf *redis_link_out(struct redis_link *link)
{
    must(link->state >= REDIS_LINK_GREETING);
    /* Who asks between two turns (a program without work of its own) must not wait for the next
     * event to have it sent. */
    if (link->out.len == 0 && !timer_is_set(&link->nudge))
        timer_set(link->loop, &link->nudge, loop_now_ms(link->loop), nudged, link);
    return &link->out;
}
