/*
 * http.c -- scripted providers and the simulated body of the HTTP door.
 *
 * A provider is a name with a list of replies. It keeps a ledger: every call as it came, when it
 * ended, and whether the caller got the reply. Unless a scene says otherwise it answers in OpenAI's
 * form with a digest of the messages it was given, so that a crossed or stale conversation shows;
 * texts to be embedded get vectors made of theirs.
 */
#include "tests/sim/inside.h"

#include <stdlib.h>
#include <string.h>

#include "common/data/digest.h"
#include "common/data/floats.h"
#include "common/data/json.h"

enum { CONNECT_US = 1000, LATE_MS = 5000, PIECES = 3 };

struct provider {
    struct list_node node;
    char *name;
    struct sim_reply *replies;
    size_t count, next;
    bool down;
    char *refused_key;
    int refused_status;
};

struct sim_http {
    struct sim *sim;
    struct list providers;
    struct sim_call **calls;
    size_t call_count, call_cap;
    size_t at_once, at_once_max;
};

struct http_client {
    struct sim_process *process;
    struct sim_http *server;
    struct list calls;
    size_t calls_max, reply_bytes_max;
};

struct http_call {
    struct sim_op op;
    struct http_client *client;
    http_done *done;
    void *context;
    struct provider *provider;
    struct sim_reply reply;
    struct sim_call *line;
    char *url, *id, *key, *body;
    size_t body_len;
    bool timed_out, withheld;
    http_ready *ready;
    int64_t begun_ms;
    struct buf headers, answer, kept; /* kept: of a reply in pieces, what the caller left */
    /* A reply in pieces; NULL: it comes whole. */
    http_piece *piece;
    bool streams; /* it was asked for as a stream */
    struct sim_event piece_event;
    unsigned piece_count, piece_at;
    int64_t piece_began_us;
};

/* Providers */

struct sim_http *sim_http_new(struct sim *sim)
{
    struct sim_http *http = xzalloc(sizeof(*http));
    http->sim = sim;
    list_init(&http->providers);
    return http;
}

void sim_http_free(struct sim_http *http)
{
    for (struct list_node *node; (node = list_pop(&http->providers));) {
        struct provider *provider = container_of(node, struct provider, node);
        free(provider->name);
        free(provider->replies);
        free(provider->refused_key);
        free(provider);
    }
    free(http->calls);
    free(http);
}

static struct provider *provider_find(const struct sim_http *http, struct str name)
{
    LIST_EACH(&((struct sim_http *)(uintptr_t)http)->providers, node)
    {
        struct provider *provider = container_of(node, struct provider, node);
        if (str_is(name, provider->name))
            return provider;
    }
    return NULL;
}

void sim_provider(struct sim *sim, const char *name, struct sim_reply reply)
{
    struct provider *provider = provider_find(sim->http, str_of(name));
    if (!provider) {
        provider = xzalloc(sizeof(*provider));
        provider->name = xstrndup(str_of(name));
        list_append(&sim->http->providers, &provider->node);
    }
    provider->replies =
        xrealloc(provider->replies, (provider->count + 1) * sizeof(*provider->replies));
    provider->replies[provider->count++] = reply;
}

void sim_provider_now(struct sim *sim, const char *name, struct sim_reply reply)
{
    struct provider *provider = provider_find(sim->http, str_of(name));
    if (provider)
        provider->count = provider->next = 0;
    sim_provider(sim, name, reply);
}

void sim_provider_refuses(struct sim *sim, const char *name, const char *key, int status)
{
    struct provider *provider = provider_find(sim->http, str_of(name));
    must(provider);
    free(provider->refused_key);
    provider->refused_key = status ? xstrndup(str_of(key)) : NULL;
    provider->refused_status = status;
}

void sim_provider_down(struct sim *sim, const char *name, bool down)
{
    struct provider *provider = provider_find(sim->http, str_of(name));
    must(provider);
    provider->down = down;
}

size_t sim_provider_names(const struct sim *sim, const char **ret, size_t max)
{
    size_t count = 0;
    LIST_EACH(&sim->http->providers, node)
    {
        must(count < max);
        ret[count++] = container_of(node, struct provider, node)->name;
    }
    return count;
}

