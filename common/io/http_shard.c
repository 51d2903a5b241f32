/*
 * http_shard.c -- curl_multi_socket_action() driven by watches and timers of the loop.
 *
 * libcurl asks for "now" by a time-out of zero, most often from inside one of its own functions.
 * Such a shard is put on the `due` list and runs when the turn ends, once for all the calls that
 * were started in the turn.
 *
 * After a failed curl_multi_socket_action() nothing is known about the transfers of the shard: they
 * all end in doubt, and the multi handle is replaced by a new one.
 */
#include "common/io/http_shard.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/http_opener.h"

enum { REST_MS = 60000, GUARD_MS = 1000, UNUSED_MIN = 16 };

struct http_socket {
    struct loop_watch *watch;
    struct http_shard *shard;
    int what;     /* what is watched */
    bool opened;  /* by socket_open() */
    bool lasting; /* connected, so socket_close() will close it */
    bool wanted;  /* by libcurl, at the moment */
};

static bool run_due(void *context);

void http_shards_init(struct http_shards *set, struct loop *loop, size_t calls_max,
                      size_t calls_per_shard)
{
    *set = (struct http_shards){.loop = loop, .calls_per_shard = calls_per_shard};
    set->unused_max = calls_max / calls_per_shard + UNUSED_MIN;
    map_init(&set->pools);
    list_init(&set->busy);
    list_init(&set->unused);
    http_gate_init(&set->gate);
    list_init(&set->due);
    list_init(&set->again);
    list_init(&set->finished);
    set->turn_end = (struct loop_hook){.run = run_due, .context = set};
    loop_add_turn_end(loop, &set->turn_end);
}

/* ---- sockets ---- */

static struct http_socket *socket_of(struct http_shards *set, int fd)
{
    must(fd >= 0);
    size_t place = (size_t)fd;
    if (place >= set->socket_count) {
        size_t count = set->socket_count ? set->socket_count : 64;
        while (count <= place)
            count *= 2;
        set->sockets = xrealloc(set->sockets, count * sizeof(*set->sockets));
        memset(set->sockets + set->socket_count, 0,
               (count - set->socket_count) * sizeof(*set->sockets));
        set->socket_count = count;
    }
    return &set->sockets[place];
}

static void socket_forget(struct http_socket *socket)
{
    loop_watch_free(socket->watch);
    if (socket->opened)
        socket->shard->socket_count--;
    *socket = (struct http_socket){0};
}

static int watch_what(int poll)
{
    return (poll & CURL_POLL_IN ? LOOP_READ : 0) | (poll & CURL_POLL_OUT ? LOOP_WRITE : 0);
}

static void shard_act(struct http_shard *shard, curl_socket_t fd, int seen);

static void socket_ready(int fd, int what, void *context)
{
    struct http_shard *shard = context;
    struct http_socket *socket = socket_of(shard->set, fd);
    if (!socket->wanted) {
        socket->what = 0;
        loop_watch_change(socket->watch, 0);
        return;
    }
    int seen =
        (what & LOOP_READ ? CURL_CSELECT_IN : 0) | (what & LOOP_WRITE ? CURL_CSELECT_OUT : 0);
    shard_act(shard, fd, seen);
}

static void socket_watch(struct http_shard *shard, int fd, struct http_socket *socket, int what)
{
    if (!socket->watch)
        socket->watch = loop_watch_new(shard->set->loop, fd, what, socket_ready, shard);
    else if (socket->what != what)
        loop_watch_change(socket->watch, what);
    socket->shard = shard;
    socket->what = what;
}

/* libcurl waits for a connection with CURL_POLL_OUT alone, so CURL_POLL_IN alone tells that it is
 * made. A socket that never got there is closed without a word, and is not kept on watch. */
