/*
 * kafka_world.h -- what the tests of the Kafka door share: a mock cluster, a program that remembers
 * what it was told, and waiting for conditions.
 *
 * The cluster is librdkafka's own mock: no broker, but real sockets to it, in this process. It
 * delays the first rebalance of a group by three seconds, and drops members whose session is
 * shorter than that; so the worlds a test file lists in `prepared` join their groups together,
 * before its first test. The loop is the real one; every wait is for a condition, with a time-out.
 *
 * Each test file defines `prepared`.
 */
#ifndef QUERN_TESTS_UNIT_IO_KAFKA_WORLD_H
#define QUERN_TESTS_UNIT_IO_KAFKA_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/xalloc.h"
#include "common/io/kafka.h"
#include "common/io/kafka_admin.h"

#define WAIT_MS 30000

struct prepared {
    const char *name;
    int partitions;
    int64_t fetch_bytes_max, revoke_ms_max;
    struct str instance;
    struct world *world;
};
/* The test file's own list, ended by a row without a name. */
static struct prepared prepared[];

/* ---- the world: one mock cluster with one broker for all tests, one loop per test ---- */

static rd_kafka_t *mock_handle;
static rd_kafka_mock_cluster_t *mock;

#define SEEN_MAX 20000

struct seen {
    int32_t partition;
    int64_t offset;
};

struct world {
    struct loop *loop;
    struct kafka_consumer *consumer;
    struct kafka_producer *producer;
    char topic[64], group[64];
    struct str topics[1];

    /* what the callbacks were told */
    struct seen seen[SEEN_MAX];
    size_t seen_count;
    struct kafka_partition assigned[16];
    size_t assigned_count, assignments;
    size_t revokes, losses;
    size_t ends;
    int64_t end_offset;
    size_t committed, commit_errors;
    struct kafka_offset commit;
    struct err commit_err, fatal;
    size_t fatals;
    size_t delivered, undelivered;
    struct err delivery_err;

    /* how they react */
    bool no_start, no_release;
    int64_t start_at; /* -1: at the committed offset, else at the low watermark */
    bool pause_all_after_each;
    void (*look)(struct world *world, struct kafka_record *record);
    struct arena arena;
};

static inline bool wait_until(struct world *world, bool (*done)(const struct world *), int64_t ms)
{
    int64_t until_us = clock_monotonic_us() + ms * 1000;
    while (!done(world)) {
        if (clock_monotonic_us() > until_us)
            return false;
        loop_turn(world->loop, 20);
    }
    return true;
}

static inline bool never(const struct world *world)
{
    (void)world;
    return false;
}

static inline void let_pass(struct world *world, int64_t ms)
{
    wait_until(world, never, ms);
}

static inline void on_record(struct kafka_record *record, void *context)
{
    struct world *world = context;
    assert_true(world->seen_count < SEEN_MAX);
    assert_string_equal(record->topic, world->topic);
    world->seen[world->seen_count++] =
        (struct seen){.partition = record->partition, .offset = record->offset};
    if (world->look)
        world->look(world, record);
    for (size_t i = 0; world->pause_all_after_each && i < world->assigned_count; i++)
        kafka_pause(world->consumer, world->topic, world->assigned[i].partition);
}

static inline void start_all(struct world *world)
{
    for (size_t i = 0; i < world->assigned_count; i++) {
        const struct kafka_partition *one = &world->assigned[i];
        int64_t offset = world->start_at >= 0  ? world->start_at
                         : one->committed >= 0 ? one->committed
                                               : one->low;
        kafka_start(world->consumer, one->topic, one->partition, offset);
    }
}

static inline void on_assigned(const struct kafka_partition *partitions, size_t count,
                               void *context)
{
    struct world *world = context;
    world->assignments++;
    world->assigned_count = count;
    assert_true(count <= 16);
    for (size_t i = 0; i < count; i++)
        world->assigned[i] = partitions[i];
    if (!world->no_start)
        start_all(world);
}

static inline void on_revoked(bool lost, void *context)
{
    struct world *world = context;
    world->revokes++;
    world->losses += lost;
    world->assigned_count = 0;
    if (!world->no_release)
        kafka_release(world->consumer);
}

static inline void on_committed(const struct kafka_offset *offsets, size_t count,
                                const struct err *err, void *context)
{
    struct world *world = context;
    assert_true(count > 0);
    world->commit = offsets[0];
    if (err) {
        world->commit_errors++;
        world->commit_err = *err;
    } else {
        world->committed++;
    }
}

static inline void on_end(const char *topic, int32_t partition, int64_t next_offset, void *context)
{
    struct world *world = context;
    (void)partition;
    assert_string_equal(topic, world->topic);
    world->ends++;
    world->end_offset = next_offset;
}

static inline void on_fatal(const struct err *err, void *context)
{
    struct world *world = context;
    world->fatals++;
    world->fatal = *err;
}

static inline void on_delivered(const struct err *err, void *context)
{
    struct world *world = context;
    if (err) {
        world->undelivered++;
        world->delivery_err = *err;
    } else {
        world->delivered++;
    }
}

static const struct kafka_consumer_events events_template = {.on_record = on_record,
                                                             .on_assigned = on_assigned,
                                                             .on_revoked = on_revoked,
                                                             .on_committed = on_committed,
                                                             .on_end = on_end,
                                                             .on_fatal = on_fatal};

