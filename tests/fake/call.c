/*
 * call.c -- one provider call: check it, plan it, book it; respond.c writes the answer.
 *
 * Order of refusals: address (404), key (401), content type and version (400), body (400), limits
 * (429). A refused call is answered at once and is booked like any other. Tokens are booked as a
 * true reply would claim them: none for errors.
 */
#include "tests/fake/digest.h"
#include "tests/fake/embed.h"
#include "tests/fake/reply.h"
#include "tests/fake/respond.h"
#include "tests/fake/told.h"

#include <strings.h>

/* Just the digest: "digest=" and 16 digits. */
#define LENGTH_CUT 23

static struct slice bearer_key(struct slice value)
{
    static const char bearer[] = "Bearer ";
    size_t len = sizeof(bearer) - 1;
    if (value.len <= len || strncasecmp(value.at, bearer, len) != 0)
        return (struct slice){0};
    return (struct slice){.at = value.at + len, .len = value.len - len};
}

struct slice call_key(enum vendor vendor, const struct http_request *request)
{
    if (vendor == ANTHROPIC)
        return request->api_key;
    if (vendor == AZURE && request->azure_key.len)
        return request->azure_key;
    return bearer_key(request->authorization);
}

bool call_key_accepted(const struct service *service, struct slice key)
{
    for (size_t i = 0; i < service->keys_len; i++) {
        if (slice_is(key, service->keys[i]))
            return true;
    }
    return service->keys_len == 0;
}

