/*
 * settle.c -- the step "settle": what is left to do once all parts are reported.
 *
 * A conflict gets an error reply of its own, where it asked for it, because the id's result belongs
 * to the other request; a repeated request asks the aggregator to send the stored answer again; a
 * turn of a session, and a request that is asked again meanwhile, wait until their final result is
 * stored.
 */
#include "worker/settle/stored.h"

#include "common/app/metrics.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"

/* How often a topic that a request names may say no. */
enum { REFUSALS_MAX = 3 };

static struct kafka_header header(const char *name, struct str value)
{
    return (struct kafka_header){str_of(name), value};
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

static const char *reply_topic(struct job *job)
{
    struct str topic = job->request.reply_to;
    return !str_empty(topic) && job_may_reply_to(job, topic) ? arena_cstr(&job->arena, topic)
                                                             : job->worker->topic_replies;
}

static bool is_ours(const struct job *job, const struct delivery *notice)
{
    return notice->record.topic == job->worker->topic_replies ||
           notice->record.topic == job->worker->topic_results;
}

/* Somebody else's topic is not there, or not open to us: it must not hold up the partition. */
static bool reply_elsewhere(struct job *job)
{
    const struct delivery *refused = job->notice;
    if (!refused || !refused->refused)
        return false;
    log_warn("a reply is refused by the topic it was to go to, it goes to the default one",
             LOG_S("id", job->id), LOG_S("tenant", job->tenant),
             LOG_C("topic", refused->record.topic), LOG_C("instead", job->worker->topic_replies));
    notify(job, job->worker->topic_replies, refused->record.value, ENCODING_JSON, "quern.reply");
    return true;
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
    notify(job, reply_topic(job), pack(job, &contract_reply, &reply, ENCODING_JSON), ENCODING_JSON,
           "quern.reply");
    if (!is_ours(job, job->notice))
        deliver_give_up(job->notice, REFUSALS_MAX);
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
    return (job->session && !PLANTED(6)) || (!list_empty(&job->followers) && !str_empty(job->id));
}

enum verdict settle_begin(void *subject)
{
    struct job *job = subject;
    must_be(job, JOB_MAGIC);
    if (job->conflict && !PLANTED(44))
        reply_conflict(job);
    else if (job->repeat && !PLANTED(43))
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
    if (reply_elsewhere(job))
        return STEP_WAIT;
    return job->waiting_for_store && !job->is_stored ? STEP_FAIL : STEP_NEXT;
}
