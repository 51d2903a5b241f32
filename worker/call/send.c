/*
 * send.c -- one HTTP call of a slot: its row of the ledger, its headers, its reply.
 *
 * Every call gets a run id of its own and tells the provider its call id: tenant, request, slot,
 * attempt. The same call after a crash has the same call id, so a ledger outside can judge us.
 */
#include "worker/call/send.h"

#include "common/base/crash.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/rand.h"
#include "common/data/digest.h"
#include "worker/call/candidates.h"
#include "worker/call/hedge.h"
#include "worker/call/listen.h"
#include "worker/call/model.h"
#include "worker/call/queue.h"
#include "worker/call/relay.h"
#include "worker/call/reset.h"

enum { CALL_HEADERS_MAX = PROVIDER_HEADERS_MAX + 3 };

static bool plain(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c <= ' ' || c >= 127)
            return false;
    }
    return true;
}

/* Readable where id and tenant may stand in a header, else a hash of them. */
static struct str call_id(struct slot *slot)
{
    struct job *job = slot->job;
    struct str name = ARENA_JOIN(&job->arena, job->tenant, STR("/"), job->id);
    char hash[33], number[STR_I64_MAX], attempt[STR_I64_MAX];
    if (!plain(name)) {
        digest_sha256_hex(name, hash, 32);
        name = str_of(hash);
    }
    return ARENA_JOIN(&job->arena, name, STR("/"), str_i64(slot->number, number), STR("/"),
                      str_i64(slot_owner(slot)->calls_before + slot_owner(slot)->attempt, attempt));
}

/* Calls of a hedge stand among those of the slot whose it is; there is one at most. */
static struct attempt *note_attempt(struct slot *slot)
{
    struct job *job = slot->job;
    struct worker *worker = job->worker;
    struct slot *owner = slot_owner(slot);
    if (!owner->attempts)
        owner->attempts = arena_alloc(&job->arena, candidate_rows(owner, owner->attempts_room) *
                                                       sizeof(*owner->attempts));
    struct attempt *a = &owner->attempts[owner->attempt++];
    slot->row = a;
    char run_id[UUID_TEXT_LEN + 1];
    rand_uuid7(loop_rand(worker->loop), loop_wall_ms(worker->loop), run_id);
    contract_init(&contract_attempt, a);
    a->run_id = arena_str(&job->arena, str_of(run_id));
    a->call_id = call_id(slot);
    a->outcome = STR("failed"); /* until it is known better */
    a->number = owner->calls_before + owner->attempt;
    a->model = slot->model->dialect.name;
    a->provider = str_of(slot->model->provider->name);
    a->started_at = loop_wall_ms(worker->loop);
    return a;
}

/* Bodies of all attempts stay in the arena; one too many ends the slot instead of the process. */
static void keep_body(struct slot *slot, struct str body)
{
    char *copy = arena_try(&slot->job->arena, body.len + 1);
    if (!copy) {
        err_set(&slot->call_err, ERR_TOO_BIG, "the request's replies need too much memory");
        return;
    }
    memcpy(copy, body.data, body.len);
    copy[body.len] = '\0';
    slot->reply.body = str_from(copy, body.len);
}

static void keep_reply(struct slot *slot, const struct http_reply *reply)
{
    struct arena *arena = &slot->job->arena;
    slot->reply.status = reply->status;
    keep_body(slot, reply->body);
    if (reply->status == 200)
        return;
    slot->reply.retry_after = arena_str(arena, http_reply_header(reply, "Retry-After"));
    slot->reply.retry_after_ms = arena_str(arena, http_reply_header(reply, "retry-after-ms"));
}

static void call_over(struct slot *slot)
{
    struct worker *worker = slot->job->worker;
    slot->call = NULL;
    hedge_unwatch(slot);
    CRASH_POINT(call_answered);
    worker->calls_in_flight--;
    if (!PLANTED(20))
        queue_free_permit(worker);
    slot_has_news(slot);
}

