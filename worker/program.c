/*
 * program.c -- quern-worker: the two tables of steps, the settings, and the doors. main.c runs it;
 * tests/sim runs it over simulated doors.
 *
 * To add a step: a line in a table, a begin (and finish) in a folder of its own, a field in job.h
 * for what it leaves behind. Settings: common/settings.
 */
#include "common/app/instance.h"
#include "common/app/metrics.h"
#include "common/base/log.h"
#include "common/base/xalloc.h"
#include "common/contract/redis_keys.h"
#include "worker/fleet.h"
#include "worker/intake/intake.h"
#include "worker/job.h"
#include "worker/lookup.h"
#include "worker/recognise/claims.h"
#include "worker/settle/stored.h"

enum { FETCH_TIMEOUT_MS = 3000 };

static const struct step job_steps[] = {
    {.name = "admit", .begin = admit_begin, .finish = admit_finish},
    {.name = "recognise", .begin = recognise_begin, .finish = recognise_finish},
    {.name = "refuse", .begin = refuse_begin, .finish = refuse_finish},
    {.name = "retrieve",
     .begin = retrieve_begin,
     .finish = retrieve_finish,
     .back = "recognise",
     .back_max = 3},
    {.name = "answer",
     .begin = answer_begin,
     .finish = answer_finish,
     .back = "refuse",
     .back_max = 1},
    {.name = "settle", .begin = settle_begin, .finish = settle_finish},
    {0},
};

static const struct step slot_steps[] = {
    {.name = "claim", .begin = claim_begin, .finish = claim_finish},
    {.name = "prompt", .begin = prompt_begin},
    {.name = "call",
     .begin = call_begin,
     .finish = call_finish,
     .back = "claim",
     .back_max = CLAIMS_LAPSED_MAX},
    {.name = "validate", .begin = validate_begin},
    {.name = "report", .begin = report_begin, .finish = report_finish},
    {0},
};

static struct str job_id(const void *subject)
{
    return ((const struct job *)subject)->id;
}

static struct str slot_id(const void *subject)
{
    return ((const struct slot *)subject)->job->id;
}

static void job_works_at(const void *subject, struct last_words *ret)
{
    job_record(subject, ret);
}

static void slot_works_at(const void *subject, struct last_words *ret)
{
    job_record(((const struct slot *)subject)->job, ret);
}

static void slot_ended(void *subject, bool ok)
{
    struct slot *slot = subject;
    slot->abandoned |= !ok;
    slot->reported = ok;
    ledger_tell(slot);
    if (!ok)
        claims_release(slot);
    if (ok && slot->job->slot_count > 1)
        call_look_at_rest(slot->job);
    walk_answer(&slot->job->walk);
}

static bool check(const void *given, const struct conf_places *places, struct err *err)
{
    const struct worker_conf *conf = given;
    if (!worker_conf_check(conf, places, err))
        return false;
    struct model_table *models = model_table_new(&conf->shared, NULL, err);
    model_table_release(models);
    return models != NULL;
}

static void name_topics(struct worker *worker)
{
    const struct worker_conf *conf = worker->conf;
    struct str prefix = conf->shared.topic_prefix;
    struct str *topics_read = xcalloc(conf->lanes.count, sizeof(*topics_read));
    bool *batch = xcalloc(conf->lanes.count, sizeof(*batch));
    for (size_t i = 0; i < conf->lanes.count; i++) {
        batch[i] = str_is(conf->lanes.items[i], "requests.batch");
        topics_read[i] =
            topic_name(&worker->names, prefix, batch[i] ? TOPIC_REQUESTS_BATCH : TOPIC_REQUESTS);
    }
    worker->lane_topics = topics_read;
    worker->lane_batch = batch;
    worker->lane_count = conf->lanes.count;
    worker->topic_results = topic_name(&worker->names, prefix, TOPIC_RESULTS).data;
    worker->topic_replies = topic_name(&worker->names, prefix, TOPIC_REPLIES).data;
    worker->topic_dead = topic_name(&worker->names, prefix, TOPIC_DEAD).data;
}