static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *context, void *assigned)
{
    struct http_shard *shard = context;
    struct http_socket *socket = socket_of(shard->set, fd);
    (void)easy, (void)assigned;
    socket->wanted = what != CURL_POLL_REMOVE;
    if (socket->wanted) {
        socket->lasting |= socket->opened && what == CURL_POLL_IN;
        socket_watch(shard, fd, socket, watch_what(what));
    } else if (!socket->lasting) {
        loop_watch_free(socket->watch);
        socket->watch = NULL;
        socket->what = 0;
    } else if (socket->what & LOOP_WRITE) {
        socket_watch(shard, fd, socket, LOOP_READ);
    }
    return 0;
}

/* When the number belonged to a failed attempt of the same transfer, libcurl may believe that it is
 * being watched already and say nothing, so the new socket gets the old one's watch. */
static curl_socket_t socket_open(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_call *call = context;
    (void)purpose;
    http_gate_answered(call);
    if (!http_opener_may_open(call))
        return CURL_SOCKET_BAD;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    struct http_socket *socket = socket_of(call->shard->set, fd), old = *socket;
    socket_forget(socket);
    socket->opened = true;
    socket->shard = call->shard;
    socket->shard->socket_count++;
    if (old.watch && old.wanted) {
        socket_watch(old.shard, fd, socket, old.what);
        socket->wanted = true;
    }
    return fd;
}

static int socket_close(void *context, curl_socket_t fd)
{
    socket_forget(socket_of(context, fd));
    return close(fd);
}

/* A connection outlives the call that opened it. */
void http_shards_adopt(struct http_shards *set, struct http_call *call)
{
    CURL *easy = call->easy;
    http_gate_adopt(&set->gate, call);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, socket_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, socket_close);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, set);
}

static int own_port(int fd)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return -1;
    return ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                          : ((struct sockaddr_in *)&at)->sin_port);
}

bool http_shard_still_connected(const struct http_shard *shard, int port)
{
    const struct http_shards *set = shard->set;
    for (size_t fd = 0; fd < set->socket_count; fd++) {
        const struct http_socket *socket = &set->sockets[fd];
        char byte;
        if (!socket->opened || socket->shard != shard || own_port((int)fd) != port)
            continue;
        ssize_t n = recv((int)fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        return n > 0 || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
    }
    return false;
}

/* ---- a shard's life ---- */

static void shard_due(struct http_shard *shard)
{
    if (!list_linked(&shard->due))
        list_append(&shard->set->due, &shard->due);
    if (!shard->set->turn_end_ahead)
        loop_again(shard->set->loop);
}

static void timer_fired(void *context)
{
    shard_due(context);
}

static int timer_wanted(CURLM *multi, long wait_ms, void *context)
{
    struct http_shard *shard = context;
    struct loop *loop = shard->set->loop;
    (void)multi;
    if (wait_ms > 0)
        timer_set(loop, &shard->timer, loop_now_ms(loop) + wait_ms, timer_fired, shard);
    else
        timer_cancel(loop, &shard->timer);
    if (wait_ms == 0)
        shard_due(shard);
    return 0;
}

static void shard_close(struct http_shard *shard);

static bool shard_open(struct http_shard *shard, struct err *err)
{
    struct http_shards *set = shard->set;
    if (shard->multi)
        return true;
    while (set->unused.count > set->unused_max)
        shard_close(container_of(list_first(&set->unused), struct http_shard, use));
    CURLM *multi = curl_multi_init();
    if (!multi) {
        err_set(err, ERR_INTERNAL, "curl_multi_init() returned nothing");
        return false;
    }
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, socket_wanted);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, shard);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, timer_wanted);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, shard);
    curl_multi_setopt(multi, CURLMOPT_PIPELINING,
                      shard->pool->version == HTTP_2 ? CURLPIPE_MULTIPLEX : CURLPIPE_NOTHING);
    curl_multi_setopt(multi, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)HTTP_2_CALLS_PER_SHARD);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)shard->pool->calls_per_shard);
    shard->multi = multi;
    shard->pool->open++;
    list_append(&set->unused, &shard->use);
    return true;
}