size_t sim_call_count(const struct sim *sim)
{
    return sim->http->call_count;
}

const struct sim_call *sim_call(const struct sim *sim, size_t index)
{
    must(index < sim->http->call_count);
    return sim->http->calls[index];
}

size_t sim_calls_of(const struct sim *sim, const char *id_prefix)
{
    size_t count = 0;
    for (size_t i = 0; i < sim->http->call_count; i++)
        count += str_starts(sim->http->calls[i]->id, str_of(id_prefix));
    return count;
}

size_t sim_calls_at_once_max(const struct sim *sim)
{
    return sim->http->at_once_max;
}

/* Answers */

/* "alpha: 3 messages, 0f3c..": same messages, same answer. */
static struct str digest(struct sim *sim, const struct provider *provider,
                         const struct value *messages)
{
    char hex[17];
    struct buf text;
    buf_init(&text, SIM_TEXT_MAX);
    for (uint32_t i = 0; messages && i < messages->count; i++) {
        buf_add_str(&text, value_get_str(&messages->items[i], "role"));
        buf_add_char(&text, '\n');
        json_write(value_get(&messages->items[i], STR("content")), &text);
        buf_add_char(&text, '\n');
    }
    digest_sha256_hex(buf_str(&text), hex, 16);
    buf_done(&text);
    return arena_printf(&sim->arena, "%s: %u messages, %s", provider->name,
                        messages ? messages->count : 0, hex);
}

/* What is asked for when texts become vectors; NULL: it is no such call. */
static const struct value *inputs_of(struct sim *sim, const struct http_call *call)
{
    struct value document;
    struct err err;
    if (!str_ends(str_of(call->url), STR("/v1/embeddings")) ||
        !json_read(call->line->body, &sim->arena, &document, &err))
        return NULL;
    return value_get_list(&document, "input");
}

/* Four numbers made of the provider's name and the text: same text, same vector. */
static struct str vector_of(struct sim *sim, const struct provider *provider, struct str text)
{
    unsigned char bytes[DIGEST_BYTES];
    float numbers[4];
    digest_sha256(arena_printf(&sim->arena, "%s " STR_FMT, provider->name, STR_ARG(text)), bytes);
    for (size_t i = 0; i < 4; i++)
        numbers[i] = (float)(bytes[i] - 128) / 128;
    return floats_text(numbers, 4, &sim->arena);
}

/* As they are stored: ["..",".."], in the order of the texts. */
static struct str vectors_of(struct sim *sim, const struct provider *provider,
                             const struct value *inputs)
{
    struct str list = STR("[");
    for (uint32_t i = 0; i < inputs->count; i++)
        list = arena_printf(&sim->arena, STR_FMT "%s\"" STR_FMT "\"", STR_ARG(list), i ? "," : "",
                            STR_ARG(vector_of(sim, provider, inputs->items[i].text)));
    return arena_printf(&sim->arena, STR_FMT "]", STR_ARG(list));
}

/* Last first, for no order is promised. */
static void write_vectors(struct sim *sim, const struct provider *provider,
                          const struct value *inputs, struct buf *ret)
{
    buf_printf(ret, "{\"object\":\"list\",\"model\":\"%s\",\"data\":[", provider->name);
    for (uint32_t i = inputs->count; i-- > 0;)
        buf_printf(ret, "{\"object\":\"embedding\",\"index\":%u,\"embedding\":\"" STR_FMT "\"}%s",
                   i, STR_ARG(vector_of(sim, provider, inputs->items[i].text)), i ? "," : "");
    buf_printf(ret, "],\"usage\":{\"prompt_tokens\":15,\"total_tokens\":15}}");
}