/* The doors say in the log when a server goes away and comes back. */
static void postgres_state(bool up, const struct err *why, void *context)
{
    (void)why, (void)context;
    metric_set_for(METRIC_dependency_up, STR("postgres"), up);
}

static void redis_state(bool up, const struct err *why, void *context)
{
    struct worker *worker = context;
    (void)why;
    metric_set_for(METRIC_dependency_up, STR("redis"), up);
    if (up) /* until it is told, others take us for dead */
        claims_renew(worker->claims);
}

static void kafka_fatal(const struct err *err, void *context)
{
    struct worker *worker = context;
    app_fail(worker->app, err, EXIT_FAILED);
}

static const struct redis_script script_claim = {.name = "claim", .lua = lua_claim};
static const struct redis_script script_steal = {.name = "steal", .lua = lua_steal};
static const struct redis_script script_hedge = {.name = "hedge", .lua = lua_hedge};
static const struct redis_script script_release = {.name = "release", .lua = lua_release};

static bool open_stores(struct worker *worker, struct err *err)
{
    const struct shared_conf *shared = &worker->conf->shared;
    struct postgres_conf postgres_conf;
    struct redis_conf redis_conf;
    shared_postgres_conf(shared, &postgres_conf);
    postgres_conf.application_name = STR("quern-worker");
    postgres_conf.statements = worker_statements;
    postgres_conf.statement_count = WORKER_STATEMENT_COUNT;
    postgres_conf.on_state = postgres_state;
    postgres_conf.waiting_max = (size_t)worker->conf->max_in_flight * 2 + 1024;
    shared_redis_conf(shared, &redis_conf);
    redis_conf.on_state = redis_state;
    redis_conf.context = worker;
    worker->pg = postgres_new(worker->loop, &postgres_conf, err);
    worker->redis = worker->pg ? redis_new(worker->loop, &redis_conf, err) : NULL;
    if (!worker->redis)
        return false;
    worker->script_claim = redis_script_add(worker->redis, &script_claim);
    worker->script_steal = redis_script_add(worker->redis, &script_steal);
    worker->script_release = redis_script_add(worker->redis, &script_release);
    worker->script_hedge = redis_script_add(worker->redis, &script_hedge);
    worker->fleet = fleet_new(worker);
    worker->quotas = quotas_new(&(struct quotas_conf){.loop = worker->loop,
                                                      .redis = worker->redis,
                                                      .pg = worker->pg,
                                                      .statement = STATEMENT_SPENT,
                                                      .key_prefix = shared->redis_key_prefix,
                                                      .instance = str_of(worker->instance)});
    model_table_limit(worker->models, shared, worker->quotas);
    return true;
}

static bool open_http(struct worker *worker, struct err *err)
{
    const struct worker_conf *conf = worker->conf;
    const struct http_client_conf http_conf = {
        .calls_max = (size_t)conf->max_in_flight * 2,
        .reply_bytes_max = (size_t)conf->reply_bytes_max,
        .user_agent = STR("quern/" QUERN_VERSION),
    };
    worker->http = http_client_new(worker->loop, &http_conf, err);
    return worker->http != NULL;
}

static bool open_kafka(struct worker *worker, struct err *err)
{
    const struct worker_conf *conf = worker->conf;
    struct kafka_conf kafka_conf;
    struct kafka_consumer_events events;
    struct kafka_fetcher_events fetches;
    shared_kafka_conf(&conf->shared, &kafka_conf);
    kafka_conf.client_id = str_of(worker->instance);
    worker->producer = kafka_producer_new(worker->loop, &kafka_conf, kafka_fatal, worker, err);
    if (!worker->producer)
        return false;
    worker->intake = intake_new(worker);
    intake_events(worker, &events);
    events.on_fatal = kafka_fatal;
    kafka_conf.group = conf->group;
    intake_fetch_events(worker, &fetches);
    worker->fetcher = kafka_fetcher_new(worker->loop, &kafka_conf, FETCH_TIMEOUT_MS, &fetches, err);
    if (!worker->fetcher)
        return false;
    kafka_conf.instance = str_of(worker->instance);
    kafka_conf.topics = worker->lane_topics;
    kafka_conf.topic_count = worker->lane_count;
    kafka_conf.revoke_ms_max = conf->revoke_drain_ms + 2000;
    worker->consumer = kafka_consumer_new(worker->loop, &kafka_conf, &events, err);
    return worker->consumer != NULL;
}

