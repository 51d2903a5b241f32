/*
 * http_opener.c -- see http_opener.h.
 */
#include "common/io/http_opener.h"

#include "common/base/must.h"

enum { REFUSED_SENDS_MAX = 4 };

static void wait_in(struct http_call *call, struct list *queue)
{
    call->state = HTTP_CALL_WAITING;
    call->queue = queue;
    list_append(queue, &call->node);
}

static void take_out(struct http_call *call)
{
    list_remove(call->queue, &call->node);
    call->queue = NULL;
}

static void finish(struct http_shards *set, struct http_call *call, CURLcode code)
{
    call->code = code;
    call->state = HTTP_CALL_FINISHED;
    list_append(&set->finished, &call->node);
}

bool http_opener_queues(struct http_shard *shard, struct http_call *call)
{
    if (shard->pool->version != HTTP_2)
        return false;
    if (shard->opener) {
        wait_in(call, &shard->waiting);
        return true;
    }
    if (shard->socket_count == 0)
        shard->opener = call;
    return false;
}

/* libcurl sends a request again when its connection is lost before the first byte of a reply. On a
 * connection that many share the server may have been at work on it for long. It has not begun it
 * when it refused it (RST_STREAM, GOAWAY); libcurl does not tell which it was, but after a refusal
 * the connection is still there for the others. */
static bool was_not_begun(struct http_call *call)
{
    if (call->sends > 0 && !call->refused)
        call->refused = call->sends < REFUSED_SENDS_MAX &&
                        http_shard_still_connected(call->shard, call->sent_port);
    return call->sends == 0 || call->refused;
}

bool http_opener_may_open(struct http_call *call)
{
    struct http_shard *shard = call->shard;
    if (shard->pool->version != HTTP_2)
        return true;
    if (!was_not_begun(call)) {
        call->lost = true;
        return false;
    }
    call->must_wait = shard->opener && shard->opener != call;
    if (!call->must_wait)
        shard->opener = call;
    return !call->must_wait;
}

bool http_opener_may_send(struct http_call *call)
{
    if (call->shard->pool->version == HTTP_2) {
        if (!was_not_begun(call))
            return false;
    } else if (call->sends == (call->once ? 1 : 2)) {
        return false;
    }
    call->refused = false;
    return true;
}

/* Those that wait may start again: at the turn's end, for this is libcurl's own call. */
static void let_in(struct http_shard *shard)
{
    struct http_shards *set = shard->set;
    shard->opener = NULL;
    for (struct list_node *node; (node = list_pop(&shard->waiting));)
        wait_in(container_of(node, struct http_call, node), &set->again);
    http_pool_has_room(shard);
    if (!list_empty(&set->again))
        loop_again(set->loop);
}

void http_opener_connected(struct http_call *call)
{
    if (call->shard->opener == call)
        let_in(call->shard);
}

void http_opener_left(struct http_shard *shard, const struct http_call *call)
{
    if (shard->opener == call)
        let_in(shard);
}

/* A time-out may be the opener's own; the others have theirs. */
static void fail_alike(struct http_shard *shard, const struct http_call *opener, CURLcode code)
{
    for (struct list_node *node; (node = list_pop(&shard->waiting));) {
        struct http_call *call = container_of(node, struct http_call, node);
        call->queue = NULL;
        memcpy(call->said, opener->said, sizeof(call->said));
        finish(shard->set, call, code);
    }
}

void http_opener_ends(struct http_call *call, CURLcode code)
{
    struct http_shard *shard = call->shard;
    if (shard->opener == call && code != CURLE_OK && code != CURLE_OPERATION_TIMEDOUT &&
        !call->sent_back && !call->in_doubt)
        fail_alike(shard, call, code);
}

void http_opener_wait(struct http_shard *shard, struct http_call *call)
{
    call->must_wait = false;
    wait_in(call, shard->opener ? &shard->waiting : &shard->set->again);
    if (!shard->opener)
        loop_again(shard->set->loop);
}

void http_opener_forget(struct http_call *call)
{
    must(call->state == HTTP_CALL_WAITING && call->queue);
    take_out(call);
    call->state = HTTP_CALL_IDLE;
}

void http_opener_guard(struct http_shard *shard, int64_t now_ms)
{
    LIST_EACH(&shard->waiting, node)
    {
        struct http_call *call = container_of(node, struct http_call, node);
        if (!http_shard_overdue(call, now_ms))
            continue;
        take_out(call);
        finish(shard->set, call, CURLE_OPERATION_TIMEDOUT);
    }
}
