/*
 * call.c -- one provider call: check it, plan it, book it, write the answer.
 *
 * Order of refusals: key (401), content type and version (400), body (400). A refused call is
 * answered at once and is booked like any other. Tokens are booked as the reply claims them: none
 * for errors.
 */
#include "tests/fake/digest.h"
#include "tests/fake/reply.h"
#include "tests/fake/service.h"

#include <strings.h>

/* Just the digest: "digest=" and 16 digits. */
#define LENGTH_CUT 23

struct call {
    struct service *service;
    enum dialect dialect;
    const char *path;
    const struct http_request *request;
    struct moment now;
    struct answer *answer;
    struct prompt prompt;
    struct slice key;
    struct plan plan;
};

struct slice call_key(enum dialect dialect, const struct http_request *request)
{
    static const char bearer[] = "Bearer ";
    size_t len = sizeof(bearer) - 1;
    if (dialect == ANTHROPIC_MESSAGES)
        return request->api_key;
    struct slice value = request->authorization;
    if (value.len <= len || strncasecmp(value.at, bearer, len) != 0)
        return (struct slice){0};
    return (struct slice){.at = value.at + len, .len = value.len - len};
}

bool call_key_accepted(const struct service *service, struct slice key)
{
    for (size_t i = 0; i < service->keys_len; i++) {
        if (slice_is(key, service->keys[i]))
            return true;
    }
    return service->keys_len == 0;
}

static struct slice call_id(const struct http_request *request)
{
    return request->request_id.len ? request->request_id : request->call_id;
}

/* The call id without a last ".N", ":N", "/N" or "#N", which is taken for the number of the
 * attempt; else the idempotency key, else the conversation itself. */
static uint64_t attempt_key(const struct call *call)
{
    struct slice id = call_id(call->request);
    if (id.len == 0)
        id = call->request->idempotency_key;
    if (id.len == 0)
        return call->prompt.digest;
    size_t len = id.len;
    while (len > 0 && id.at[len - 1] >= '0' && id.at[len - 1] <= '9')
        len--;
    if (len > 1 && len < id.len && memchr(".:/#", id.at[len - 1], 4))
        id.len = len - 1;
    return digest_of(id);
}

static bool is_json(struct slice type)
{
    static const char json[] = "application/json";
    size_t len = sizeof(json) - 1;
    return type.len >= len && strncasecmp(type.at, json, len) == 0 &&
           (type.len == len || type.at[len] == ';' || type.at[len] == ' ');
}

/* What is wrong with the call: a status and a sentence, or 0. */
static int call_check(struct call *call, const char **ret_why)
{
    bool strict = call->dialect == OPENAI_CHAT || call->dialect == ANTHROPIC_MESSAGES;
    if (!call_key_accepted(call->service, call->key)) {
        *ret_why = reply_error_text(401);
        return 401;
    }
    *ret_why = "the content-type must be application/json";
    if (strict && !is_json(call->request->content_type))
        return 400;
    *ret_why = "anthropic-version: header is required";
    if (call->dialect == ANTHROPIC_MESSAGES && call->request->anthropic_version.len == 0)
        return 400;
    return prompt_read(call->dialect, call->request->body, &call->prompt, ret_why) ? 0 : 400;
}

/* Whether the answer claims tokens. */
static bool bills(enum manner manner)
{
    return manner == MANNER_ANSWER || manner == MANNER_CUT || manner == MANNER_DRIP ||
           manner == MANNER_LENGTH || manner == MANNER_EMPTY;
}

static void call_book(struct call *call, bool understood, size_t text_len)
{
    bool claims = understood && bills(call->plan.manner);
    call->answer->call = ledger_begin(
        call->service->ledger,
        &(struct ledger_call){
            .call_id = call_id(call->request),
            .idempotency_key = call->request->idempotency_key,
            .model = slice_of(call->prompt.model),
            .path = call->path,
            .status = call->plan.status,
            .input_tokens = claims ? (uint32_t)tokens_of(call->prompt.content_bytes) : 0,
            .output_tokens = claims ? (uint32_t)tokens_of(text_len) : 0,
            .has_key = call->key.len > 0,
            .key_hash = digest_of(call->key),
            .has_digest = understood,
            .digest = call->prompt.digest,
        },
        call->now);
}

