/*
 * admit.c -- the step "admit": bytes become a request that is fit to be answered, or an error.
 *
 * A request that is not fit still walks on when its id could be read: it gets a failed final
 * result, unless the id turns out to be another request's, and keeps what can be had of it
 * (salvage.h), so that whoever asked finds it again. Without an id, in the body or of the event
 * (ce_id), all that remains is the dead-letter topic.
 */
#include "common/base/last_words.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/rand.h"
#include "common/data/digest.h"
#include "worker/intake/inside.h"
#include "worker/intake/salvage.h"
#include "worker/kind.h"

enum { ID_BYTES_MAX = 128, TENANT_BYTES_MAX = 64 }; /* as in schemas/request.def */
enum { POISON_DEATHS = 3 };

/* A UUIDv7 made from the record's place, so that a second delivery gets the same id. */
static struct str id_from_place(struct job *job)
{
    const struct kafka_record *record = job->record;
    struct str place = arena_printf(&job->arena, "%s/%d/%lld", record->topic, record->partition,
                                    (long long)record->offset);
    unsigned char digest[DIGEST_BYTES];
    uint64_t seed;
    struct rand rand;
    digest_sha256(place, digest);
    memcpy(&seed, digest, sizeof(seed));
    rand_init(&rand, seed);
    char text[UUID_TEXT_LEN + 1];
    rand_uuid7(&rand, record->timestamp_ms, text);
    return arena_str(&job->arena, str_of(text));
}

/* False: job->err is set, and *ret has what can be read all the same. */
static bool read_document(struct job *job, struct value *ret)
{
    struct str type = kafka_record_header(job->record, HEADER_CONTENT_TYPE);
    *ret = (struct value){.kind = VALUE_NULL};
    if (!encoding_by_type(type, &job->encoding)) {
        err_set(&job->err, ERR_INVALID_ENCODING,
                "content-type '" STR_FMT "' is neither application/json nor application/msgpack",
                STR_ARG(str_utf8_cut(type, 80)));
        return false;
    }
    if (str_empty(job->record->value)) {
        err_set(&job->err, ERR_INVALID_ENCODING, "the message is empty");
        return false;
    }
    if (contract_parse(job->record->value, job->encoding, &job->arena, ret, &job->err))
        return true;
    if (!salvage_document(job->record->value, job->encoding, &job->arena, ret))
        *ret = (struct value){.kind = VALUE_NULL};
    return false;
}

static void place_in_time(struct job *job)
{
    const struct request *r = &job->request;
    /* A publisher's clock that runs ahead must not stretch the deadline. */
    bool said = r->created_at != INT_ABSENT && r->created_at < job->record->timestamp_ms;
    job->created_at = said ? r->created_at : job->record->timestamp_ms;
    int64_t span =
        r->deadline_ms != INT_ABSENT ? r->deadline_ms : job->worker->conf->default_deadline_ms;
    job->deadline_at = job->created_at + span;
    job->deadline_ms = job->began_ms + (job->deadline_at - job->began_wall_ms);
}

static bool check_reply_to(struct job *job)
{
    struct str topic = job->request.reply_to;
    if (!topic.data || job_may_reply_to(job, topic))
        return true;
    err_set(&job->err, ERR_REPLY_TO,
            "reply_to '" STR_FMT "' does not begin with one of replies.allowed_prefixes",
            STR_ARG(str_utf8_cut(topic, 100)));
    return false;
}

/* One slot; which of the route's models it is depends on what the prompt will be. */
static bool check_route(struct job *job)
{
    struct request *r = &job->request;
    if (str_empty(r->route)) {
        job->route = r->models.count ? NULL : model_default_route(job->models);
        return true;
    }
    if (r->models.count) {
        err_set(&job->err, ERR_INVALID_REQUEST,
                "route and models are both given; a route says itself which models it has");
        return false;
    }
    job->route = model_route(job->models, r->route);
    if (!job->route)
        err_set(&job->err, ERR_UNKNOWN_ROUTE,
                "there is no route '" STR_FMT "' in the configuration%s",
                STR_ARG(str_utf8_cut(r->route, 100)),
                model_find(job->models, r->route) ? "; a model has this name: ask for it in models"
                                                  : "");
    return job->route != NULL;
}

static bool check_models(struct job *job)
{
    struct request *r = &job->request;
    if (!check_route(job))
        return false;
    if (r->models.count == 0) {
        struct str name = job->route ? job->route->models[ROUTE_MAIN][0].model->dialect.name
                                     : model_default(job->models);
        if (!name.data) {
            err_set(&job->err, ERR_NO_MODEL,
                    "the request names no model and no route, and neither default_model nor "
                    "default_route is configured");
            return false;
        }
        r->models.items = arena_new(&job->arena, struct str);
        r->models.items[0] = name;
        r->models.count = 1;
    }
    for (size_t i = 0; i < r->models.count; i++) {
        if (model_find(job->models, r->models.items[i]))
            continue;
        err_set(&job->err, ERR_UNKNOWN_MODEL,
                "there is no model '" STR_FMT "' in the configuration%s",
                STR_ARG(str_utf8_cut(r->models.items[i], 100)),
                model_route(job->models, r->models.items[i])
                    ? "; a route has this name: ask for it as route"
                    : "");
        return false;
    }
    return true;
}