/* The path knows it, or the model's name, or the settings. */
static enum vendor vendor_of(const struct call *call)
{
    enum vendor vendor = call->door->vendor;
    if (vendor == OPENAI && !vendor_of_model(slice_of(call->prompt.model), &vendor))
        vendor = call->service->behave.conf.vendor;
    return vendor;
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

/* What Azure wants to see in the address. */
static bool azure_address(const struct call *call)
{
    char version[64];
    struct slice name = call->door->deployment;
    for (size_t i = 0; i < name.len; i++) {
        if (name.at[i] <= ' ' || name.at[i] >= 0x7f)
            return false;
    }
    return call->door->vendor != AZURE ||
           http_query(call->request->query, "api-version", version, sizeof(version));
}

/* Fills in what is wrong with the call as an error that is planned. False when nothing is. */
static bool call_wrong(struct call *call, const char **ret_why)
{
    enum dialect dialect = call->door->dialect;
    struct plan *plan = &call->plan;
    const char *body_why = NULL;
    bool body_ok = prompt_read(dialect, azure_address(call) ? call->door->deployment : slice_of(""),
                               call->request->body, &call->prompt, &body_why);
    call->vendor = vendor_of(call);
    call->key = call_key(call->vendor, call->request);
    *plan = (struct plan){.manner = MANNER_ERROR, .kind = ERROR_INVALID, .retry_after_s = -1};
    *ret_why = NULL;
    if (!azure_address(call) || (embeds(dialect) && !vendor_embeds(call->vendor)))
        plan->kind = ERROR_PATH;
    else if (!call_key_accepted(call->service, call->key))
        plan->kind = ERROR_KEY;
    else if ((dialect == OPENAI_CHAT || dialect == OPENAI_EMBED || dialect == ANTHROPIC_MESSAGES) &&
             !is_json(call->request->content_type))
        *ret_why = "the content-type must be application/json";
    else if (dialect == ANTHROPIC_MESSAGES && call->request->anthropic_version.len == 0)
        *ret_why = "anthropic-version: header is required";
    else if (!body_ok)
        *ret_why = body_why;
    else
        return false;
    plan->status = error_status(call->vendor, plan->kind);
    return true;
}

/* Whether the answer claims tokens. */
static bool bills(enum manner manner)
{
    return manner == MANNER_ANSWER || manner == MANNER_LENGTH || manner == MANNER_EMPTY;
}

static void call_book(struct call *call, bool understood, size_t text_len)
{
    bool claims = understood && bills(call->plan.manner);
    uint32_t output = claims ? (uint32_t)tokens_of(text_len) : 0;
    call->answer->charge = (struct charge){.meter = call->limit.meter, .tokens = output};
    call->answer->call = ledger_begin(
        call->service->ledger,
        &(struct ledger_call){
            .call_id = call_id(call->request),
            .idempotency_key = call->request->idempotency_key,
            .model = slice_of(call->prompt.model),
            .path = call->door->path,
            .status = call->plan.status,
            .input_tokens = claims ? (uint32_t)tokens_of(call->prompt.content_bytes) : 0,
            .output_tokens = output,
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
    struct buf *extra = &call->answer->extra;
    digest_hex(call->answer->call, hex);
    if (call->door->dialect == OPENAI_CHAT || call->door->dialect == OPENAI_EMBED)
        buf_format(extra, "\r\nx-request-id: req_%.16s", hex);
    if (call->door->dialect == ANTHROPIC_MESSAGES)
        buf_format(extra, "\r\nrequest-id: req_%.16s", hex);
    if (call->vendor == AZURE)
        buf_format(extra, "\r\napim-request-id: %.16s", hex);
}

static void call_refuse(struct call *call, bool understood, struct error_facts *facts)
{
    call_book(call, understood, 0);
    call->answer->charge.meter = 0;
    name_request(call);
    facts->model = slice_of(call->prompt.model);
    facts->id = call->answer->call;
    told_headers(call->vendor, &call->limit, call->now, &call->answer->extra);
    respond_error(call, facts);
}

/* Beyond a limit. */
static void call_refuse_limit(struct call *call)
{
    const struct limit_verdict *limit = &call->limit;
    const struct limit_side *side = limit->by_tokens ? &limit->tokens : &limit->requests;
    enum error_kind by_tokens = limit->never ? ERROR_OVERSIZE : ERROR_TOKENS;
    call->plan = (struct plan){.manner = MANNER_ERROR,
                               .status = 429,
                               .kind = limit->by_tokens ? by_tokens : ERROR_RATE,
                               .retry_after_s = -1};
    call_refuse(call, true,
                &(struct error_facts){.limit = side->limit,
                                      .used = side->used,
                                      .requested = limit->by_tokens ? limit->asked : 1,
                                      .wait_ms = limit->wait_ms});
}

static void limit_check(struct call *call)
{
    limits_admit(call->service->limits,
                 &(struct limit_call){
                     .key = call->key,
                     .model = slice_of(call->prompt.model),
                     .input_tokens = tokens_of(call->prompt.content_bytes),
                     .output_tokens_max = call->prompt.max_tokens,
                     .now_us = call->now.us,
                 },
                 &call->limit);
}

static void call_answer(struct call *call)
{
    static struct buf text; /* the answer's; kept, it is wanted for every call */
    struct plan *plan = &call->plan;
    behave_plan(&call->service->behave, slice_of(call->prompt.model), attempt_key(call), plan);
    if (plan->manner == MANNER_ERROR && plan->status == 0)
        plan->status = error_status(call->vendor, plan->kind);
    text.len = 0;
    reply_text(&call->prompt, plan->text_bytes, &text);
    if (plan->manner == MANNER_LENGTH)
        text.len = LENGTH_CUT;
    if (plan->manner == MANNER_EMPTY || embeds(call->door->dialect))
        text.len = 0;
    call_book(call, true, text.len);
    name_request(call);
    told_headers(call->vendor, &call->limit, call->now, &call->answer->extra);
    respond(call, buf_slice(&text));
}

void call_serve(struct service *service, const struct door *door,
                const struct http_request *request, struct moment now, struct answer *answer)
{
    struct call call = {
        .service = service, .door = door, .request = request, .now = now, .answer = answer};
    const char *why;
    if (call_wrong(&call, &why)) {
        call_refuse(&call, false, &(struct error_facts){.text = why});
        return;
    }
    limit_check(&call);
    if (call.limit.refused)
        call_refuse_limit(&call);
    else
        call_answer(&call);
}
