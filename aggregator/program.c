/*
 * program.c -- quern-aggregator: the settings, the doors, the rooms, and what a turn does. main.c
 * runs it; tests/sim runs it over simulated doors.
 *
 * Parts of answers come from Kafka, meet in groups, and become one final result per request:
 *
 *   gather  records -> parts -> groups -> entries       merge/ says when a group is final
 *   store   entries -> one fenced transaction at a time
 *   settle  what was stored -> replies, Redis
 *
 * Settings: common/settings.
 */
#include "aggregator/aggregator.h"

#include "common/app/instance.h"
#include "common/app/metrics.h"
#include "common/base/log.h"
#include "common/base/xalloc.h"
#include "common/contract/redis_keys.h"

struct partition *aggregator_partition(struct aggregator *aggregator, int32_t number)
{
    if (number < 0 || (size_t)number >= aggregator->partition_count ||
        !aggregator->partitions[number].owned)
        return NULL;
    return &aggregator->partitions[number];
}

size_t aggregator_owned(const struct aggregator *aggregator, struct buf *ret)
{
    size_t count = 0;
    postgres_array_begin(ret);
    for (size_t i = 0; i < aggregator->partition_count; i++) {
        if (!aggregator->partitions[i].owned)
            continue;
        postgres_array_add_i64(ret, (int64_t)i);
        count++;
    }
    postgres_array_end(ret);
    return count;
}

static size_t assigned_count(const struct aggregator *aggregator)
{
    size_t count = 0;
    for (size_t i = 0; i < aggregator->partition_count; i++)
        count += aggregator->partitions[i].assigned;
    return count;
}

struct str aggregator_reply_topic(const struct aggregator *aggregator, struct str reply_to)
{
    const struct conf_strs *allowed = &aggregator->conf->shared.allowed_prefixes;
    for (size_t i = 0; !str_empty(reply_to) && i < allowed->count; i++)
        if (str_starts(reply_to, allowed->items[i]))
            return reply_to;
    return aggregator->topic_replies;
}

/* ---- a turn ---- */

static bool turn(void *context)
{
    struct aggregator *aggregator = context;
    bool more = gather_run(aggregator->gather);
    settle_run(aggregator->settle);
    store_run(aggregator->store);
    if (aggregator->draining && store_idle(aggregator->store) &&
        settle_pending(aggregator->settle) == 0)
        app_drained(aggregator->app);
    return more;
}

/* ---- doors ---- */

/* The doors say in the log what comes and goes. */
static void postgres_state(bool up, const struct err *why, void *context)
{
    (void)why, (void)context;
    metric_set_for(METRIC_dependency_up, STR("postgres"), up);
}

static void redis_state(bool up, const struct err *why, void *context)
{
    (void)why, (void)context;
    metric_set_for(METRIC_dependency_up, STR("redis"), up);
}

static void kafka_fatal(const struct err *err, void *context)
{
    struct aggregator *aggregator = context;
    app_fail(aggregator->app, err, EXIT_FAILED);
}

static bool open_postgres(struct aggregator *aggregator, struct err *err)
{
    struct postgres_conf conf;
    shared_postgres_conf(&aggregator->conf->shared, &conf);
    conf.application_name = STR("quern-aggregator");
    conf.statements = aggregator_statements();
    conf.statement_count = STATEMENT_COUNT;
    conf.on_state = postgres_state;
    aggregator->pg = postgres_new(aggregator->loop, &conf, err);
    return aggregator->pg != NULL;
}

static bool open_redis(struct aggregator *aggregator, struct err *err)
{
    struct redis_conf conf;
    shared_redis_conf(&aggregator->conf->shared, &conf);
    conf.on_state = redis_state;
    aggregator->redis = redis_new(aggregator->loop, &conf, err);
    if (!aggregator->redis)
        return false;
    aggregator->script_settled =
        redis_script_add(aggregator->redis, &(struct redis_script){"settled", lua_settled});
    aggregator->script_conversation = redis_script_add(
        aggregator->redis, &(struct redis_script){"conversation", lua_conversation});
    return true;
}

static bool open_kafka(struct aggregator *aggregator, struct err *err)
{
    struct kafka_conf conf;
    struct kafka_consumer_events events;
    shared_kafka_conf(&aggregator->conf->shared, &conf);
    conf.client_id = str_of(aggregator->instance);
    aggregator->producer =
        kafka_producer_new(aggregator->loop, &conf, kafka_fatal, aggregator, err);
    if (!aggregator->producer)
        return false;
    gather_events(aggregator, &events);
    events.on_fatal = kafka_fatal;
    conf.group = aggregator->conf->group;
    conf.instance = str_of(aggregator->instance);
    conf.topics = &aggregator->topic_results;
    conf.topic_count = 1;
    aggregator->consumer = kafka_consumer_new(aggregator->loop, &conf, &events, err);
    return aggregator->consumer != NULL;
}

/* ---- the program ---- */