static void shard_close(struct http_shard *shard)
{
    struct http_shards *set = shard->set;
    if (!shard->multi)
        return;
    curl_multi_cleanup(shard->multi);
    shard->multi = NULL;
    for (size_t i = 0; i < set->socket_count; i++)
        if (set->sockets[i].shard == shard)
            socket_forget(&set->sockets[i]);
    timer_cancel(set->loop, &shard->timer);
    timer_cancel(set->loop, &shard->rest);
    timer_cancel(set->loop, &shard->guard);
    list_remove(&set->due, &shard->due);
    list_remove(&set->unused, &shard->use);
    http_pool_closed_one(shard->pool); /* the shard may be gone now */
}

static void shard_rest(void *context)
{
    struct http_shard *shard = context;
    struct loop *loop = shard->set->loop;
    int64_t idle_until_ms = shard->last_used_ms + REST_MS;
    if (!list_empty(&shard->calls))
        idle_until_ms = loop_now_ms(loop) + REST_MS;
    if (idle_until_ms <= loop_now_ms(loop))
        shard_close(shard);
    else
        timer_set(loop, &shard->rest, idle_until_ms, shard_rest, shard);
}

void http_shards_done(struct http_shards *set)
{
    must(list_empty(&set->busy));
    for (struct list_node *node; (node = list_first(&set->unused));)
        shard_close(container_of(node, struct http_shard, use));
    must(set->pools.count == 0);
    map_done(&set->pools);
    loop_remove_hook(set->loop, &set->turn_end);
    free(set->sockets);
}

/* ---- calls ---- */

static void guard_set(struct http_shard *shard);

static void shard_takes(struct http_shard *shard, struct http_call *call)
{
    struct http_shards *set = shard->set;
    if (list_empty(&shard->calls)) {
        list_remove(&set->unused, &shard->use);
        list_append(&set->busy, &shard->use);
    }
    call->shard = shard;
    call->state = HTTP_CALL_FLYING;
    list_append(&shard->calls, &call->node);
    shard->last_used_ms = loop_now_ms(set->loop);
    if (!timer_is_set(&shard->rest))
        timer_set(set->loop, &shard->rest, shard->last_used_ms + REST_MS, shard_rest, shard);
    if (shard->pool->version == HTTP_2 && !timer_is_set(&shard->guard))
        guard_set(shard);
}

bool http_shards_start(struct http_shards *set, struct http_call *call, struct err *err)
{
    struct http_shard *shard = http_pool_shard(call->pool);
    if (!call->started_ms)
        call->started_ms = loop_now_ms(set->loop);
    if (!shard_open(shard, err))
        return false;
    if (http_opener_queues(shard, call))
        return true;
    CURLMcode code = curl_multi_add_handle(shard->multi, call->easy);
    if (code != CURLM_OK) {
        err_set(err, ERR_INTERNAL, "curl_multi_add_handle() failed: %s", curl_multi_strerror(code));
        http_opener_left(shard, call);
        return false;
    }
    shard_takes(shard, call);
    return true;
}

/* Takes a call out of its shard. */
static void shard_let_go(struct http_call *call)
{
    struct http_shard *shard = call->shard;
    curl_multi_remove_handle(shard->multi, call->easy);
    list_remove(&shard->calls, &call->node);
    shard->last_used_ms = loop_now_ms(shard->set->loop);
    http_pool_has_room(shard);
    http_opener_left(shard, call);
    call->shard = NULL;
    if (list_empty(&shard->calls)) {
        list_remove(&shard->set->busy, &shard->use);
        list_append(&shard->set->unused, &shard->use);
    }
}

void http_shards_drop(struct http_call *call)
{
    must_be(call, HTTP_CALL_MAGIC);
    if (call->state == HTTP_CALL_WAITING && call->queue) {
        http_opener_forget(call);
        return;
    }
    if (call->state == HTTP_CALL_WAITING) {
        http_gate_forget(call);
        return;
    }
    must(call->state == HTTP_CALL_FLYING);
    shard_let_go(call);
    http_gate_answered(call);
    call->state = HTTP_CALL_IDLE;
}