/* Only records: the reply's bytes are the door's and end with this call. */
static void call_done(const struct http_reply *reply, const struct err *err, void *context)
{
    struct slot *slot = context;
    must_be(slot, SLOT_MAGIC);
    err_copy(&slot->call_err, err);
    slot->reply = (struct provider_reply){0};
    slot->first_byte_ms = reply ? reply->first_byte_us / 1000 : 0;
    slot->sends = reply ? reply->sends : 1;
    slot->withheld = err && err->code == ERR_CANCELLED; /* may_leave() said no, nothing was sent */
    slot->streamed = slot->prompt.stream && listen_end(slot, err);
    if (slot->streamed && slot->sign_ms != INT_ABSENT)
        slot->first_byte_ms = slot->sign_ms;
    if (!err && !slot->streamed)
        keep_reply(slot, reply);
    if (!err)
        slot->reply.rate_headers = rate_headers_keep(reply->headers, &slot->job->arena);
    call_over(slot);
}

/* The door is about to send it. Between its beginning and now the process may have been stopped for
 * as long as anybody likes, and no turn of the loop has told us: so the clock is read anew. */
static bool may_leave(void *context)
{
    must_be((struct slot *)context, SLOT_MAGIC);
    const struct slot *owner = slot_owner(context);
    int64_t now_ms = loop_exact_us(owner->job->worker->loop) / 1000;
    return owner->claims_lapsed >= CLAIMS_LAPSED_MAX || !queue_claim_is_dead(owner, now_ms) ||
           PLANTED(77);
}

void send_stop(struct slot *slot, const struct err *err)
{
    struct worker *worker = slot->job->worker;
    http_cancel(worker->http, slot->call);
    slot->call_err = *err;
    slot->sends = 1;
    slot->withheld = false;
    slot->reply = (struct provider_reply){0};
    slot->streamed = slot->prompt.stream && listen_end(slot, err);
    call_over(slot);
}

static void copy_headers(const struct slot *slot, struct str id, struct http_header *ret,
                         size_t *ret_count)
{
    const struct provider_request *request = slot->request;
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++)
        ret[count++] = (struct http_header){request->headers[i].name, request->headers[i].value};
    ret[count++] = (struct http_header){STR("X-Request-Id"), id};
    ret[count++] = (struct http_header){STR("Idempotency-Key"), id};
    if (str_empty(slot->model->dialect.base_url)) /* OpenAI's own servers log it */
        ret[count++] = (struct http_header){STR("X-Client-Request-Id"), id};
    *ret_count = count;
}

/* The walk waits, and so may somebody who reads along. A hedge's does already. */
static void await(struct slot *slot)
{
    if (slot->job->request.stream)
        relay_begin(slot, slot->row->run_id);
    hedge_watch(slot);
    slot->awaited = true;
    walk_ask(&slot->walk);
}

bool send_call(struct slot *slot)
{
    struct job *job = slot->job;
    struct worker *worker = job->worker;
    int64_t now = loop_now_ms(worker->loop), left = job->deadline_ms - now;
    if (PLANTED(41))
        left = slot->model->timeout_ms;
    struct attempt *attempt = note_attempt(slot);
    struct http_header headers[CALL_HEADERS_MAX];
    struct http_request request = {
        .method = STR("POST"),
        .url = slot->request->url,
        .headers = headers,
        .body = slot->request->body,
        .version = slot->model->http,
        .pool = slot->model->pools[slot->key],
        .ca_file = slot->model->ca_file,
        .ready = may_leave,
        .connect_timeout_ms = slot->model->connect_timeout_ms,
        .total_timeout_ms = left < slot->model->timeout_ms ? left : slot->model->timeout_ms,
    };
    if (slot->prompt.stream || slot->model->hedge.on)
        request.piece = listen_piece;
    copy_headers(slot, attempt->call_id, headers, &request.header_count);
    slot->cut_short = left < slot->model->timeout_ms;
    slot->call_started_ms = now;
    slot->sign_ms = INT_ABSENT;
    slot->call = http_call(worker->http, &request, call_done, slot, &slot->err);
    if (!slot->call) {
        attempt->error_code = str_of(err_name(slot->err.code));
        return false;
    }
    slot->calling = true;
    if (slot->prompt.stream)
        listen_begin(slot);
    if (!slot->hedge_of)
        await(slot);
    worker->calls_in_flight++;
    CRASH_POINT(call_sent);
    return true;
}
