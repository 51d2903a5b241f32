/*
 * settle.c -- the step "settle": what is left to do once all parts are reported.
 *
 * What cannot be answered goes to the dead letters with its original bytes; a conflict gets an
 * error reply of its own, because the id's result belongs to the other request; a repeated request
 * asks the aggregator to send the stored answer again; a turn of a session, and a request that is
 * asked again meanwhile, wait until their final result is stored.
 */
#include "worker/settle/stored.h"

#include "common/app/metrics.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/data/digest.h"

enum { ORIGINAL_BYTES_MAX = 65536, DEAD_HEADERS_MAX = 12 };

static struct kafka_header header(const char *name, struct str value)
{
    return (struct kafka_header){str_of(name), value};
}

static struct str number(struct arena *arena, long long n)
{
    return arena_printf(arena, "%lld", n);
}

/* The original bytes, or of a large one the first 64 KiB, its size and hash. */
static struct str original(struct job *job, struct kafka_header *headers, size_t *count)
{
    struct str value = job->record->value;
    if (value.len <= (size_t)job->worker->conf->request_bytes_max)
        return value;
    char *hash = arena_alloc(&job->arena, DIGEST_HEX + 1);
    digest_sha256_hex(value, hash, DIGEST_HEX);
    headers[(*count)++] = header(HEADER_DEAD_SHA256, str_of(hash));
    headers[(*count)++] =
        header(HEADER_DEAD_ORIGINAL_BYTES, number(&job->arena, (long long)value.len));
    return str_slice(value, 0, ORIGINAL_BYTES_MAX);
}

static void bury(struct job *job)
{
    struct worker *worker = job->worker;
    struct arena *arena = &job->arena;
    struct kafka_header *headers = arena_array(arena, struct kafka_header, DEAD_HEADERS_MAX);
    size_t count = 0;
    headers[count++] = header(HEADER_DEAD_CODE, str_of(err_name(job->err.code)));
    headers[count++] = header(HEADER_DEAD_REASON, str_of(job->err.text));
    headers[count++] = header(HEADER_DEAD_TOPIC, str_of(job->record->topic));
    headers[count++] = header(HEADER_DEAD_PARTITION, number(arena, job->record->partition));
    headers[count++] = header(HEADER_DEAD_OFFSET, number(arena, job->record->offset));
    if (!str_empty(job->id)) {
        headers[count++] = header(HEADER_DEAD_TENANT, job->tenant);
        headers[count++] = header(HEADER_DEAD_ID, job->id);
    }
    struct str type = kafka_record_header(job->record, HEADER_CONTENT_TYPE);
    if (type.data)
        headers[count++] = header(HEADER_CONTENT_TYPE, type);
    struct str value = original(job, headers, &count);
    must(count <= DEAD_HEADERS_MAX);

    job->burial = arena_new(arena, struct delivery);
    deliver_start(job->burial, worker->loop, worker->producer, &job->walk,
                  &(struct kafka_produce){.topic = worker->topic_dead,
                                          .key = job->record->key,
                                          .value = value,
                                          .headers = headers,
                                          .header_count = count});
    CRASH_POINT(dead_letter_produced);
    metric_add_for(METRIC_dead_letters_total, str_of(err_name(job->err.code)), 1);
    log_warn("request put to the dead letters", LOG_C("code", err_name(job->err.code)),
             LOG_C("error", job->err.text), LOG_S("id", job->id), LOG_S("tenant", job->tenant),
             LOG_C("topic", job->record->topic), LOG_I("partition", job->record->partition),
             LOG_I("offset", job->record->offset));
}

static void free_buf(void *buf)
{
    buf_done(buf);
    free(buf);
}

static struct str pack(struct job *job, const struct contract *contract, const void *object,
                       enum encoding encoding)
{
    struct buf *bytes = malloc(sizeof(*bytes));
    must(bytes);
    buf_init(bytes, (size_t)job->worker->conf->shared.message_bytes_max);
    arena_defer(&job->arena, free_buf, bytes);
    contract_write(contract, object, encoding, bytes);
    return buf_str(bytes);
}

static void notify(struct job *job, const char *topic, struct str value, enum encoding encoding,
                   const char *event)
{
    struct worker *worker = job->worker;
    struct kafka_header *headers = arena_array(&job->arena, struct kafka_header, 5);
    headers[0] = header(HEADER_CONTENT_TYPE, str_of(encoding_type(encoding)));
    headers[1] = header(HEADER_CE_SPECVERSION, STR("1.0"));
    headers[2] = header(HEADER_CE_ID, job->id);
    headers[3] = header(HEADER_CE_TYPE, str_of(event));
    headers[4] = header(HEADER_CE_SOURCE, STR("quern-worker"));
    job->notice = arena_new(&job->arena, struct delivery);
    deliver_start(
        job->notice, worker->loop, worker->producer, &job->walk,
        &(struct kafka_produce){
            .topic = topic, .key = job->id, .value = value, .headers = headers, .header_count = 5});
}

static void reply_conflict(struct job *job)
{
    struct reply reply;
    contract_init(&contract_reply, &reply);
    reply.request_id = job->id;
    reply.tenant = job->tenant;
    reply.session = job->request.session;
    reply.status = STR("failed");
    reply.error.code = str_of(err_name(job->err.code));
    reply.error.message = str_of(job->err.text);
    reply.metadata = job->request.metadata;
    notify(job, job->worker->topic_replies, pack(job, &contract_reply, &reply, ENCODING_JSON),
           ENCODING_JSON, "quern.reply");
    CRASH_POINT(conflict_told);
}

static void ask_repeat(struct job *job)
{
    struct result result;
    contract_init(&contract_result, &result);
    result.request_id = job->id;
    result.tenant = job->tenant;
    result.status = STR("repeat");
    result.request.body_hash = str_of(job->body_hash);
    result.request.reply_to = job->request.reply_to;
    notify(job, job->worker->topic_results, pack(job, &contract_result, &result, ENCODING_MSGPACK),
           ENCODING_MSGPACK, "quern.result");
    CRASH_POINT(repeat_asked);
}

/* The session's next turn, and who asks the same meanwhile, go on from what is stored. */
static bool awaited(const struct job *job)
{
    return job->session || (!list_empty(&job->followers) && !str_empty(job->id));
}

enum verdict settle_begin(void *subject)
{
    struct job *job = subject;
    must_be(job, JOB_MAGIC);
    if (job->err.code && (!job->known || job->conflict))
        bury(job);
    if (job->conflict)
        reply_conflict(job);
    else if (job->repeat)
        ask_repeat(job);
    else if (!job->known && awaited(job))
        stored_wait(job);
    return job->walk.pending ? STEP_WAIT : STEP_NEXT;
}

/* The wait for the store may have ended because the partition went away: then the next owner takes
 * care of it. */
enum verdict settle_finish(void *subject)
{
    struct job *job = subject;
    if (job->burial)
        CRASH_POINT(dead_letter_delivered);
    return job->waiting_for_store && !job->is_stored ? STEP_FAIL : STEP_NEXT;
}
