/*
 * http_client.c -- the client: handles in reserve, limits, and replies handed over once per turn.
 *
 * A call walks idle -> flying (in a shard) -> finished -> delivered -> idle, and may wait once at
 * the gate for the address of its host. Replies are handed over from a ready hook, never from
 * inside libcurl or http_call(), so `done` may start and cancel calls as it likes.
 *
 * Looked-up addresses and TLS sessions are shared by all shards.
 */
#include "common/io/http_client.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/http_call.h"
#include "common/io/http_shard.h"

#define CALLS_MAX              1024
#define CALLS_PER_SHARD        125
#define REPLY_BYTES_MAX        (8u << 20)
#define REPLY_HEADER_BYTES_MAX (64u << 10)
#define KERNEL_PIECE_BYTES     (256 << 10)
#define DELIVERIES_PER_TURN    512
#define STARTS_PER_TURN        512 /* of calls that waited for an address */

struct http_client {
    struct loop *loop;
    struct http_client_conf conf;
    struct http_shards shards;
    struct http_buffers buffers;
    CURLSH *share;
    struct list idle;
    bool may_have_proxy;
    struct loop_hook ready;
    struct http_client_stats stats;
};

static bool deliver(void *context);

/* malloc() would move its line between the heap and the kernel upwards with the first large piece
 * it gets back, and the heap keeps what was used once. */
static void library_init(void)
{
    mallopt(M_MMAP_THRESHOLD, KERNEL_PIECE_BYTES);
    must(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

static struct str conf_text(struct str s)
{
    return s.data ? str_of(xstrndup(s)) : s;
}

static struct http_client_conf conf_complete(const struct http_client_conf *conf)
{
    struct http_client_conf full = *conf;
    full.calls_max = conf->calls_max ? conf->calls_max : CALLS_MAX;
    full.calls_per_shard = conf->calls_per_shard ? conf->calls_per_shard : CALLS_PER_SHARD;
    full.reply_bytes_max = conf->reply_bytes_max ? conf->reply_bytes_max : REPLY_BYTES_MAX;
    if (!conf->reply_header_bytes_max)
        full.reply_header_bytes_max = REPLY_HEADER_BYTES_MAX;
    full.user_agent = conf_text(conf->user_agent);
    full.ca_file = conf_text(conf->ca_file);
    return full;
}

/* libcurl asks the environment for a proxy with every request, unless it is told that there is
 * none. */
static bool environment_has_proxy(void)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                        "ALL_PROXY"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (getenv(names[i]))
            return true;
    return false;
}

static CURLSH *share_new(void)
{
    CURLSH *share = curl_share_init();
    must(share);
    curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    return share;
}

struct http_client *http_client_new(struct loop *loop, const struct http_client_conf *conf,
                                    struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, library_init);
    struct http_client *http = xzalloc(sizeof(*http));
    http->loop = loop;
    http->conf = conf_complete(conf);
    if (http->conf.ca_file.data && access(http->conf.ca_file.data, R_OK) != 0) {
        err_set(err, ERR_CONFIG, "the certificate file '" STR_FMT "' cannot be read",
                STR_ARG(http->conf.ca_file));
        free((char *)http->conf.user_agent.data);
        free((char *)http->conf.ca_file.data);
        free(http);
        return NULL;
    }
    list_init(&http->idle);
    http->may_have_proxy = environment_has_proxy();
    http->share = share_new();
    http_shards_init(&http->shards, loop, http->conf.calls_max, http->conf.calls_per_shard);
    http->ready = (struct loop_hook){.run = deliver, .context = http};
    loop_add_ready(loop, &http->ready);
    return http;
}

static void call_rest(struct http_client *http, struct http_call *call)
{
    http_call_forget(call);
    http_pool_release(call->pool);
    call->pool = NULL;
    if (call->in_doubt) {
        http_call_free(call);
        http->stats.handles--;
        return;
    }
    call->state = HTTP_CALL_IDLE;
    list_prepend(&http->idle, &call->node); /* the last one used is still in the caches */
}