static void write_answer(const struct provider *provider, struct str text, struct buf *ret)
{
    struct json_writer w = {.out = ret};
    json_open(&w, '{');
    json_key(&w, "id");
    json_str(&w, STR("chatcmpl-1"));
    json_key(&w, "model");
    json_str(&w, str_of(provider->name));
    json_key(&w, "choices");
    json_open(&w, '[');
    json_open(&w, '{');
    json_key(&w, "message");
    json_open(&w, '{');
    json_key(&w, "role");
    json_str(&w, STR("assistant"));
    json_key(&w, "content");
    json_str(&w, text);
    json_close(&w, '}');
    json_key(&w, "finish_reason");
    json_str(&w, STR("stop"));
    json_close(&w, '}');
    json_close(&w, ']');
    json_key(&w, "usage");
    json_open(&w, '{');
    json_key(&w, "prompt_tokens");
    json_int(&w, 10);
    json_key(&w, "completion_tokens");
    json_int(&w, 5);
    json_close(&w, '}');
    json_close(&w, '}');
}

static void write_event(struct buf *ret, const struct provider *provider, const char *rest,
                        struct str text)
{
    struct json_writer w = {.out = ret};
    buf_printf(ret, "data: {\"id\":\"chatcmpl-1\",\"model\":\"%s\",%s", provider->name, rest);
    if (text.data)
        json_str(&w, text);
    buf_printf(ret, "%s\n\n", text.data ? "},\"finish_reason\":null}]}" : "}");
}

/* The same answer in OpenAI's events: its text in two halves. */
static void write_stream(const struct provider *provider, struct str text, struct buf *ret)
{
    static const char delta[] = "\"choices\":[{\"index\":0,\"delta\":{\"content\":";
    size_t half = text.len / 2;
    write_event(ret, provider, delta, str_slice(text, 0, half));
    write_event(ret, provider, delta, str_slice(text, half, text.len));
    write_event(ret, provider,
                "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]",
                (struct str){0});
    write_event(ret, provider,
                "\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}",
                (struct str){0});
    buf_printf(ret, "data: [DONE]\n\n");
}

static const struct value *messages_of(struct sim *sim, struct str body)
{
    struct value document;
    struct err err;
    if (!json_read(body, &sim->arena, &document, &err))
        return NULL;
    return value_get_list(&document, "messages");
}

static struct sim_call *ledger_add(struct sim_http *http, struct http_call *call)
{
    struct arena *arena = &http->sim->arena;
    if (http->call_count == http->call_cap) {
        http->call_cap = http->call_cap ? http->call_cap * 2 : 64;
        http->calls = xrealloc(http->calls, http->call_cap * sizeof(struct sim_call *));
    }
    struct sim_call *line = arena_new(arena, struct sim_call);
    http->calls[http->call_count++] = line;
    *line = (struct sim_call){
        .provider = call->provider->name,
        .process = call->client->process->name,
        .id = arena_str(arena, str_of(call->id)),
        .key = call->key ? arena_str(arena, str_of(call->key)) : (struct str){0},
        .body = arena_str(arena, str_from(call->body, call->body_len)),
        .begun_ms = call->begun_ms,
        .at_ms = sim_now_ms(http->sim),
        .end_ms = -1,
    };
    line->messages = messages_of(http->sim, line->body);
    http->at_once++;
    if (http->at_once > http->at_once_max)
        http->at_once_max = http->at_once;
    return line;
}

static void ledger_end(struct http_call *call, int status, bool delivered)
{
    struct sim_call *line = call->line;
    if (!line)
        return;
    line->end_ms = sim_now_ms(call->op.sim);
    line->status = status;
    line->delivered = delivered;
    call->client->server->at_once--;
    call->line = NULL;
}

static const char *content_type(const struct sim_reply *reply, bool streams)
{
    bool is_json = reply->body ? reply->body[0] == '{' : !streams || reply->status != 200;
    return is_json ? "application/json" : "text/event-stream";
}

