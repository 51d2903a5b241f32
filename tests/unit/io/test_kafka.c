/*
 * Goal: the door keeps its promises towards the programs: order, exactness of start, pause and
 * release, commits that never move back, errors as told in kafka.h, and a free that never hangs.
 * Method: librdkafka's own mock cluster (no broker, but real sockets to it, in this process) and
 * the real loop. The mock delays the first rebalance of a group by three seconds (and drops members
 * whose session is shorter than that), so the tests of consumers take that long each. Every wait is
 * for a condition, with a time-out.
 *
 * The mock knows neither CreateTopics nor DescribeConfigs; these calls of kafka_admin are checked
 * against a real broker only.
 */
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

#define WAIT_MS 15000

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

static bool wait_until(struct world *world, bool (*done)(const struct world *), int64_t ms)
{
    int64_t until_us = clock_monotonic_us() + ms * 1000;
    while (!done(world)) {
        if (clock_monotonic_us() > until_us)
            return false;
        loop_turn(world->loop, 20);
    }
    return true;
}

static bool never(const struct world *world)
{
    (void)world;
    return false;
}

static void let_pass(struct world *world, int64_t ms)
{
    wait_until(world, never, ms);
}

static void on_record(struct kafka_record *record, void *context)
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

static void start_all(struct world *world)
{
    for (size_t i = 0; i < world->assigned_count; i++) {
        const struct kafka_partition *one = &world->assigned[i];
        int64_t offset = world->start_at >= 0  ? world->start_at
                         : one->committed >= 0 ? one->committed
                                               : one->low;
        kafka_start(world->consumer, one->topic, one->partition, offset);
    }
}

static void on_assigned(const struct kafka_partition *partitions, size_t count, void *context)
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

static void on_revoked(bool lost, void *context)
{
    struct world *world = context;
    world->revokes++;
    world->losses += lost;
    world->assigned_count = 0;
    if (!world->no_release)
        kafka_release(world->consumer);
}

static void on_committed(const struct kafka_offset *offsets, size_t count, const struct err *err,
                         void *context)
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

static void on_end(const char *topic, int32_t partition, int64_t next_offset, void *context)
{
    struct world *world = context;
    (void)partition;
    assert_string_equal(topic, world->topic);
    world->ends++;
    world->end_offset = next_offset;
}

static void on_fatal(const struct err *err, void *context)
{
    struct world *world = context;
    world->fatals++;
    world->fatal = *err;
}

static void on_delivered(const struct err *err, void *context)
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

static struct kafka_conf conf_of(struct world *world)
{
    world->topics[0] = str_of(world->topic);
    return (struct kafka_conf){.bootstrap_servers = str_of(rd_kafka_mock_cluster_bootstraps(mock)),
                               .client_id = STR("test"),
                               .group = str_of(world->group),
                               .topics = world->topics,
                               .topic_count = 1,
                               .session_timeout_ms = 3500};
}

static struct world *world_new(const char *name, int partitions)
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

static void consume(struct world *world, const struct kafka_conf *conf)
{
    struct err err = {0};
    struct kafka_consumer_events events = events_template;
    events.context = world;
    world->consumer = kafka_consumer_new(world->loop, conf, &events, &err);
    if (!world->consumer)
        fail_msg("%s", err.text);
}

static void produce_with(struct world *world, const struct kafka_conf *conf)
{
    struct err err = {0};
    world->producer = kafka_producer_new(world->loop, conf, on_fatal, world, &err);
    if (!world->producer)
        fail_msg("%s", err.text);
}

static void world_free(struct world *world)
{
    kafka_consumer_free(world->consumer, false);
    kafka_producer_free(world->producer, 1000);
    arena_done(&world->arena);
    loop_free(world->loop);
    free(world);
}

static bool all_delivered(const struct world *world)
{
    return kafka_producer_pending(world->producer) == 0;
}

/*
 * Worlds whose consumer joins its group before the first test runs, so that the mock's three
 * seconds pass for all of them at once. A loop that does not turn is no problem for so long: the
 * assignment waits in the library's queue, and nothing is looked up before.
 */