void http_client_free(struct http_client *http)
{
    if (!http)
        return;
    for (struct list_node *use; (use = list_first(&http->shards.busy));) {
        struct http_shard *shard = container_of(use, struct http_shard, use);
        http_cancel(http, container_of(list_first(&shard->calls), struct http_call, node));
    }
    for (struct list_node *node; (node = list_first(&http->shards.gate.waiting));)
        http_cancel(http, container_of(node, struct http_call, node));
    for (struct list_node *node; (node = list_first(&http->shards.again));)
        http_cancel(http, container_of(node, struct http_call, node));
    for (struct list_node *node; (node = list_first(&http->shards.finished));)
        http_cancel(http, container_of(node, struct http_call, node));
    for (struct list_node *node; (node = list_pop(&http->idle));)
        http_call_free(container_of(node, struct http_call, node));
    http_shards_done(&http->shards);
    http_buffers_done(&http->buffers);
    loop_remove_hook(http->loop, &http->ready);
    curl_share_cleanup(http->share);
    free((char *)http->conf.user_agent.data);
    free((char *)http->conf.ca_file.data);
    free(http);
}

static struct http_call *call_take(struct http_client *http)
{
    struct list_node *node = list_pop(&http->idle);
    if (node)
        return container_of(node, struct http_call, node);
    struct http_call *call = http_call_new(&http->conf, &http->buffers);
    curl_easy_setopt(call->easy, CURLOPT_SHARE, http->share);
    if (!http->may_have_proxy) {
        curl_easy_setopt(call->easy, CURLOPT_PROXY, "");
        curl_easy_setopt(call->easy, CURLOPT_NOPROXY, "");
    }
    http_shards_adopt(&http->shards, call);
    http->stats.handles++;
    return call;
}

struct http_call *http_call(struct http_client *http, const struct http_request *request,
                            http_done *done, void *context, struct err *err)
{
    if (http->stats.in_flight >= http->conf.calls_max) {
        err_set(err, ERR_UNAVAILABLE, "%zu HTTP calls are in flight and no more are allowed",
                http->stats.in_flight);
        return NULL;
    }
    struct http_call *call = call_take(http);
    call->done = done;
    call->context = context;
    if (!http_call_prepare(call, request, err))
        goto fail;
    call->pool = http_pool_hold(&http->shards, request);
    if (!call->pool) {
        err_set(err, ERR_INVALID_REQUEST, "the pool's name is too long");
        goto fail;
    }
    if (!http_shards_start(&http->shards, call, err))
        goto fail;
    http->stats.in_flight++;
    http->stats.calls++;
    return call;

fail:
    call_rest(http, call);
    return NULL;
}

void http_cancel(struct http_client *http, struct http_call *call)
{
    must_be(call, HTTP_CALL_MAGIC);
    must(!call->is_heard); /* libcurl is at work on it */
    if (call->state == HTTP_CALL_FLYING || call->state == HTTP_CALL_WAITING) {
        http_shards_drop(call);
    } else {
        must(call->state == HTTP_CALL_FINISHED);
        list_remove(&http->shards.finished, &call->node);
    }
    http->stats.in_flight--;
    call_rest(http, call);
}

static void call_deliver(struct http_client *http, struct http_call *call)
{
    struct http_reply reply;
    struct err err = {0};
    bool good = http_call_outcome(call, &reply, &err);
    long connects = 0;
    curl_easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &connects);
    http->stats.connections += (uint64_t)connects;
    call->state = HTTP_CALL_DELIVERED;
    http->stats.in_flight--; /* its place is free for a call made by `done` */
    call->done(&reply, good ? NULL : &err, call->context);
    call_rest(http, call);
}

static bool deliver(void *context)
{
    struct http_client *http = context;
    struct list *finished = &http->shards.finished;
    http->shards.turn_end_ahead = true;
    for (size_t i = 0; i < DELIVERIES_PER_TURN && !list_empty(finished); i++)
        call_deliver(http, container_of(list_pop(finished), struct http_call, node));
    bool more = http_shards_start_waiting(&http->shards, STARTS_PER_TURN);
    return more || !list_empty(finished);
}

size_t http_in_flight(const struct http_client *http)
{
    return http->stats.in_flight;
}

void http_client_stats(const struct http_client *http, struct http_client_stats *ret)
{
    *ret = http->stats;
    ret->pools = http->shards.pools.count;
    ret->shards = http->shards.busy.count + http->shards.unused.count;
}

/* Cuts the value out of "name: value" when the name is this one. */
static bool line_is(struct str line, struct str name, struct str *ret)
{
    size_t colon = str_index(line, ':');
    if (colon == line.len || !str_eq_nocase(str_slice(line, 0, colon), name))
        return false;
    *ret = str_trim(str_slice(line, colon + 1, line.len));
    return true;
}

struct str http_reply_header(const struct http_reply *reply, const char *name)
{
    struct str rest = reply->headers, line, value;
    while (str_split(&rest, '\n', &line))
        if (line_is(line, str_of(name), &value))
            return value;
    return (struct str){NULL, 0};
}

const char *http_library_version(void)
{
    return curl_version();
}