static void stop(void *program)
{
    struct aggregator *aggregator = program;
    kafka_consumer_free(aggregator->consumer, aggregator->conf->leave_group);
    kafka_producer_free(aggregator->producer, 2000);
    redis_free(aggregator->redis);
    postgres_free(aggregator->pg);
    store_free(aggregator->store);
    gather_free(aggregator->gather);
    settle_free(aggregator->settle);
    loop_remove_hook(aggregator->loop, &aggregator->hook);
    arena_pool_free(aggregator->pool);
    arena_done(&aggregator->names);
    free(aggregator->partitions);
    free(aggregator);
}

static void name_things(struct aggregator *aggregator)
{
    struct str prefix = aggregator->conf->shared.topic_prefix;
    aggregator->topic_results = topic_name(&aggregator->names, prefix, TOPIC_RESULTS);
    aggregator->topic_replies = topic_name(&aggregator->names, prefix, TOPIC_REPLIES);
    aggregator->topic_dead = topic_name(&aggregator->names, prefix, TOPIC_DEAD);
    snprintf(aggregator->owner, sizeof(aggregator->owner), "%s %lld", aggregator->instance,
             (long long)loop_wall_ms(aggregator->loop));
}

static void *start(struct app *app, const void *conf, struct err *err)
{
    struct aggregator *aggregator = xzalloc(sizeof(*aggregator));
    aggregator->app = app;
    aggregator->loop = app_loop(app);
    aggregator->conf = conf;
    arena_init(&aggregator->names, NULL, 65536);
    if (!instance_acquire(aggregator->conf->lock_dir, "aggregator", aggregator->conf->instance,
                          aggregator->instance, sizeof(aggregator->instance), err)) {
        arena_done(&aggregator->names);
        free(aggregator);
        return NULL;
    }
    name_things(aggregator);
    aggregator->pool = arena_pool_new(8192, 16384);
    aggregator->gather = gather_new(aggregator);
    aggregator->store = store_new(aggregator);
    aggregator->settle = settle_new(aggregator);
    aggregator->hook = (struct loop_hook){.run = turn, .context = aggregator};
    /* Before the doors are open: their turn-end hooks send what this one gives them. */
    loop_add_turn_end(aggregator->loop, &aggregator->hook);
    if (!open_postgres(aggregator, err) || !open_redis(aggregator, err) ||
        !open_kafka(aggregator, err)) {
        stop(aggregator);
        return NULL;
    }
    log_info("aggregator starts", LOG_C("instance", aggregator->instance));
    return aggregator;
}

static bool check(const void *conf, const struct conf_places *places, struct err *err)
{
    return aggregator_conf_check(conf, places, err);
}

static void reload(void *program, const void *conf)
{
    struct aggregator *aggregator = program;
    aggregator->conf = conf;
}

static void drain(void *program)
{
    struct aggregator *aggregator = program;
    aggregator->draining = true;
    gather_drain(aggregator->gather);
}

static void unready(const void *program, struct buf *ret)
{
    const struct aggregator *aggregator = program;
    struct buf owned;
    buf_init(&owned, 1 << 20);
    if (!kafka_consumer_up(aggregator->consumer))
        buf_printf(ret, "kafka: no broker is reachable\n");
    if (!postgres_up(aggregator->pg))
        buf_printf(ret, "postgres: not connected\n");
    if (!kafka_consumer_joined(aggregator->consumer))
        buf_printf(ret, "group: not joined\n");
    if (aggregator_owned(aggregator, &owned) < assigned_count(aggregator))
        buf_printf(ret, "partitions: not taken over yet\n");
    if (redis_enabled(aggregator->redis) && !redis_up(aggregator->redis))
        buf_printf(ret, "redis: not connected (results are stored, conversations are slower)\n");
    buf_done(&owned);
}

static void measure(void *program)
{
    struct aggregator *aggregator = program;
    struct redis_stats redis;
    redis_stats(aggregator->redis, &redis);
    gather_measure(aggregator->gather);
    metric_set_for(METRIC_dependency_up, STR("kafka"),
                   kafka_consumer_up(aggregator->consumer) &&
                       kafka_producer_up(aggregator->producer));
    metric_set(METRIC_redis_misses_total, (int64_t)redis.misses);
    metric_set(METRIC_redis_refused_total, (int64_t)redis.refused);
    metric_set(METRIC_kafka_producer_renewals_total,
               (int64_t)kafka_producer_renewals(aggregator->producer));
    metric_set(METRIC_outbox_pending, (int64_t)settle_pending(aggregator->settle));
}

const struct app_program aggregator_program = {
    .name = "quern-aggregator",
    .about = "merges the answers of models, stores final results, sends replies",
    .rows = aggregator_conf_rows,
    .conf_size = sizeof(struct aggregator_conf),
    .ignore_sections = "worker,producer,cli",
    .check = check,
    .start = start,
    .reload = reload,
    .drain = drain,
    .stop = stop,
    .unready = unready,
    .measure = measure,
};
