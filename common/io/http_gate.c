/*
 * http_gate.c -- who may look a name up, and who waits for the answer.
 *
 * The gate opens when a look-up ends and closes when one begins, so calls that are started again
 * and turn out to need one more look-up (another host) end up waiting for that.
 */
#include "common/io/http_gate.h"

#include "common/base/must.h"

void http_gate_init(struct http_gate *gate)
{
    *gate = (struct http_gate){0};
    list_init(&gate->waiting);
}

/* libcurl is about to look a name up; not zero makes the transfer fail. */
static int before_lookup(void *state, void *reserved, void *context)
{
    struct http_call *call = context;
    struct http_gate *gate = call->gate;
    (void)state, (void)reserved;
    must_be(call, HTTP_CALL_MAGIC);
    if (call->looking_up)
        return 0; /* a second look-up of the same call */
    call->sent_back = gate->lookups >= HTTP_LOOKUPS_MAX;
    if (call->sent_back)
        return 1;
    call->looking_up = true;
    gate->lookups++;
    gate->open = false;
    return 0;
}

void http_gate_adopt(struct http_gate *gate, struct http_call *call)
{
    call->gate = gate;
    curl_easy_setopt(call->easy, CURLOPT_RESOLVER_START_FUNCTION, before_lookup);
    curl_easy_setopt(call->easy, CURLOPT_RESOLVER_START_DATA, call);
}

void http_gate_answered(struct http_call *call)
{
    if (!call->looking_up)
        return;
    call->looking_up = false;
    call->gate->lookups--;
    call->gate->open = true;
}

/* "http://host:port" of a URL. */
static struct str origin(const struct http_call *call)
{
    struct str url = str_of(call->url);
    size_t at = str_index(url, '/') + 2;
    return str_slice(url, 0, at + str_index(str_slice(url, at, url.len), '/'));
}

static void fail_alike(const struct http_call *asker, CURLcode code, struct list *failed)
{
    struct list *waiting = &asker->gate->waiting;
    LIST_EACH(waiting, node)
    {
        struct http_call *call = container_of(node, struct http_call, node);
        if (!str_eq(origin(call), origin(asker)))
            continue;
        list_remove(waiting, node);
        memcpy(call->said, asker->said, sizeof(call->said));
        call->code = code;
        call->state = HTTP_CALL_FINISHED;
        list_append(failed, node);
    }
}

bool http_gate_ended(struct http_call *call, CURLcode code, struct list *failed)
{
    struct http_gate *gate = call->gate;
    bool lookup_failed = call->looking_up && code != CURLE_OK;
    bool sent_back = call->sent_back;
    http_gate_answered(call);
    call->sent_back = false;
    if (lookup_failed)
        fail_alike(call, code, failed);
    if (!sent_back)
        return false;
    call->state = HTTP_CALL_WAITING;
    list_append(&gate->waiting, &call->node);
    gate->open |= gate->lookups == 0;
    return true;
}

struct http_call *http_gate_next(struct http_gate *gate)
{
    struct list_node *node = gate->open ? list_pop(&gate->waiting) : NULL;
    return node ? container_of(node, struct http_call, node) : NULL;
}

void http_gate_forget(struct http_call *call)
{
    must(call->state == HTTP_CALL_WAITING);
    list_remove(&call->gate->waiting, &call->node);
    call->state = HTTP_CALL_IDLE;
}