/* The header under which each vendor names its own id of the request. */
static void name_request(struct call *call)
{
    char hex[16];
    if (call->dialect != OPENAI_CHAT && call->dialect != ANTHROPIC_MESSAGES)
        return;
    digest_hex(call->answer->call, hex);
    buf_text(&call->answer->extra,
             call->dialect == OPENAI_CHAT ? "\r\nx-request-id: req_" : "\r\nrequest-id: req_");
    buf_add(&call->answer->extra, hex, sizeof(hex));
}

static void answer_error(struct call *call, const char *text)
{
    struct answer *answer = call->answer;
    answer->status = call->plan.status;
    if (call->plan.retry_after_s >= 0)
        buf_format(&answer->extra, "\r\nretry-after: %d", call->plan.retry_after_s);
    reply_error(call->dialect, call->plan.status, text, &answer->body);
}

/* An error that came too late for the status line: in a stream, the vendor's error event. */
static void answer_error200(struct call *call)
{
    struct answer *answer = call->answer;
    if (call->prompt.stream) {
        answer->type = reply_stream_type(call->dialect);
        if (call->dialect == ANTHROPIC_MESSAGES)
            buf_text(&answer->body, "event: error\n");
        if (call->dialect == ANTHROPIC_MESSAGES || call->dialect == OPENAI_CHAT)
            buf_text(&answer->body, "data: ");
    }
    reply_error(call->dialect, 500, reply_error_text(500), &answer->body);
    if (call->prompt.stream)
        buf_text(&answer->body, "\n\n");
}

static void answer_text(struct call *call, struct slice text)
{
    struct answer *answer = call->answer;
    struct reply reply = {
        .dialect = call->dialect,
        .prompt = &call->prompt,
        .text = text,
        .id = answer->call,
        .wall_ms = call->now.wall_ms,
        .delay_ms = call->plan.delay_ms,
        .cut_by_length = call->plan.manner == MANNER_LENGTH,
        .empty = call->plan.manner == MANNER_EMPTY,
    };
    if (!call->prompt.stream) {
        reply_whole(&reply, &answer->body);
        return;
    }
    answer->type = reply_stream_type(call->dialect);
    answer->chunked = !call->request->version_10;
    reply_stream(&reply, !answer->chunked, &answer->body);
}

static void call_answer(struct call *call, struct slice text)
{
    struct answer *answer = call->answer;
    switch (call->plan.manner) {
    case MANNER_HANG:
        answer->pace = PACE_HANG;
        return;
    case MANNER_ERROR:
        answer_error(call, reply_error_text(call->plan.status));
        return;
    case MANNER_GARBAGE:
        buf_text(&answer->body, "<html><body>upstream connect error</body>{\"choices\":[");
        return;
    case MANNER_ERROR200:
        answer_error200(call);
        return;
    case MANNER_CUT:
        answer->pace = PACE_CUT;
        break;
    case MANNER_DRIP:
        answer->pace = PACE_DRIP;
        break;
    case MANNER_ANSWER:
    case MANNER_EMPTY:
    case MANNER_LENGTH:
        break;
    }
    answer_text(call, text);
}

static void call_refuse(struct call *call, int status, const char *why)
{
    call->plan = (struct plan){.manner = MANNER_ERROR, .status = status, .retry_after_s = -1};
    call_book(call, false, 0);
    name_request(call);
    answer_error(call, why);
}

void call_serve(struct service *service, enum dialect dialect, const char *path,
                const struct http_request *request, struct moment now, struct answer *answer)
{
    static struct buf text; /* the answer's; kept, it is wanted for every call */
    struct call call = {.service = service,
                        .dialect = dialect,
                        .path = path,
                        .request = request,
                        .now = now,
                        .answer = answer,
                        .key = call_key(dialect, request)};
    const char *why;
    int status = call_check(&call, &why);
    if (status) {
        call_refuse(&call, status, why);
        return;
    }
    behave_plan(&service->behave, slice_of(call.prompt.model), attempt_key(&call), &call.plan);
    text.len = 0;
    reply_text(&call.prompt, call.plan.text_bytes, &text);
    if (call.plan.manner == MANNER_LENGTH)
        text.len = LENGTH_CUT;
    if (call.plan.manner == MANNER_EMPTY)
        text.len = 0;
    call_book(&call, true, text.len);
    name_request(&call);
    answer->delay_ms = call.plan.delay_ms;
    call_answer(&call, buf_slice(&text));
}