/* The request is at the provider. */
static void call_arrive(struct sim_op *op)
{
    struct http_call *call = container_of(op, struct http_call, op);
    if (call->reply.trouble == SIM_REFUSED)
        return;
    call->withheld = call->ready && !call->ready(call->context);
    if (call->withheld)
        return;
    if (call->line) /* it came twice; nobody hears the first answer */
        ledger_end(call, call->reply.status, false);
    buf_clear(&call->headers);
    buf_clear(&call->answer);
    call->line = ledger_add(call->client->server, call);
    const struct value *inputs = inputs_of(op->sim, call);
    if (call->reply.status == 200 && !call->reply.body)
        call->line->answer = inputs ? vectors_of(op->sim, call->provider, inputs)
                                    : digest(op->sim, call->provider, call->line->messages);
    if (call->reply.headers)
        buf_add_str(&call->headers, str_of(call->reply.headers));
    buf_printf(&call->headers, "Content-Type: %s\r\n", content_type(&call->reply, call->streams));
    if (call->reply.body)
        buf_add_str(&call->answer, str_of(call->reply.body));
    else if (call->reply.status == 200 && inputs)
        write_vectors(op->sim, call->provider, inputs, &call->answer);
    else if (call->reply.status == 200 && call->streams)
        write_stream(call->provider, call->line->answer, &call->answer);
    else if (call->reply.status == 200)
        write_answer(call->provider, call->line->answer, &call->answer);
    else
        buf_printf(&call->answer, "{\"error\":{\"message\":\"status %d\"}}", call->reply.status);
}

/* How much of it comes before its trouble begins. */
static unsigned pieces_in_all(const struct http_call *call)
{
    bool breaks = call->reply.trouble == SIM_CUT || call->reply.trouble == SIM_SILENT ||
                  call->op.way == SIM_NO_ANSWER;
    bool none = (call->reply.trouble == SIM_SILENT && !call->reply.first_ms) ||
                call->reply.trouble == SIM_REFUSED || call->op.way == SIM_REFUSE ||
                call->op.way == SIM_NEVER || !call->piece || call->withheld;
    return none ? 0 : breaks ? call->piece_count / 2 : call->piece_count;
}

static void hand_piece(struct http_call *call)
{
    size_t len = call->answer.len, n = call->piece_count, at = call->piece_at++;
    struct str bytes = str_slice(buf_str(&call->answer), len * at / n, len * (at + 1) / n);
    const struct http_reply head = {
        .status = call->reply.status, .headers = buf_str(&call->headers), .sends = 1};
    if (bytes.len && !call->piece(&head, bytes, call->context))
        buf_add_str(&call->kept, bytes);
}

static int64_t piece_at_us(const struct http_call *call)
{
    int64_t first = call->reply.first_ms ? call->reply.first_ms : call->reply.after_ms / 2;
    int64_t span = call->reply.after_ms - first, steps = (int64_t)call->piece_count - 1;
    return call->piece_began_us +
           (first + (steps ? span * (int64_t)call->piece_at / steps : 0)) * 1000;
}

/* The last one comes with the end. */
static void piece_comes(void *context)
{
    struct http_call *call = context;
    hand_piece(call);
    if (call->piece_at + 1 < call->piece_count && call->piece_at < pieces_in_all(call))
        sim_event_set(call->op.sim, &call->piece_event, call->client->process, piece_at_us(call),
                      piece_comes, call);
}

static void pieces_begin(struct http_call *call, int64_t now_us)
{
    call->piece_count = call->reply.pieces ? call->reply.pieces : call->streams ? PIECES : 1;
    call->piece_began_us = now_us;
    if (pieces_in_all(call) && call->piece_count > 1)
        sim_event_set(call->op.sim, &call->piece_event, call->client->process, piece_at_us(call),
                      piece_comes, call);
}

static void hand_rest(struct http_call *call)
{
    sim_event_cancel(&call->piece_event);
    while (!call->timed_out && call->piece_at < pieces_in_all(call))
        hand_piece(call);
}

static unsigned sends(const struct http_call *call)
{
    if (call->withheld || call->reply.trouble == SIM_REFUSED || call->op.way == SIM_REFUSE)
        return 0;
    return call->op.way == SIM_TWICE ? 2 : 1;
}