/* What the drain's time was too short for. While Kafka does not listen the claims stay: whoever
 * takes them over tells that a call may have been made. */
static void leave_calls(struct job *job)
{
    if (!kafka_producer_up(job->worker->producer))
        return;
    for (int i = 0; i < job->slot_count; i++) {
        ledger_cancel(&job->slots[i]);
        ledger_tell(&job->slots[i]);
        claims_release(&job->slots[i]);
    }
}

static void stop(void *program)
{
    struct worker *worker = program;
    if (worker->draining)
        intake_each_job(worker->intake, leave_calls);
    claims_free(worker->claims, true);
    fleet_leave(worker->fleet);
    stored_free(worker->stored);
    lookup_free(worker->lookup);
    http_client_free(worker->http);
    kafka_producer_free(worker->producer, 2000);
    ledger_free(worker->ledger);
    redis_free(worker->redis);
    fleet_free(worker->fleet);
    postgres_free(worker->pg);
    intake_free(worker->intake);
    quotas_free(worker->quotas);
    kafka_fetcher_free(worker->fetcher);
    /* Jobs keep records of it, and partitions the names of its topics. */
    kafka_consumer_free(worker->consumer, worker->conf->leave_group);
    flow_done(&worker->slots);
    flow_done(&worker->jobs);
    model_table_release(worker->models);
    arena_pool_free(worker->pool);
    arena_done(&worker->names);
    free((void *)(uintptr_t)worker->lane_topics);
    free((void *)(uintptr_t)worker->lane_batch);
    free(worker);
}

static void wake_lost(struct worker *worker)
{
    stored_wake_lost(worker->stored);
}

static bool prepare(struct worker *worker, struct err *err)
{
    const struct worker_conf *conf = worker->conf;
    if (!app_need_files((uint64_t)conf->max_in_flight + 256, err) ||
        !instance_acquire(conf->lock_dir, "worker", conf->instance, worker->instance,
                          sizeof(worker->instance), err))
        return false;
    worker->incarnation = loop_wall_ms(worker->loop);
    snprintf(worker->notify, sizeof(worker->notify), STR_FMT "notify:%s",
             STR_ARG(conf->shared.redis_key_prefix), worker->instance);
    snprintf(worker->cancel_channel, sizeof(worker->cancel_channel), STR_FMT REDIS_CHANNEL_CANCEL,
             STR_ARG(conf->shared.redis_key_prefix));
    worker->models = model_table_new(&conf->shared, NULL, err);
    name_topics(worker);
    worker->pool = arena_pool_new(4096, 16384);
    list_init(&worker->permit_queue);
    list_init(&worker->resting);
    flow_init(&worker->jobs, "job", worker->loop, job_steps, intake_job_ended);
    flow_init(&worker->slots, "slot", worker->loop, slot_steps, slot_ended);
    worker->jobs.subject_id = job_id;
    worker->slots.subject_id = slot_id;
    worker->jobs.works_at = job_works_at;
    worker->slots.works_at = slot_works_at;
    return worker->models != NULL;
}

static void warn(const char *text, void *context)
{
    (void)context;
    log_warn("configuration", LOG_C("warning", text));
}

