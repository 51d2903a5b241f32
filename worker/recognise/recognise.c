/*
 * recognise.c -- the step "recognise": was this request seen before?
 *
 * Redis is asked first, one claim per slot; PostgreSQL at the same time, in bulk. A record below
 * the high watermark seen at assignment may be finished already, so it waits until PostgreSQL has
 * answered; for a fresh record the question only saves a second payment for an id that was
 * published twice, and an unreachable PostgreSQL does not hold it up.
 *
 * Found final, or answered and kept: same record again: nothing to do, or to be produced; another
 * record with the same body: the stored answer is sent again; another body: the conflict goes to
 * the dead letters.
 */
#include "common/app/metrics.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "worker/lookup.h"
#include "worker/recognise/claims.h"

enum { ASK_AGAIN_MS = 500 };

struct recognition {
    struct str done[JOB_SLOTS_MAX]; /* per slot: what Redis knows of the final result */
    bool asked_store, store_failed, sleeping;
};

static void make_slots(struct job *job)
{
    /* Of what is refused each slot says so: some may have been answered by an earlier life. */
    int count = job->request.models.count ? (int)job->request.models.count : 1;
    job->slots = slots_new(job, count);
    job->slot_count = count;
    for (int i = 0; i < count; i++) {
        err_copy(&job->slots[i].err, &job->err);
        const struct put_off_slot *before = put_off_recall(&job->slots[i]);
        job->slots[i].stored = before && before->reported; /* or about to be */
        job->slots[i].calls_before = before ? before->calls : 0;
        if (!job->err.code)
            job->slots[i].model = model_find(job->models, job->request.models.items[i]);
    }
}

static bool same_record(const struct job *job, int64_t partition, int64_t offset, struct str topic)
{
    return job->record->partition == partition && job->record->offset == offset &&
           str_is(topic, job->record->topic);
}

void recognise_conflict(struct job *job)
{
    job->conflict = true;
    err_set(&job->err, ERR_ID_CONFLICT,
            "the id '" STR_FMT "' was used before with another body; use a new id",
            STR_ARG(job->id));
    job->worker->wake_unpaid(job->worker);
}

/* A final or open row with this id is there. */
static void found(struct job *job, bool is_final, struct str body_hash, bool same)
{
    if (!str_is(body_hash, job->body_hash) && !PLANTED(10)) {
        recognise_conflict(job);
    } else if (is_final) {
        job->known = true;
        job->repeat = !same;
        metric_add(METRIC_finished_already_total, 1);
    }
}

static void store_told(const struct known *known, void *context)
{
    struct job *job = context;
    must_be(job, JOB_MAGIC);
    job->recognition->store_failed = known->failed;
    if (known->found) {
        found(job, !str_is(known->status, "open"), known->body_hash,
              same_record(job, known->partition, known->offset, known->topic));
        for (int i = 0; i < job->slot_count; i++)
            job->slots[i].stored |= (known->slots_stored >> (PLANTED(12) ? 0 : i) & 1) != 0;
    }
    walk_answer(&job->walk);
}

void recognise_done(struct job *job, struct str text)
{
    struct str status, hash, partition, offset;
    int64_t partition_number, offset_number;
    if (str_split(&text, ' ', &status) && str_split(&text, ' ', &hash) &&
        str_split(&text, ' ', &partition) && str_split(&text, ' ', &offset) && text.data &&
        hash.len == 64 && str_to_i64(partition, 0, INT32_MAX, &partition_number) &&
        str_to_i64(offset, 0, INT64_MAX, &offset_number))
        found(job, true, hash, same_record(job, partition_number, offset_number, text));
}

/* All parts of another record with this id are answered and kept, and about to be stored: what is
 * asked for is that answer once more. */
static bool kept_for_another_record(struct job *job)
{
    struct value document;
    struct err err;
    struct result result;
    for (int i = 0; i < job->slot_count; i++)
        if (job->slots[i].claim != CLAIM_KEPT)
            return false;
    return contract_parse(job->slots[0].packed, ENCODING_MSGPACK, &job->arena, &document, &err) &&
           contract_read(&contract_result, &document, &job->arena, &result, &err) &&
           str_eq(result.request_id, job->id) && str_eq(result.tenant, job->tenant) &&
           str_is(result.request.body_hash, job->body_hash) &&
           !same_record(job, result.request.partition, result.request.offset, result.request.topic);
}

static void ask_store(struct job *job)
{
    struct worker *worker = job->worker;
    bool must_know = job->replayed;
    job->recognition->asked_store =
        must_know || (worker->conf->recognise_fresh && postgres_up(worker->pg));
    if (!job->recognition->asked_store || PLANTED(9))
        return;
    walk_ask(&job->walk);
    lookup_ask(worker->lookup, job->tenant, job->id, store_told, job);
}

enum verdict recognise_begin(void *subject)
{
    struct job *job = subject;
    must_be(job, JOB_MAGIC);
    if (str_empty(job->id))
        return STEP_NEXT;
    job->recognition = arena_new(&job->arena, struct recognition);
    make_slots(job);
    if (redis_enabled(job->worker->redis))
        for (int i = 0; i < job->slot_count; i++)
            claims_take(&job->slots[i], &job->walk, &job->recognition->done[i]);
    ask_store(job);
    return job->walk.pending ? STEP_WAIT : STEP_NEXT;
}

enum verdict recognise_finish(void *subject)
{
    struct job *job = subject;
    for (int i = 0; i < job->slot_count && !job->known && !job->conflict; i++)
        if (job->recognition->done[i].data)
            recognise_done(job, job->recognition->done[i]);
    if (!job->known && !job->conflict && kept_for_another_record(job))
        job->known = job->repeat = true;
    if (job->known || job->conflict)
        return STEP_NEXT;
    if (!job->replayed || !job->recognition->store_failed)
        return STEP_NEXT;
    /* A replayed record goes on only when the store has spoken. */
    if (!job_owned(job) || job->worker->draining)
        return STEP_FAIL;
    if (!job->recognition->sleeping) {
        job->recognition->sleeping = true;
        walk_sleep_until(&job->walk, loop_now_ms(job->worker->loop) + ASK_AGAIN_MS);
    } else {
        job->recognition->sleeping = false;
        ask_store(job);
    }
    return STEP_WAIT;
}