static void call_answer(struct sim_op *op)
{
    struct http_call *call = container_of(op, struct http_call, op);
    struct err err = {0};
    hand_rest(call);
    if (call->withheld) {
        err_set(&err, ERR_CANCELLED, "taken back before it was sent");
    } else if (call->timed_out || op->way == SIM_NEVER) {
        err_set(&err, ERR_PROVIDER_TIMEOUT, "no reply in time");
    } else if (call->reply.trouble == SIM_REFUSED || op->way == SIM_REFUSE) {
        err_set(&err, ERR_PROVIDER_DOWN, "connection refused");
    } else if (call->reply.trouble == SIM_CUT || op->way == SIM_NO_ANSWER) {
        err_set(&err, ERR_PROVIDER_BAD_REPLY, "cut in the middle");
    } else if ((call->piece ? call->kept : call->answer).len > call->client->reply_bytes_max) {
        err_set(&err, ERR_TOO_BIG, "the reply is larger than %zu bytes",
                call->client->reply_bytes_max);
    }
    struct http_reply reply = {
        .status = err.code ? 0 : call->reply.status,
        .headers = buf_str(&call->headers),
        .body = buf_str(call->piece ? &call->kept : &call->answer),
        .connect_us = CONNECT_US,
        .first_byte_us = call->reply.after_ms * 1000,
        .total_us = call->reply.after_ms * 1000,
        .sends = sends(call),
    };
    ledger_end(call, err.code ? 0 : call->reply.status, !err.code);
    call->done(&reply, err.code ? &err : NULL, call->context);
}

static void call_free(struct sim_op *op)
{
    struct http_call *call = container_of(op, struct http_call, op);
    sim_event_cancel(&call->piece_event);
    buf_done(&call->headers);
    buf_done(&call->answer);
    buf_done(&call->kept);
    call->client->process->calls_held--;
    free(call->url);
    free(call->id);
    free(call->key);
    free(call->body);
    free(call);
}

/* The door */

struct http_client *http_client_new(struct loop *loop, const struct http_client_conf *conf,
                                    struct err *err)
{
    (void)err;
    struct http_client *http = xzalloc(sizeof(*http));
    http->process = loop_process(loop);
    http->server = http->process->sim->http;
    list_init(&http->calls);
    http->calls_max = conf->calls_max;
    http->reply_bytes_max = conf->reply_bytes_max ? conf->reply_bytes_max : 8 << 20;
    return http;
}

/* The provider goes on with a call whose caller is gone; nobody gets the answer. */
static void call_drop(struct http_call *call)
{
    ledger_end(call, -1, false);
    sim_event_cancel(&call->piece_event);
    sim_event_cancel(&call->op.there);
    call->op.arrived = true;
}

void http_client_free(struct http_client *http)
{
    if (!http)
        return;
    LIST_EACH(&http->calls, node)
    call_drop(container_of(node, struct http_call, op.client));
    sim_ops_abandon(&http->calls);
    free(http);
}

/* http://NAME.example/.. */
static struct provider *provider_by_url(const struct sim_http *http, struct str url)
{
    struct str prefix = STR("http://");
    if (!str_starts(url, prefix))
        return NULL;
    struct str host = str_slice(url, prefix.len, url.len);
    host = str_slice(host, 0, str_index(host, '.'));
    return provider_find(http, host);
}

static struct sim_reply next_reply(struct provider *provider)
{
    struct sim_reply reply = provider->replies[provider->next];
    if (provider->next + 1 < provider->count)
        provider->next++;
    if (!reply.status)
        reply.status = 200;
    if (!reply.after_ms)
        reply.after_ms = 1;
    return reply;
}

/* When what is handed over now leaves the process. */
static int64_t leaves_us(struct sim_process *process)
{
    int64_t now_us = process->sim->now_us;
    if (process->freezes_at_call_us > now_us)
        sim_freeze(process, (process->freezes_at_call_us - now_us) / 1000);
    process->freezes_at_call_us = 0;
    return process->frozen_until_us > now_us ? process->frozen_until_us : now_us;
}

