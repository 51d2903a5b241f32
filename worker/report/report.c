/*
 * report.c -- a slot's step "report": the part is packed, kept in Redis, and produced.
 *
 * What a provider was asked for is kept before it is produced, so that a death in between does not
 * pay for it again; the aggregator forgets what was kept once the final result is stored. Failures
 * are kept, too: the first part of a slot is the one that counts, a second try would be in vain.
 */
#include "common/app/metrics.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/contract/redis_keys.h"
#include "worker/kind.h"

enum { PACK_BYTES_FIRST = 1000, KEPT_MS = 3600000 };

static struct str status_of(const struct slot *slot)
{
    switch (slot->err.code) {
    case ERR_NONE:
        return STR("ok");
    case ERR_EXPIRED:
        return STR("expired");
    case ERR_CANCELLED:
        return STR("cancelled");
    default:
        return STR("failed");
    }
}

static void fill_ticket(struct job *job, struct ticket *t)
{
    const struct request *r = &job->request;
    t->user = r->user;
    t->session = r->session;
    t->kind = r->kind;
    t->body_hash = str_of(job->body_hash);
    t->question = job->question;
    t->merge = r->merge;
    t->reply_to = r->reply_to;
    t->deadline_at = job->deadline_at;
    t->created_at = job->created_at;
    t->metadata = r->metadata;
    t->topic = str_of(job->record->topic);
    t->partition = job->record->partition;
    t->offset = job->record->offset;
    t->unknown = r->extra;
    if (job->session)
        t->notify = str_of(job->worker->notify);
}

static void add_usage(struct usage *sum, const struct usage *one)
{
    sum->input += one->input;
    sum->output += one->output;
    sum->cached_input += one->cached_input;
    sum->cache_write += one->cache_write;
    sum->reasoning += one->reasoning;
}

static void fill_attempts(struct slot *slot, struct result *result)
{
    result->attempts.items = ledger_attempts(slot, &result->attempts.count);
    slot->told = true;
    for (unsigned i = 0; i < slot->attempt; i++) {
        const struct attempt *a = &slot->attempts[i];
        add_usage(&result->usage, &a->usage);
        if (a->cost_microusd == INT_ABSENT)
            continue;
        result->cost_microusd =
            (result->cost_microusd == INT_ABSENT ? 0 : result->cost_microusd) + a->cost_microusd;
    }
}

static void fill_answer(struct slot *slot, struct result *result)
{
    result->embeddings = slot->answer.embeddings;
    if (!result->embeddings.count)
        result->text = slot->answer.text;
    result->message = slot->answer.message;
    result->finish_reason = slot->answer.finish_reason;
    result->times.first_token_ms = slot->first_byte_ms;
}

static void fill_error(struct slot *slot, struct result *result)
{
    result->error.code = str_of(err_name(slot->err.code));
    result->error.message = str_of(slot->err.text);
    result->error.retry = str_of(err_retry_name(slot->err.retry));
}

static void fill_result(struct slot *slot, struct result *result)
{
    struct job *job = slot->job;
    slot_result(slot, result);
    result->status = status_of(slot);
    result->times.queued_ms =
        job->began_wall_ms > job->created_at ? job->began_wall_ms - job->created_at : 0;
    result->times.total_ms = loop_now_ms(job->worker->loop) - job->began_ms;
    fill_attempts(slot, result);
    fill_ticket(job, &result->request);
    if (slot->err.code)
        fill_error(slot, result);
    else
        fill_answer(slot, result);
}

static void count_usage(const struct result *result)
{
    const struct usage *usage = &result->usage;
    metric_add_for(METRIC_tokens_total, STR("input"), usage->input);
    metric_add_for(METRIC_tokens_total, STR("output"), usage->output);
    metric_add_for(METRIC_tokens_total, STR("cached_input"), usage->cached_input);
    metric_add_for(METRIC_tokens_total, STR("reasoning"), usage->reasoning);
    if (result->cost_microusd != INT_ABSENT)
        metric_add_for(METRIC_cost_microusd_total, result->model, result->cost_microusd);
}

static void free_pack(void *pack)
{
    buf_done(pack);
}

/* What the aggregator would refuse to read must not be sent: the answer would be lost. */
static void make_fit(struct slot *slot, struct result *result)
{
    struct err why;
    if (contract_check(&contract_result, result, &why))
        return;
    err_set(&slot->err, why.code == ERR_TOO_BIG ? ERR_TOO_BIG : ERR_PROVIDER_BAD_REPLY,
            "the answer does not fit into a result: %s", why.text);
    fill_result(slot, result);
    if (contract_check(&contract_result, result, &why))
        return;
    log_error("a result is sent without its attempts, they do not fit", LOG_C("error", why.text));
    slot->attempt = slot->note_count = 0;
    fill_result(slot, result);
}