static void *start(struct app *app, const void *conf, struct err *err)
{
    struct worker *worker = xzalloc(sizeof(*worker));
    worker->app = app;
    worker->loop = app_loop(app);
    worker->conf = conf;
    worker->wake_lost = wake_lost;
    worker->release_claim = claims_release;
    worker->hold_claim = claims_hold;
    worker->let_claim = claims_let;
    worker->claim_hedge = claims_hedge;
    worker->wake_unpaid = call_wake_unpaid;
    worker->cancel = call_cancel;
    arena_init(&worker->names, NULL, 65536);
    if (!prepare(worker, err) || !open_stores(worker, err) || !open_http(worker, err)) {
        stop(worker);
        return NULL;
    }
    worker->lookup = lookup_new(worker->loop, worker->pg, STATEMENT_LOOKUP);
    worker->claims = claims_new(worker);
    worker->stored = stored_new(worker);
    worker->ledger = ledger_new(worker);
    if (!open_kafka(worker, err)) {
        stop(worker);
        return NULL;
    }
    shared_conf_each_warning(&worker->conf->shared, warn, NULL);
    log_info("worker starts", LOG_C("instance", worker->instance),
             LOG_I("max_in_flight", worker->conf->max_in_flight));
    return worker;
}

static void reload(void *program, const void *conf)
{
    struct worker *worker = program;
    struct err err;
    const struct worker_conf *fresh = conf;
    struct model_table *models = model_table_new(&fresh->shared, worker->models, &err);
    worker->conf = conf;
    if (!models) { /* check() has built the same table before */
        log_error("models not reloaded", LOG_C("error", err.text));
        return;
    }
    model_table_limit(models, &fresh->shared, worker->quotas);
    model_table_release(worker->models);
    worker->models = models;
    shared_conf_each_warning(&fresh->shared, warn, NULL);
}

static void drain(void *program)
{
    struct worker *worker = program;
    intake_drain(worker->intake);
}

static void unready(const void *program, struct buf *ret)
{
    const struct worker *worker = program;
    if (!kafka_consumer_up(worker->consumer))
        buf_printf(ret, "kafka: no broker is reachable\n");
    if (!kafka_consumer_joined(worker->consumer)) /* a spare one has no partition, and is ready */
        buf_printf(ret, "group: not joined\n");
    if (!postgres_up(worker->pg))
        buf_printf(ret, "postgres: not connected\n");
    if (redis_enabled(worker->redis) && !redis_up(worker->redis))
        buf_printf(ret, "redis: not connected (work goes on, answers may be paid twice)\n");
}

static void measure_flow(const struct flow *flow)
{
    for (size_t i = 0; i < flow->step_count; i++) {
        struct str name = str_of(flow->steps[i].name);
        metric_set_for(METRIC_step_inside, name, (int64_t)flow->stats[i].inside);
        metric_set_for(METRIC_step_entered_total, name, (int64_t)flow->stats[i].entered);
        metric_set_for(METRIC_step_microseconds_total, name, (int64_t)flow->stats[i].spent_us);
    }
}

static void measure(void *program)
{
    struct worker *worker = program;
    struct redis_stats redis;
    redis_stats(worker->redis, &redis);
    measure_flow(&worker->jobs);
    measure_flow(&worker->slots);
    intake_measure(worker->intake);
    metric_set(METRIC_calls_in_flight, (int64_t)worker->calls_in_flight);
    metric_set_for(METRIC_dependency_up, STR("kafka"),
                   kafka_consumer_up(worker->consumer) && kafka_producer_up(worker->producer));
    metric_set(METRIC_redis_misses_total, (int64_t)redis.misses);
    metric_set(METRIC_redis_refused_total, (int64_t)redis.refused);
    metric_set(METRIC_kafka_producer_renewals_total,
               (int64_t)kafka_producer_renewals(worker->producer));
}

const struct app_program worker_program = {
    .name = "quern-worker",
    .about = "reads requests from Kafka, asks language models, reports their answers",
    .rows = worker_conf_rows,
    .conf_size = sizeof(struct worker_conf),
    .ignore_sections = "aggregator,producer,cli",
    .check = check,
    .start = start,
    .reload = reload,
    .drain = drain,
    .stop = stop,
    .unready = unready,
    .measure = measure,
};