static inline struct kafka_conf conf_of(struct world *world)
{
    world->topics[0] = str_of(world->topic);
    return (struct kafka_conf){.bootstrap_servers = str_of(rd_kafka_mock_cluster_bootstraps(mock)),
                               .client_id = STR("test"),
                               .group = str_of(world->group),
                               .topics = world->topics,
                               .topic_count = 1,
                               .session_timeout_ms = 3500};
}

static inline struct world *world_new(const char *name, int partitions)
{
    static struct err err;
    struct world *world = xzalloc(sizeof(*world));
    world->loop = loop_new(&err);
    assert_non_null(world->loop);
    world->start_at = -1;
    arena_init(&world->arena, NULL, 64 << 20);
    snprintf(world->topic, sizeof(world->topic), "t.%s", name);
    snprintf(world->group, sizeof(world->group), "g.%s", name);
    rd_kafka_mock_topic_create(mock, world->topic, partitions, 1);
    return world;
}

static inline void consume(struct world *world, const struct kafka_conf *conf)
{
    struct err err = {0};
    struct kafka_consumer_events events = events_template;
    events.context = world;
    world->consumer = kafka_consumer_new(world->loop, conf, &events, &err);
    if (!world->consumer)
        fail_msg("%s", err.text);
}

static inline void produce_with(struct world *world, const struct kafka_conf *conf)
{
    struct err err = {0};
    world->producer = kafka_producer_new(world->loop, conf, on_fatal, world, &err);
    if (!world->producer)
        fail_msg("%s", err.text);
}

static inline void world_free(struct world *world)
{
    kafka_consumer_free(world->consumer, false);
    kafka_producer_free(world->producer, 1000);
    arena_done(&world->arena);
    loop_free(world->loop);
    free(world);
}

static inline bool all_delivered(const struct world *world)
{
    return kafka_producer_pending(world->producer) == 0;
}

/*
 * A loop that does not turn while others are tested is no problem: the assignment waits in the
 * library's queue, and nothing is looked up before.
 */
static inline int start_mock(void **state)
{
    (void)state;
    char text[256];
    log_init("test", "text", LOG_LEVEL_ERROR);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "0", text, sizeof(text));
    mock_handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    mock = mock_handle ? rd_kafka_mock_cluster_new(mock_handle, 1) : NULL;
    for (size_t i = 0; mock && prepared[i].name; i++) {
        struct world *world = world_new(prepared[i].name, prepared[i].partitions);
        struct kafka_conf want = conf_of(world);
        want.fetch_bytes_max = prepared[i].fetch_bytes_max;
        want.revoke_ms_max = prepared[i].revoke_ms_max;
        want.instance = prepared[i].instance;
        consume(world, &want);
        prepared[i].world = world;
    }
    return mock ? 0 : -1;
}

static inline int stop_mock(void **state)
{
    (void)state;
    for (size_t i = 0; prepared[i].name; i++)
        if (prepared[i].world)
            world_free(prepared[i].world);
    rd_kafka_mock_cluster_destroy(mock);
    rd_kafka_destroy(mock_handle);
    return 0;
}

static inline struct world *world_take(const char *name)
{
    for (size_t i = 0; prepared[i].name; i++)
        if (strcmp(prepared[i].name, name) == 0 && prepared[i].world) {
            struct world *world = prepared[i].world;
            prepared[i].world = NULL;
            return world;
        }
    fail_msg("no world '%s'", name);
    return NULL;
}

/* `count` records; the key chooses the partition. */
static inline void produce_many(struct world *world, size_t count, size_t bytes)
{
    if (!world->producer) {
        struct kafka_conf conf = conf_of(world);
        produce_with(world, &conf);
    }
    char *value = xzalloc(bytes + 1);
    memset(value, 'v', bytes);
    for (size_t i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof(key), "k%zu", i);
        assert_true(
            kafka_produce(world->producer, &(struct kafka_produce){.topic = world->topic,
                                                                   .key = str_of(key),
                                                                   .value = str_from(value, bytes),
                                                                   .done = on_delivered,
                                                                   .context = world}));
    }
    free(value);
    assert_true(wait_until(world, all_delivered, WAIT_MS));
    assert_int_equal(world->undelivered, 0);
}

/* The same from outside, so that the world's own loop stands still meanwhile. Not inlined: gcc 12
 * then takes world->topic for an empty region and warns. */
__attribute__((noinline, unused)) static void fill(struct world *world, size_t count, size_t bytes)
{
    struct world *other = world_new(strchr(world->topic, '.') + 1, 1);
    produce_many(other, count, bytes);
    world->delivered += count;
    world_free(other);
}

static inline bool has_ended(const struct world *world)
{
    return world->ends > 0;
}

static inline bool all_seen(const struct world *world)
{
    return world->seen_count >= world->delivered;
}

static inline bool is_assigned(const struct world *world)
{
    return world->assigned_count > 0;
}

static inline bool is_revoked(const struct world *world)
{
    return world->revokes > 0;
}

static inline bool is_fatal(const struct world *world)
{
    return world->fatals > 0;
}

static inline bool commit_answered(const struct world *world)
{
    return world->committed + world->commit_errors > 0;
}

static inline void check_each_once_in_order(const struct world *world)
{
    int64_t next[16] = {0};
    for (size_t i = 0; i < world->seen_count; i++)
        assert_int_equal(world->seen[i].offset, next[world->seen[i].partition]++);
}

#endif