static void start(struct http_call *call, const struct http_request *request)
{
    struct sim *sim = call->client->process->sim;
    int64_t now_us = leaves_us(call->client->process);
    call->begun_ms = sim_now_ms(sim);
    int64_t total_ms = request->total_timeout_ms ? request->total_timeout_ms : 600000;
    call->timed_out =
        call->reply.trouble == SIM_SILENT || call->reply.after_ms > total_ms || total_ms <= 0;
    int64_t wait_ms = call->timed_out ? total_ms : call->reply.after_ms;
    call->op.arrive = call_arrive;
    call->op.answer = call_answer;
    call->op.free = call_free;
    call->op.give_up_us = now_us + total_ms * 1000;
    if (call->op.way == SIM_NO_ANSWER) /* cut in the middle of the answer */
        call->op.give_up_us = 0;
    if (call->op.way == SIM_LATE)
        call->op.give_up_us = now_us + (wait_ms + LATE_MS) * 1000;
    sim_op_start(sim, call->client->process, &call->client->calls, &call->op, now_us,
                 now_us + wait_ms * 1000);
    if (call->piece)
        pieces_begin(call, now_us);
}

static void read_headers(struct http_call *call, const struct http_request *request)
{
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *h = &request->headers[i];
        if (str_eq_nocase(h->name, STR("X-Request-Id")) && !call->id)
            call->id = xstrndup(h->value);
        if (str_eq_nocase(h->name, STR("Authorization")) && str_starts(h->value, STR("Bearer ")))
            call->key = xstrndup(str_slice(h->value, 7, h->value.len));
    }
}

static bool asks_for_stream(struct str body)
{
    static const char word[] = "\"stream\":true";
    return memmem(body.data, body.len, word, sizeof(word) - 1) != NULL;
}

struct http_call *http_call(struct http_client *http, const struct http_request *request,
                            http_done *done, void *context, struct err *err)
{
    struct provider *provider = provider_by_url(http->server, request->url);
    if (http->calls.count >= http->calls_max || !provider) {
        err_set(err, provider ? ERR_UNAVAILABLE : ERR_PROVIDER_DOWN, "the call cannot start");
        return NULL;
    }
    struct http_call *call = xzalloc(sizeof(*call));
    call->client = http;
    http->process->calls_held++;
    call->done = done;
    call->context = context;
    call->provider = provider;
    read_headers(call, request);
    if (provider->down)
        call->reply = (struct sim_reply){.after_ms = 1, .trouble = SIM_REFUSED};
    else if (call->key && provider->refused_key && strcmp(call->key, provider->refused_key) == 0)
        call->reply = (struct sim_reply){.status = provider->refused_status, .after_ms = 5};
    else
        call->reply = next_reply(provider);
    call->op.door = SIM_HTTP;
    call->url = xstrndup(request->url);
    call->op.way = sim_door(http->process, SIM_HTTP, call->id ? call->id : provider->name);
    if (call->op.way == SIM_WRONG)
        call->reply = (struct sim_reply){
            .status = 200, .after_ms = call->reply.after_ms, .body = "{\"choices\":[]}"};
    call->body = xstrndup(request->body);
    call->body_len = request->body.len;
    call->piece = request->piece;
    call->ready = request->ready;
    call->streams = request->piece && asks_for_stream(request->body);
    buf_init(&call->kept, SIM_TEXT_MAX);
    buf_init(&call->headers, SIM_TEXT_MAX);
    buf_init(&call->answer, SIM_TEXT_MAX);
    start(call, request);
    return call;
}

void http_cancel(struct http_client *http, struct http_call *call)
{
    list_remove(&http->calls, &call->op.client);
    call_drop(call);
    sim_event_cancel(&call->op.back);
    list_remove(&call->op.sim->ops, &call->op.node);
    call_free(&call->op);
}

size_t http_in_flight(const struct http_client *http)
{
    return http->calls.count;
}

/* "Name: value" lines, as they came. */
struct str http_reply_header(const struct http_reply *reply, const char *name)
{
    struct str rest = reply->headers, line;
    while (rest.len && str_split(&rest, '\n', &line)) {
        size_t colon = str_index(line, ':');
        if (colon < line.len && str_eq_nocase(str_slice(line, 0, colon), str_of(name)))
            return str_trim(str_slice(line, colon + 1, line.len));
    }
    return (struct str){0};
}