static struct {
    const char *name;
    int partitions;
    int64_t fetch_bytes_max, revoke_ms_max;
    struct str instance;
    struct world *world;
} prepared[] = {
    {.name = "shapes", .partitions = 1},
    {.name = "start", .partitions = 1},
    {.name = "partial", .partitions = 3},
    {.name = "pause", .partitions = 2},
    {.name = "pauseone", .partitions = 2, .fetch_bytes_max = 64 << 10},
    {.name = "commit", .partitions = 1},
    {.name = "fenced", .partitions = 1},
    {.name = "share", .partitions = 2},
    {.name = "forget", .partitions = 2, .revoke_ms_max = 400},
    {.name = "static", .partitions = 2, .instance = {"host-1", 6}},
    {.name = "lost", .partitions = 1},
    {.name = "gone", .partitions = 1},
    {.name = "hang", .partitions = 1},
};
#define PREPARED (sizeof(prepared) / sizeof(prepared[0]))

static int start_mock(void **state)
{
    (void)state;
    char text[256];
    log_init("test", "text", LOG_LEVEL_ERROR);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "0", text, sizeof(text));
    mock_handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    mock = mock_handle ? rd_kafka_mock_cluster_new(mock_handle, 1) : NULL;
    for (size_t i = 0; mock && i < PREPARED; i++) {
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

static int stop_mock(void **state)
{
    (void)state;
    for (size_t i = 0; i < PREPARED; i++)
        if (prepared[i].world)
            world_free(prepared[i].world);
    rd_kafka_mock_cluster_destroy(mock);
    rd_kafka_destroy(mock_handle);
    return 0;
}

static struct world *world_take(const char *name)
{
    for (size_t i = 0; i < PREPARED; i++)
        if (strcmp(prepared[i].name, name) == 0 && prepared[i].world) {
            struct world *world = prepared[i].world;
            prepared[i].world = NULL;
            return world;
        }
    fail_msg("no world '%s'", name);
    return NULL;
}

/* `count` records; the key chooses the partition. */
static void produce_many(struct world *world, size_t count, size_t bytes)
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

/* The same from outside, so that the world's own loop stands still meanwhile. */
static void fill(struct world *world, size_t count, size_t bytes)
{
    struct world *other = world_new(strchr(world->topic, '.') + 1, 1);
    produce_many(other, count, bytes);
    world->delivered += count;
    world_free(other);
}

static bool has_ended(const struct world *world)
{
    return world->ends > 0;
}

static bool all_seen(const struct world *world)
{
    return world->seen_count >= world->delivered;
}

static bool is_assigned(const struct world *world)
{
    return world->assigned_count > 0;
}

static bool is_revoked(const struct world *world)
{
    return world->revokes > 0;
}

static bool is_fatal(const struct world *world)
{
    return world->fatals > 0;
}

static bool commit_answered(const struct world *world)
{
    return world->committed + world->commit_errors > 0;
}

static void check_each_once_in_order(const struct world *world)
{
    int64_t next[16] = {0};
    for (size_t i = 0; i < world->seen_count; i++)
        assert_int_equal(world->seen[i].offset, next[world->seen[i].partition]++);
}

/* ---- records ---- */

static void check_shapes(struct world *world, struct kafka_record *record)
{
    (void)world;
    switch (record->offset) {
    case 0: /* headers, the last of a name counts */
        assert_true(str_is(record->key, "key"));
        assert_true(str_is(record->value, "value"));
        assert_int_equal(record->header_count, 3);
        assert_true(str_is(kafka_record_header(record, "a"), "2"));
        assert_true(str_is(kafka_record_header(record, "b"), "x"));
        assert_null(kafka_record_header(record, "A").data);
        assert_true(record->timestamp_ms > INT64_C(1600000000000));
        break;
    case 1: /* null is absent, empty is there */
        assert_null(record->key.data);
        assert_null(record->value.data);
        assert_int_equal(record->header_count, 0);
        break;
    case 2:
        assert_non_null(record->value.data);
        assert_int_equal(record->value.len, 0);
        break;
    case 3: /* more headers than anybody needs */
        assert_int_equal(record->header_count, KAFKA_HEADERS_MAX);
        assert_true(str_is(kafka_record_header(record, "h"), "v"));
        break;
    default: /* both too large to be copied and small ones survive the turn */
        break;
    }
    if (record->offset >= 4) {
        static struct str kept[2];
        size_t at = (size_t)record->offset - 4;
        kafka_record_keep(record, &world->arena);
        assert_null(record->handle);
        kept[at] = record->value;
        assert_true(str_is(kafka_record_header(record, "h"), "v"));
        if (at == 1) {
            assert_int_equal(kept[0].len, 100);
            assert_int_equal(kept[1].len, 200000);
            for (size_t i = 0; i < kept[1].len; i++)
                assert_int_equal(kept[1].data[i], 'w');
            assert_int_equal(kept[0].data[99], 'w');
        }
    }
}

static void records_come_back_as_they_were_produced(void **state)
{
    (void)state;
    struct world *world = world_take("shapes");
    struct kafka_conf conf = conf_of(world);
    produce_with(world, &conf);
    const struct kafka_header three[] = {
        {STR("a"), STR("1")}, {STR("b"), STR("x")}, {STR("a"), STR("2")}};
    struct kafka_header many[KAFKA_HEADERS_MAX + 8];
    for (size_t i = 0; i < KAFKA_HEADERS_MAX + 8; i++)
        many[i] = (struct kafka_header){STR("h"), STR("v")};
    char *large = xzalloc(200001);
    memset(large, 'w', 200000);
    const struct kafka_produce records[] = {
        {.key = STR("key"), .value = STR("value"), .headers = three, .header_count = 3},
        {.key = {NULL, 0}, .value = {NULL, 0}},
        {.value = STR("")},
        {.value = STR("x"), .headers = many, .header_count = KAFKA_HEADERS_MAX + 8},
        {.value = str_from(large, 100), .headers = many, .header_count = 1},
        {.value = str_from(large, 200000), .headers = many, .header_count = 1},
    };
    for (size_t i = 0; i < 6; i++) {
        struct kafka_produce record = records[i];
        record.topic = world->topic;
        record.done = on_delivered;
        record.context = world;
        assert_true(kafka_produce(world->producer, &record));
    }
    memset(large, 'z', 200000); /* it was copied */
    free(large);
    assert_int_equal(kafka_producer_pending(world->producer), 6);
    assert_int_equal(world->delivered, 0); /* never from within */
    assert_true(wait_until(world, all_delivered, WAIT_MS));
    assert_int_equal(world->delivered, 6);

    world->look = check_shapes;
    assert_true(wait_until(world, all_seen, WAIT_MS));
    check_each_once_in_order(world);
    world_free(world);
}

static void reading_begins_where_it_was_told_and_the_end_is_announced(void **state)
{
    (void)state;
    struct world *world = world_take("start");
    fill(world, 10, 10);
    world->no_start = true;
    assert_true(wait_until(world, is_assigned, WAIT_MS));
    assert_int_equal(world->assigned_count, 1);
    assert_int_equal(world->assigned[0].committed, -1);
    assert_int_equal(world->assigned[0].low, 0);
    assert_int_equal(world->assigned[0].high, 10);
    assert_true(kafka_consumer_up(world->consumer));

    let_pass(world, 300);
    assert_int_equal(world->seen_count, 0);
    assert_int_equal(world->ends, 0);

    world->start_at = 6;
    start_all(world);
    assert_true(wait_until(world, has_ended, WAIT_MS));
    assert_int_equal(world->seen_count, 4);
    assert_int_equal(world->seen[0].offset, 6);
    assert_int_equal(world->end_offset, 10);

    world->ends = 0;
    produce_many(world, 5, 10);
    assert_true(wait_until(world, has_ended, WAIT_MS));
    assert_int_equal(world->seen_count, 9);
    assert_int_equal(world->end_offset, 15);
    world_free(world);
}

static bool assignment_seen(const struct world *world)
{
    return world->assignments > 0;
}

static bool ends_3(const struct world *world)
{
    return world->ends >= 3;
}

static void nothing_is_read_before_every_partition_was_started(void **state)
{
    (void)state;
    struct world *world = world_take("partial");
    fill(world, 30, 10);
    world->no_start = true;
    assert_true(wait_until(world, assignment_seen, WAIT_MS));
    assert_int_equal(world->assigned_count, 3);
    kafka_start(world->consumer, world->topic, 0, 0);
    kafka_start(world->consumer, world->topic, 0, 5); /* the first one counts */
    kafka_start(world->consumer, world->topic, 1, 0);
    kafka_start(world->consumer, "t.other", 1, 0); /* not ours */
    let_pass(world, 300);
    assert_int_equal(world->seen_count, 0);
    kafka_start(world->consumer, world->topic, 2, 0);
    assert_true(wait_until(world, ends_3, WAIT_MS));
    assert_int_equal(world->seen_count, 30);
    check_each_once_in_order(world);
    world_free(world);
}

/* ---- pausing ---- */

static bool one_seen(const struct world *world)
{
    return world->seen_count > 0;
}

static size_t count_of(const struct world *world, int32_t partition)
{
    size_t n = 0;
    for (size_t i = 0; i < world->seen_count; i++)
        n += world->seen[i].partition == partition;
    return n;
}

/* A pause from within on_record holds for the very next record. */
static void a_pause_of_everything_takes_effect_at_once_and_loses_nothing(void **state)
{
    (void)state;
    struct world *world = world_take("pause");
    fill(world, 400, 100);
    world->pause_all_after_each = true;
    assert_true(wait_until(world, one_seen, WAIT_MS));
    let_pass(world, 300);
    assert_int_equal(world->seen_count, 1);
    assert_int_equal(world->ends, 0);

    /* One by one, a few times. */
    for (size_t i = 2; i < 20; i++) {
        kafka_resume(world->consumer, world->topic, 0);
        kafka_resume(world->consumer, world->topic, 1);
        let_pass(world, 5);
        assert_int_equal(world->seen_count, i);
    }
    world->pause_all_after_each = false;
    kafka_resume(world->consumer, world->topic, 0);
    kafka_resume(world->consumer, world->topic, 1);
    assert_true(wait_until(world, all_seen, WAIT_MS));
    let_pass(world, 200);
    assert_int_equal(world->seen_count, 400);
    check_each_once_in_order(world);
    world_free(world);
}

/*
 * The read-ahead is so small that the library itself must be told to pause the partition, and to
 * seek when it goes on. The first pause comes before anything of the partition was consumed.
 */
static void a_paused_partition_waits_while_the_others_go_on(void **state)
{
    (void)state;
    struct world *world = world_take("pauseone");
    fill(world, 3000, 1000);
    world->no_start = true;
    assert_true(wait_until(world, is_assigned, WAIT_MS));
    kafka_pause(world->consumer, world->topic, 0);
    start_all(world);
    assert_true(wait_until(world, has_ended, WAIT_MS));
    let_pass(world, 500);
    assert_int_equal(count_of(world, 0), 0);
    size_t of_one = count_of(world, 1);
    assert_true(of_one > 1000);

    kafka_resume(world->consumer, world->topic, 0);
    for (int i = 0; i < 30; i++) { /* stop and go */
        let_pass(world, 7);
        kafka_pause(world->consumer, world->topic, 0);
        size_t before = count_of(world, 0);
        let_pass(world, 7);
        assert_int_equal(count_of(world, 0), before);
        kafka_resume(world->consumer, world->topic, 0);
    }
    assert_true(wait_until(world, all_seen, WAIT_MS));
    let_pass(world, 200);
    assert_int_equal(world->seen_count, 3000);
    assert_int_equal(count_of(world, 1), of_one);
    check_each_once_in_order(world);
    world_free(world);
}

/* ---- commits ---- */

static void commit(struct world *world, int64_t offset)
{
    kafka_commit(world->consumer,
                 &(struct kafka_offset){.topic = world->topic, .partition = 0, .offset = offset},
                 1);
}

static bool three_commits(const struct world *world)
{
    return world->committed >= 3;
}

static void commits_are_answered_never_move_back_and_are_found_again(void **state)
{
    (void)state;
    struct world *world = world_take("commit");
    produce_many(world, 20, 10);
    struct kafka_conf conf = conf_of(world);
    assert_true(wait_until(world, all_seen, WAIT_MS));

    commit(world, 7);
    assert_true(wait_until(world, commit_answered, WAIT_MS));
    assert_int_equal(world->committed, 1);
    assert_int_equal(world->commit.offset, 7);

    commit(world, 3); /* dropped: no answer */
    let_pass(world, 200);
    assert_int_equal(world->committed, 1);

    commit(world, 9); /* on its way */
    let_pass(world, 0);
    loop_turn(world->loop, 0);
    commit(world, 12); /* waits; and of two that wait the higher one goes */
    commit(world, 11);
    assert_true(wait_until(world, three_commits, WAIT_MS));
    assert_int_equal(world->commit.offset, 12);
    kafka_consumer_free(world->consumer, true);

    world->assigned_count = 0;
    consume(world, &conf);
    assert_true(wait_until(world, is_assigned, WAIT_MS));
    assert_int_equal(world->assigned[0].committed, 12);
    world_free(world);
}

static void a_refused_commit_is_reported_as_fenced(void **state)
{
    (void)state;
    struct world *world = world_take("fenced");
    produce_many(world, 5, 10);
    assert_true(wait_until(world, all_seen, WAIT_MS));
    rd_kafka_mock_push_request_errors(mock, 8 /* OffsetCommit */, 1,
                                      RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION);
    commit(world, 2);
    assert_true(wait_until(world, commit_answered, WAIT_MS));
    rd_kafka_mock_clear_request_errors(mock, 8);
    assert_int_equal(world->commit_errors, 1);
    assert_int_equal(world->commit_err.code, ERR_FENCED);
    assert_int_equal(world->commit.offset, 2);
    world_free(world);
}

/* ---- rebalances ---- */

static bool revoked_and_assigned_again(const struct world *world)
{
    return world->revokes >= 1 && world->assignments >= 2;
}

static void turn_both(struct world *a, struct world *b, bool (*done)(const struct world *),
                      int64_t ms)
{
    int64_t until_us = clock_monotonic_us() + ms * 1000;
    while (!(done(a) && done(b)) && clock_monotonic_us() < until_us) {
        loop_turn(a->loop, 5);
        loop_turn(b->loop, 5);
    }
}

static bool has_one(const struct world *world)
{
    return world->assigned_count == 1;
}

static bool has_two_or_is_gone(const struct world *world)
{
    return !world->consumer || world->assigned_count == 2;
}

static void a_second_member_takes_half_and_gives_it_back_when_it_leaves(void **state)
{
    (void)state;
    struct world *a = world_take("share");
    struct world *b = world_new("share", 2);
    struct kafka_conf conf = conf_of(a);
    assert_true(wait_until(a, is_assigned, WAIT_MS));
    assert_int_equal(a->assigned_count, 2);
    consume(b, &conf);
    turn_both(a, b, has_one, WAIT_MS);
    assert_true(has_one(a) && has_one(b));
    assert_true(revoked_and_assigned_again(a));
    assert_int_equal(a->losses, 0);
    assert_int_not_equal(a->assigned[0].partition, b->assigned[0].partition);

    /* A dynamic member always leaves: no waiting for its session to end. */
    kafka_consumer_free(b->consumer, false);
    b->consumer = NULL;
    turn_both(a, b, has_two_or_is_gone, WAIT_MS);
    assert_int_equal(a->assigned_count, 2);
    produce_many(a, 50, 10);
    assert_true(wait_until(a, all_seen, WAIT_MS));
    world_free(a);
    world_free(b);
}

static void a_static_member_leaves_when_asked(void **state)
{
    (void)state;
    struct world *a = world_take("static");
    struct world *b = world_new("static", 2);
    struct kafka_conf conf = conf_of(b);
    assert_true(wait_until(a, is_assigned, WAIT_MS));
    consume(b, &conf);
    turn_both(a, b, has_one, WAIT_MS);
    assert_true(has_one(a) && has_one(b));

    int64_t left_us = clock_monotonic_us();
    kafka_consumer_free(a->consumer, true);
    a->consumer = NULL;
    assert_in_range(clock_monotonic_us() - left_us, 0, 1200000);
    b->assigned_count = 0; /* until it is told anew */
    turn_both(b, a, has_two_or_is_gone, WAIT_MS);
    assert_int_equal(b->assigned_count, 2);
    /* A heartbeat and a join later, not a session later. */
    assert_in_range(clock_monotonic_us() - left_us, 0, 3300000);
    world_free(a);
    world_free(b);
}

/* Whoever forgets to release is released; nothing is reported in between. */
static void the_door_releases_by_itself_after_revoke_ms_max(void **state)
{
    (void)state;
    struct world *a = world_take("forget");
    struct world *b = world_new("forget", 2);
    struct kafka_conf conf = conf_of(a);
    a->no_release = true;
    assert_true(wait_until(a, is_assigned, WAIT_MS));
    consume(b, &conf);
    int64_t until_us = clock_monotonic_us() + WAIT_MS * 1000;
    while (!is_revoked(a) && clock_monotonic_us() < until_us) {
        loop_turn(a->loop, 5);
        loop_turn(b->loop, 5);
    }
    assert_true(is_revoked(a));
    int64_t revoked_us = clock_monotonic_us();
    size_t seen = a->seen_count;
    produce_many(b, 20, 10);
    while (clock_monotonic_us() - revoked_us < 300000)
        loop_turn(a->loop, 5);
    assert_int_equal(a->seen_count, seen);
    turn_both(a, b, has_one, WAIT_MS);
    assert_true(has_one(a) && has_one(b));
    world_free(a);
    world_free(b);
}

static void a_lost_assignment_is_told_as_lost_and_comes_back(void **state)
{
    (void)state;
    struct world *world = world_take("lost");
    produce_many(world, 10, 10);
    world->no_release = true; /* the door releases at once when it is lost */
    assert_true(wait_until(world, all_seen, WAIT_MS));
    rd_kafka_mock_push_request_errors(mock, 12 /* Heartbeat */, 1,
                                      RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);
    assert_true(wait_until(world, is_revoked, WAIT_MS));
    assert_int_equal(world->losses, 1);
    commit(world, 5); /* too late: not sent, not answered */
    assert_true(wait_until(world, is_assigned, WAIT_MS));
    assert_int_equal(world->assigned[0].committed, -1);
    assert_int_equal(world->committed + world->commit_errors, 0);
    world_free(world);
}

/* ---- the world says no ---- */

static void a_lost_offset_is_fatal_and_named(void **state)
{
    (void)state;
    struct world *world = world_take("gone");
    fill(world, 3, 10);
    world->start_at = 4711;
    assert_true(wait_until(world, is_fatal, WAIT_MS));
    assert_int_equal(world->fatal.code, ERR_OFFSET_LOST);
    assert_non_null(strstr(world->fatal.text, "t.gone"));
    assert_non_null(strstr(world->fatal.text, "4711"));
    let_pass(world, 200);
    assert_int_equal(world->fatals, 1);
    assert_int_equal(world->seen_count, 0);
    world_free(world);
}

static bool is_down(const struct world *world)
{
    return !kafka_consumer_up(world->consumer) && !kafka_producer_up(world->producer);
}

static bool is_up(const struct world *world)
{
    return kafka_consumer_up(world->consumer) && kafka_producer_up(world->producer);
}

static size_t warnings, comebacks;

static void count_lines(struct str line, void *context)
{
    (void)context;
    char text[512];
    snprintf(text, sizeof(text), STR_FMT, STR_ARG(line));
    warnings += strstr(text, "cannot be reached") != NULL;
    comebacks += strstr(text, "answer again") != NULL;
}

static void an_outage_is_told_once_and_is_not_fatal(void **state)
{
    (void)state;
    struct world *world = world_new("outage", 1);
    struct kafka_conf conf = conf_of(world);
    produce_with(world, &conf);
    consume(world, &conf);
    assert_true(wait_until(world, is_up, WAIT_MS));
    warnings = comebacks = 0;
    log_set_level(LOG_LEVEL_INFO);
    log_sink(count_lines, NULL);
    rd_kafka_mock_broker_set_down(mock, 1);
    bool went_down = wait_until(world, is_down, WAIT_MS);
    let_pass(world, 1000);
    rd_kafka_mock_broker_set_up(mock, 1);
    bool came_up = wait_until(world, is_up, WAIT_MS);
    log_sink(NULL, NULL);
    log_set_level(LOG_LEVEL_ERROR);
    assert_true(went_down);
    assert_true(came_up);
    assert_int_equal(warnings, 2); /* one each for consumer and producer */
    assert_int_equal(comebacks, 2);
    assert_int_equal(world->fatals, 0);
    produce_many(world, 5, 10);
    assert_true(wait_until(world, all_seen, WAIT_MS));
    world_free(world);
}

static void a_free_does_not_hang_when_the_brokers_are_away(void **state)
{
    (void)state;
    struct world *world = world_take("hang");
    produce_many(world, 5, 10);
    assert_true(wait_until(world, all_seen, WAIT_MS));
    rd_kafka_mock_broker_set_down(mock, 1);
    commit(world, 3);
    let_pass(world, 100);
    assert_true(kafka_produce(world->producer, &(struct kafka_produce){.topic = world->topic,
                                                                       .value = STR("x"),
                                                                       .done = on_delivered,
                                                                       .context = world}));
    int64_t before_us = clock_monotonic_us();
    kafka_consumer_free(world->consumer, false);
    int64_t consumer_ms = (clock_monotonic_us() - before_us) / 1000;
    kafka_producer_free(world->producer, 100);
    int64_t both_ms = (clock_monotonic_us() - before_us) / 1000;
    rd_kafka_mock_broker_set_up(mock, 1);
    world->consumer = NULL;
    world->producer = NULL;
    assert_in_range(consumer_ms, 0, 1300);
    assert_in_range(both_ms, 0, 2600);
    assert_int_equal(world->undelivered, 1); /* everybody hears of his record */
    world_free(world);
}

static bool undelivered_1(const struct world *world)
{
    return world->undelivered > 0;
}

static void produce_one(struct world *world, size_t bytes)
{
    char *value = xzalloc(bytes + 1);
    assert_true(
        kafka_produce(world->producer, &(struct kafka_produce){.topic = world->topic,
                                                               .value = str_from(value, bytes),
                                                               .done = on_delivered,
                                                               .context = world}));
    free(value);
}

static void a_record_that_never_fits_is_too_big(void **state)
{
    (void)state;
    struct world *world = world_new("toobig", 1);
    struct kafka_conf conf = conf_of(world);
    conf.message_bytes_max = 10000;
    produce_with(world, &conf);
    produce_one(world, 20000);
    assert_int_equal(world->undelivered, 0); /* not from within kafka_produce() */
    assert_int_equal(kafka_producer_pending(world->producer), 1);
    assert_true(wait_until(world, undelivered_1, WAIT_MS));
    assert_int_equal(world->delivery_err.code, ERR_TOO_BIG);
    assert_int_equal(kafka_producer_pending(world->producer), 0);
    world_free(world);
}

static void a_record_that_was_not_acknowledged_in_time_is_ambiguous(void **state)
{
    (void)state;
    struct world *world = world_new("late", 1);
    struct kafka_conf conf = conf_of(world);
    conf.delivery_timeout_ms = 600;
    produce_with(world, &conf);
    produce_one(world, 10);
    assert_true(wait_until(world, all_delivered, WAIT_MS));
    rd_kafka_mock_broker_set_rtt(mock, 1, 2000);
    produce_one(world, 10);
    bool told = wait_until(world, undelivered_1, WAIT_MS);
    rd_kafka_mock_broker_set_rtt(mock, 1, 0);
    assert_true(told);
    assert_int_equal(world->delivery_err.code, ERR_TIMEOUT);
    assert_int_equal(world->fatals, 0);
    world_free(world);
}

static struct conf_props one_property(struct str *key, struct str *value)
{
    return (struct conf_props){.keys = key, .values = value, .count = 1};
}

static void a_full_queue_says_so_and_takes_the_record_later(void **state)
{
    (void)state;
    struct world *world = world_new("full", 1);
    struct kafka_conf conf = conf_of(world);
    struct str key = STR("queue.buffering.max.messages"), value = STR("10");
    struct conf_props props = one_property(&key, &value);
    conf.properties = &props;
    conf.linger_ms = 50;
    produce_with(world, &conf);
    struct kafka_produce record = {
        .topic = world->topic, .value = STR("x"), .done = on_delivered, .context = world};
    size_t taken = 0;
    while (taken < 50 && kafka_produce(world->producer, &record))
        taken++;
    assert_int_equal(taken, 10);
    assert_int_equal(kafka_producer_pending(world->producer), 10);
    assert_true(wait_until(world, all_delivered, WAIT_MS));
    assert_true(kafka_produce(world->producer, &record));
    assert_true(wait_until(world, all_delivered, WAIT_MS));
    assert_int_equal(world->delivered, 11);
    world_free(world);
}

/* ---- configuration ---- */

static void properties_are_passed_through_or_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *text; /* text NULL: accepted */
    } cases[] = {
        {"client.rack", "r1", NULL},
        {"compression.type", "lz4", NULL},
        {"enable.auto.commit", "true", "offsets are committed"},
        {"group.id", "mine", "cannot be set"},
        {"acks", "1", "in-sync"},
        {"no.such.thing", "1", "no.such.thing"},
        {"socket.timeout.ms", "soon", "socket.timeout.ms"},
        {"max.poll.interval.ms", "10", "max.poll.interval.ms"}, /* said by the library at the end */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *world = world_new("props", 1);
        struct kafka_conf conf = conf_of(world);
        struct str key = str_of(cases[i].key), value = str_of(cases[i].value);
        struct conf_props props = one_property(&key, &value);
        conf.properties = &props;
        struct kafka_consumer_events events = events_template;
        struct err err = {0};
        world->consumer = kafka_consumer_new(world->loop, &conf, &events, &err);
        if (cases[i].text) {
            assert_null(world->consumer);
            assert_int_equal(err.code, ERR_CONFIG);
            if (!strstr(err.text, cases[i].text))
                fail_msg("%s: %s", cases[i].key, err.text);
        } else if (!world->consumer) {
            fail_msg("%s: %s", cases[i].key, err.text);
        }
        world_free(world);
    }
}