static void shard_finish(struct http_call *call, CURLcode code)
{
    struct http_shard *shard = call->shard;
    struct http_shards *set = shard->set;
    http_opener_ends(call, code);
    shard_let_go(call);
    if (http_gate_ended(call, code, &set->finished))
        return;
    if (call->must_wait && !call->in_doubt) {
        http_opener_wait(shard, call);
        return;
    }
    call->state = HTTP_CALL_FINISHED;
    call->code = call->lost ? CURLE_ABORTED_BY_CALLBACK : code;
    list_append(&set->finished, &call->node);
}

bool http_shard_overdue(const struct http_call *call, int64_t now_ms)
{
    int64_t flying_ms = now_ms - call->started_ms - GUARD_MS;
    return flying_ms > call->total_timeout_ms ||
           (call->sends == 0 && flying_ms > call->connect_timeout_ms);
}

static void guard_fired(void *context)
{
    struct http_shard *shard = context;
    int64_t now_ms = loop_now_ms(shard->set->loop);
    size_t ended = shard->set->finished.count;
    http_opener_guard(shard, now_ms);
    LIST_EACH(&shard->calls, node)
    {
        struct http_call *call = container_of(node, struct http_call, node);
        if (http_shard_overdue(call, now_ms))
            shard_finish(call, CURLE_OPERATION_TIMEDOUT);
    }
    if (shard->set->finished.count > ended)
        loop_again(shard->set->loop);
    if (!list_empty(&shard->calls))
        guard_set(shard);
}

static void guard_set(struct http_shard *shard)
{
    struct loop *loop = shard->set->loop;
    timer_set(loop, &shard->guard, loop_now_ms(loop) + GUARD_MS, guard_fired, shard);
}

static void start_again(struct http_shards *set, struct http_call *call)
{
    if (http_shards_start(set, call, NULL))
        return;
    call->in_doubt = true;
    call->state = HTTP_CALL_FINISHED;
    list_append(&set->finished, &call->node);
}

bool http_shards_start_waiting(struct http_shards *set, size_t max)
{
    for (struct http_call *call; max > 0 && (call = http_gate_next(&set->gate)); max--)
        start_again(set, call);
    for (; max > 0 && !list_empty(&set->again); max--) {
        struct http_call *call = container_of(list_pop(&set->again), struct http_call, node);
        call->queue = NULL;
        start_again(set, call);
    }
    return max == 0;
}

static void shard_collect(struct http_shard *shard)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(shard->multi, &left));) {
        struct http_call *call = NULL;
        CURLcode code = message->data.result; /* the message goes away with the handle */
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        must_be(call, HTTP_CALL_MAGIC);
        must(call->shard == shard);
        shard_finish(call, code);
    }
}

static void shard_in_doubt(struct http_shard *shard)
{
    for (struct list_node *node; (node = list_first(&shard->calls));) {
        struct http_call *call = container_of(node, struct http_call, node);
        call->in_doubt = true;
        call->sent_back = false;
        shard_finish(call, CURLE_OK);
    }
    shard_close(shard);
}

static void shard_act(struct http_shard *shard, curl_socket_t fd, int seen)
{
    int running;
    if (curl_multi_socket_action(shard->multi, fd, seen, &running) == CURLM_OK)
        shard_collect(shard);
    else
        shard_in_doubt(shard);
}

/* A shard that becomes due again while it runs waits for the next turn. */
static bool run_due(void *context)
{
    struct http_shards *set = context;
    for (size_t i = set->due.count; i > 0 && !list_empty(&set->due); i--) {
        struct http_shard *shard = container_of(list_pop(&set->due), struct http_shard, due);
        shard_act(shard, CURL_SOCKET_TIMEOUT, 0);
    }
    set->turn_end_ahead = false;
    return !list_empty(&set->due) || !list_empty(&set->finished);
}
