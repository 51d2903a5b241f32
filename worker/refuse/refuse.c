/*
 * refuse.c -- the step "refuse": what cannot be answered goes to the dead letters, with its
 * original bytes.
 *
 * This comes before anything else is said of the request: once its failed result is stored it is
 * known, and whoever reads it again after a crash does nothing more for it.
 */
#include "common/app/metrics.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/data/digest.h"
#include "worker/job.h"

enum {
    ORIGINAL_BYTES_MAX = 65536,
    ORIGINAL_HEADER_BYTES_MAX = 16384,
    OWN_HEADERS_MAX = 9,
    DEAD_HEADERS_MAX = OWN_HEADERS_MAX + KAFKA_HEADERS_MAX,
};

static const char OWN_PREFIX[] = "quern-dead-";

static struct kafka_header header(const char *name, struct str value)
{
    return (struct kafka_header){str_of(name), value};
}

static struct str number(struct arena *arena, long long n)
{
    return arena_printf(arena, "%lld", n);
}

/* The original bytes, or of those that are too many the first 64 KiB, their number and hash. */
static struct str original(struct job *job, bool whole, struct kafka_header *headers, size_t *count)
{
    struct str value = job->record->value;
    if (whole)
        return value;
    char *hash = arena_alloc(&job->arena, DIGEST_HEX + 1);
    digest_sha256_hex(value, hash, DIGEST_HEX);
    headers[(*count)++] = header(HEADER_DEAD_SHA256, str_of(hash));
    headers[(*count)++] =
        header(HEADER_DEAD_ORIGINAL_BYTES, number(&job->arena, (long long)value.len));
    return str_slice(value, 0, ORIGINAL_BYTES_MAX);
}

static size_t write_headers(struct job *job, struct kafka_header *headers)
{
    struct arena *arena = &job->arena;
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
    return count;
}

/* The original's own headers, as its id and its trace may stand there; those that fit. A letter
 * that was published again by hand does not bring its old reason along. */
static void keep_headers(const struct kafka_record *record, struct kafka_header *headers,
                         size_t *count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < record->header_count; i++) {
        struct kafka_header one = record->headers[i];
        size_t more = bytes + one.name.len + one.value.len;
        if (more > ORIGINAL_HEADER_BYTES_MAX || str_starts(one.name, str_of(OWN_PREFIX)))
            continue;
        headers[(*count)++] = one;
        bytes = more;
    }
}

static void bury(struct job *job, bool whole)
{
    struct worker *worker = job->worker;
    struct kafka_header *headers = arena_array(&job->arena, struct kafka_header, DEAD_HEADERS_MAX);
    size_t count = write_headers(job, headers);
    struct str value = original(job, whole, headers, &count);
    must(count <= OWN_HEADERS_MAX);
    keep_headers(job->record, headers, &count);
    job->burial = arena_new(&job->arena, struct delivery);
    deliver_start(job->burial, worker->loop, worker->producer, &job->walk,
                  &(struct kafka_produce){.topic = worker->topic_dead,
                                          .key = job->record->key,
                                          .value = value,
                                          .headers = headers,
                                          .header_count = count});
    CRASH_POINT(dead_letter_produced);
}

static void tell(const struct job *job)
{
    metric_add_for(METRIC_dead_letters_total, str_of(err_name(job->err.code)), 1);
    log_warn("request put to the dead letters", LOG_C("code", err_name(job->err.code)),
             LOG_C("error", job->err.text), LOG_S("id", job->id), LOG_S("tenant", job->tenant),
             LOG_C("topic", job->record->topic), LOG_I("partition", job->record->partition),
             LOG_I("offset", job->record->offset));
}

enum verdict refuse_begin(void *subject)
{
    struct job *job = subject;
    must_be(job, JOB_MAGIC);
    if (!job->err.code || (job->known && !job->conflict))
        return STEP_NEXT;
    tell(job);
    if (PLANTED(15))
        return STEP_NEXT;
    job->buried_whole = job->record->value.len <= (size_t)job->worker->conf->request_bytes_max;
    bury(job, job->buried_whole);
    return STEP_WAIT;
}

/* The topic's own limit may be below ours: then a part of the bytes has to do. */
enum verdict refuse_finish(void *subject)
{
    struct job *job = subject;
    CRASH_POINT(dead_letter_delivered);
    if (job->burial->too_big && job->buried_whole) {
        job->buried_whole = false;
        bury(job, false);
        return STEP_WAIT;
    }
    if (job->burial->too_big)
        log_error("a dead letter does not fit into its topic and is given up: raise the topic's"
                  " max.message.bytes",
                  LOG_C("topic", job->worker->topic_dead), LOG_S("id", job->id),
                  LOG_I("partition", job->record->partition), LOG_I("offset", job->record->offset));
    return STEP_NEXT;
}