static void a_consumer_without_group_or_topic_is_refused(void **state)
{
    (void)state;
    struct world *world = world_new("nogroup", 1);
    struct kafka_consumer_events events = events_template;
    struct kafka_conf conf = conf_of(world);
    struct err err = {0};
    conf.topic_count = 0;
    assert_null(kafka_consumer_new(world->loop, &conf, &events, &err));
    assert_int_equal(err.code, ERR_CONFIG);
    conf = conf_of(world);
    conf.group = (struct str){NULL, 0};
    assert_null(kafka_consumer_new(world->loop, &conf, &events, &err));
    assert_int_equal(err.code, ERR_CONFIG);
    world_free(world);
}

/* ---- administration ---- */

struct range_seen {
    int64_t next;
    size_t count, stop_after;
};

static bool each_in_range(struct kafka_record *record, void *context)
{
    struct range_seen *seen = context;
    assert_int_equal(record->offset, seen->next);
    seen->next++;
    seen->count++;
    return seen->count != seen->stop_after;
}

static void administration_reads_ranges_and_watermarks(void **state)
{
    (void)state;
    struct world *world = world_new("admin", 1);
    produce_many(world, 100, 50);
    struct kafka_conf conf = conf_of(world);
    struct err err = {0};
    struct kafka_admin *admin = kafka_admin_new(&conf, &err);
    assert_non_null(admin);

    int brokers;
    struct str id;
    assert_true(kafka_admin_cluster(admin, 5000, &brokers, &id, &err));
    assert_int_equal(brokers, 1);
    assert_false(str_empty(id));

    struct kafka_topic_is is;
    assert_true(kafka_admin_topic(admin, world->topic, 5000, &is, &err));
    assert_true(is.exists);
    assert_int_equal(is.partitions, 1);
    assert_int_equal(is.replication, 1);

    int64_t low, high;
    assert_true(kafka_admin_watermarks(admin, world->topic, 0, 5000, &low, &high, &err));
    assert_int_equal(low, 0);
    assert_int_equal(high, 100);

    struct range_seen seen = {.next = 20};
    assert_true(kafka_admin_read(admin, world->topic, 0, 20, 30, 5000, each_in_range, &seen, &err));
    assert_int_equal(seen.count, 10);
    seen = (struct range_seen){.next = 90};
    assert_true(
        kafka_admin_read(admin, world->topic, 0, 90, 500, 5000, each_in_range, &seen, &err));
    assert_int_equal(seen.count, 10);
    seen = (struct range_seen){.next = 0, .stop_after = 3};
    assert_true(kafka_admin_read(admin, world->topic, 0, 0, 50, 5000, each_in_range, &seen, &err));
    assert_int_equal(seen.count, 3);
    seen = (struct range_seen){0};
    assert_true(kafka_admin_read(admin, world->topic, 0, 5, 5, 5000, each_in_range, &seen, &err));
    assert_int_equal(seen.count, 0);
    assert_false(
        kafka_admin_read(admin, world->topic, 0, 5000, 5001, 5000, each_in_range, &seen, &err));
    assert_int_equal(err.code, ERR_OFFSET_LOST);
    kafka_admin_free(admin);
    world_free(world);
}