/* Once per slot; a kept answer that does not fit has no buffer of its own yet. */
static void open_pack(struct slot *slot)
{
    if (slot->pack.max)
        return;
    buf_init(&slot->pack, (size_t)slot->job->worker->conf->shared.message_bytes_max);
    buf_reserve(&slot->pack, PACK_BYTES_FIRST + slot->answer.text.len);
    arena_defer(&slot->job->arena, free_pack, &slot->pack);
}

static void write_pack(struct slot *slot, const struct result *result)
{
    open_pack(slot);
    buf_clear(&slot->pack);
    contract_write(&contract_result, result, ENCODING_MSGPACK, &slot->pack);
    slot->packed = buf_str(&slot->pack);
}

/* Too large for the topic: the part says so instead. */
static void pack_too_big(struct slot *slot)
{
    const char *advice = slot->job->kind ? slot->job->kind->when_too_big : NULL;
    struct result result;
    err_set(&slot->err, ERR_TOO_BIG,
            "the result has %zu bytes and does not fit into the topic '%s'%s%s", slot->packed.len,
            slot->job->worker->topic_results, advice ? "; " : "", advice ? advice : "");
    fill_result(slot, &result);
    result.request.question = NULL;
    result.request.metadata = NULL;
    result.request.unknown = NULL;
    write_pack(slot, &result);
}

/* The result itself is needed no longer than this: what waits for Kafka is its bytes. */
static void pack(struct slot *slot)
{
    struct result result;
    fill_result(slot, &result);
    make_fit(slot, &result);
    write_pack(slot, &result);
    count_usage(&result);
    if (slot->pack.overflowed)
        pack_too_big(slot);
}

/* Results are between our own programs: no CloudEvents headers, which cost as much as the packing.
 */
static void produce(struct slot *slot)
{
    struct job *job = slot->job;
    struct worker *worker = job->worker;
    struct kafka_header *headers = arena_array(&job->arena, struct kafka_header, 2);
    size_t count = 0;
    headers[count++] = (struct kafka_header){STR(HEADER_CONTENT_TYPE), STR("application/msgpack")};
    struct str trace = kafka_record_header(job->record, HEADER_TRACEPARENT);
    if (trace.data)
        headers[count++] = (struct kafka_header){STR(HEADER_TRACEPARENT), trace};
    slot->delivery = arena_new(&job->arena, struct delivery);
    deliver_start(slot->delivery, worker->loop, worker->producer, &slot->walk,
                  &(struct kafka_produce){.topic = worker->topic_results,
                                          .key = job->id,
                                          .value = slot->packed,
                                          .headers = headers,
                                          .header_count = count});
    CRASH_POINT(part_produced);
}

static void kept(const struct redis_reply *reply, void *context)
{
    (void)reply; /* a miss means a repeat after a death, nothing worse */
    struct slot *slot = context;
    must_be(slot, SLOT_MAGIC);
    walk_answer(&slot->walk);
}

/* An hour, and longer when the request itself may live longer. */
static struct str kept_ms(struct job *job)
{
    int64_t left = job->deadline_ms - loop_now_ms(job->worker->loop);
    return arena_i64(&job->arena, KEPT_MS + (left > 0 ? left : 0));
}

static void keep(struct slot *slot)
{
    struct job *job = slot->job;
    struct worker *worker = job->worker;
    const struct str words[] = {STR("SET"),
                                redis_key_kept(&job->arena, worker->conf->shared.redis_key_prefix,
                                               job->tenant, job->id, slot->number),
                                slot->packed, STR("PX"), kept_ms(job)};
    slot->keeping = true;
    walk_ask(&slot->walk);
    redis_ask(worker->redis, words, 5, kept, slot);
}

enum verdict report_begin(void *subject)
{
    struct slot *slot = subject;
    must_be(slot, SLOT_MAGIC);
    if (slot->claim != CLAIM_KEPT)
        pack(slot);
    CRASH_POINT(part_packed);
    if (slot->claim != CLAIM_KEPT && slot->attempt && redis_up(slot->job->worker->redis) &&
        !PLANTED(21))
        keep(slot);
    else
        produce(slot);
    return STEP_WAIT;
}

enum verdict report_finish(void *subject)
{
    struct slot *slot = subject;
    if (slot->keeping) {
        slot->keeping = false;
        CRASH_POINT(part_kept);
        produce(slot);
        return STEP_WAIT;
    }
    if (slot->delivery->too_big && slot->err.code != ERR_TOO_BIG) {
        pack_too_big(slot);
        produce(slot);
        return STEP_WAIT;
    }
    return STEP_NEXT;
}