static bool check_time(struct job *job)
{
    if (job->deadline_at > job->began_wall_ms || PLANTED(14) ||
        job->was_put_off) /* it had begun in time; the call step says the rest */
        return true;
    err_set(&job->err, ERR_EXPIRED, "the deadline passed %lld ms before the request was read",
            (long long)(job->began_wall_ms - job->deadline_at));
    return false;
}

static bool check_lane(struct job *job)
{
    if (!job->partition->lane->batch || str_empty(job->request.session))
        return true;
    err_set(&job->err, ERR_SESSION_IN_BATCH,
            "a request with a session came in '%s'; publish it to the interactive topic",
            job->record->topic);
    return false;
}

static bool check_size(struct job *job)
{
    if (job->record->value.len <= (size_t)job->worker->conf->request_bytes_max)
        return true;
    err_set(&job->err, ERR_TOO_BIG, "the message has %zu bytes, at most %lld are taken",
            job->record->value.len, (long long)job->worker->conf->request_bytes_max);
    return false;
}

/* The body's own id; else the event's, in structured mode (`event_id`) or in a header. */
static void name_request(struct job *job, struct str event_id)
{
    const struct str ids[] = {job->request.id, event_id,
                              kafka_record_header(job->record, HEADER_CE_ID)};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]) && str_empty(job->id); i++)
        if (request_name_ok(ids[i], ID_BYTES_MAX))
            job->id = ids[i];
    job->tenant = str_empty(job->request.tenant) ? STR("default") : job->request.tenant;
}

/* Whatever can be told of a request that could not be read as one. Its hash is that of its bytes.
 */
static void salvage(struct job *job, const struct value *body, struct str event_id)
{
    salvage_request(body, &job->arena, &job->request);
    if (!job_may_reply_to(job, job->request.reply_to) || PLANTED(79))
        job->request.reply_to = (struct str){0};
    name_request(job, event_id);
    place_in_time(job);
    digest_sha256_hex(job->record->value, job->body_hash, 64);
}

static bool read_fit(struct job *job, const struct value *body)
{
    return check_size(job) &&
           contract_read(&contract_request, body, &job->arena, &job->request, &job->err) &&
           request_check(&job->request, &job->err);
}

/* True: fit. Else job->err is set, and job->id where it could be read. */
static bool read_request(struct job *job)
{
    struct value document;
    bool is_document = read_document(job, &document);
    const struct value *body = contract_unwrap(&document);
    struct str event_id =
        body != &document ? value_get_str(&document, "id") : (struct str){NULL, 0};
    if (!is_document || !read_fit(job, body)) {
        salvage(job, body, event_id);
        if (PLANTED(80))
            job->id = (struct str){0};
        return false;
    }
    name_request(job, event_id);
    if (str_empty(job->id))
        job->id = id_from_place(job);
    job->kind = kind_find(job->request.kind);
    if (job->request.messages && !job->request.messages->count)
        job->request.messages = NULL; /* as if not given: then input is the question */
    request_body_hash(&job->request, job->body_hash);
    place_in_time(job);
    return check_lane(job) && check_reply_to(job) && check_models(job) &&
           kind_check_models(job, &job->err) && check_time(job);
}

/* First its turn in the session, then the id: a record that is read again while its earlier reading
 * is still at work must not lose its place before the session's next turn. */
static enum verdict admitted(struct job *job)
{
    bool is_turn = !str_empty(job->request.session) && !job->partition->lane->batch;
    if (is_turn && !job->session && intake_queue(job))
        return STEP_WAIT;
    if (!is_turn && put_off_at_once(job))
        return STEP_FAIL;
    if (!job->active_node.linked && intake_follow(job))
        return STEP_WAIT;
    if (job->session)
        job->previous_id = job->session->last_id;
    return STEP_NEXT;
}

static void release_models(void *table)
{
    model_table_release(table);
}

/* What made earlier lives crash is put aside; when that was at this step, its bytes are not even
 * looked at. True: it is poison, job->err is set. */
static bool poisoned(struct job *job, bool *ret_unreadable)
{
    struct last_words record;
    const char *step;
    job_record(job, &record);
    unsigned deaths = last_words_deaths(&record, &step);
    *ret_unreadable = strcmp(step, "admit") == 0;
    if (deaths < POISON_DEATHS)
        return false;
    err_set(&job->err, ERR_TOO_MANY_ATTEMPTS,
            "the worker died %u times while it was at work on this request, the last time at its "
            "step '%s'; please report it with the dead letter",
            deaths, step);
    return true;
}

/* False: nothing can be said of it, not even its id. */
static bool read_or_put_aside(struct job *job)
{
    bool unreadable;
    bool is_poison = poisoned(job, &unreadable);
    struct err why = job->err;
    if (is_poison && unreadable)
        return false;
    if (!is_poison)
        return read_request(job) || !str_empty(job->id);
    read_request(job);
    job->err = why;
    return !str_empty(job->id);
}

enum verdict admit_begin(void *subject)
{
    struct job *job = subject;
    must_be(job, JOB_MAGIC);
    if (!job_owned(job))
        return STEP_FAIL;
    job->models = model_table_hold(job->worker->models);
    arena_defer(&job->arena, release_models, job->models);
    if (!read_or_put_aside(job))
        return STEP_NEXT;
    return admitted(job);
}

/* Runs when the earlier turn it waited for, or the job it followed, has ended. */
enum verdict admit_finish(void *subject)
{
    struct job *job = subject;
    if (!job_owned(job) || job->worker->draining)
        return STEP_FAIL;
    return admitted(job);
}