int main(void)
{
#ifdef __SANITIZE_THREAD__
    /* librdkafka starts its threads with thrd_create(), which ThreadSanitizer does not know. */
    return 0;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(properties_are_passed_through_or_refused_with_a_reason),
        cmocka_unit_test(a_consumer_without_group_or_topic_is_refused),
        cmocka_unit_test(administration_reads_ranges_and_watermarks),
        cmocka_unit_test(a_record_that_never_fits_is_too_big),
        cmocka_unit_test(a_record_that_was_not_acknowledged_in_time_is_ambiguous),
        cmocka_unit_test(a_full_queue_says_so_and_takes_the_record_later),
        cmocka_unit_test(records_come_back_as_they_were_produced),
        cmocka_unit_test(reading_begins_where_it_was_told_and_the_end_is_announced),
        cmocka_unit_test(nothing_is_read_before_every_partition_was_started),
        cmocka_unit_test(a_pause_of_everything_takes_effect_at_once_and_loses_nothing),
        cmocka_unit_test(a_paused_partition_waits_while_the_others_go_on),
        cmocka_unit_test(commits_are_answered_never_move_back_and_are_found_again),
        cmocka_unit_test(a_refused_commit_is_reported_as_fenced),
        cmocka_unit_test(a_static_member_leaves_when_asked),
        cmocka_unit_test(a_second_member_takes_half_and_gives_it_back_when_it_leaves),
        cmocka_unit_test(the_door_releases_by_itself_after_revoke_ms_max),
        cmocka_unit_test(a_lost_offset_is_fatal_and_named),
        cmocka_unit_test(an_outage_is_told_once_and_is_not_fatal),
        cmocka_unit_test(a_free_does_not_hang_when_the_brokers_are_away),
        /* The last, because the heartbeat it makes fail must be nobody else's. */
        cmocka_unit_test(a_lost_assignment_is_told_as_lost_and_comes_back),
    };
    return cmocka_run_group_tests(tests, start_mock, stop_mock);
}
