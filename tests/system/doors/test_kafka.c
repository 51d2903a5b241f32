/*
 * Goal: what the Kafka door promises and only a real broker can refuse: topics, gaps in offsets,
 * deleted records, large records. What both bodies of the door can show is in tests/contract.
 * Method: the door, and librdkafka directly for what the door does not do (transactions, deleting
 * records). Topics and groups carry the process id, so runs do not meet. Address:
 * QUERN_KAFKA__BOOTSTRAP_SERVERS; the broker must allow sessions of 3 s and delay no rebalance.
 */
#include <librdkafka/rdkafka.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/xalloc.h"
#include "common/io/kafka.h"
#include "common/io/kafka_admin.h"
#include "tests/system/doors/door_test.h"

#define ADMIN_MS   10000
#define SESSION_MS 3000

static char topic[64];
static struct str topics[1];
static struct loop *loop;
static struct kafka_admin *admin;

/* ---- a member of the group and what it was told ---- */

struct member {
    struct kafka_consumer *consumer;
    size_t assigned, assignments, revokes, losses, records, ends, fatals;
    int64_t start_at; /* -1: at the low watermark */
    int64_t last_offset, end_offset, committed;
    size_t largest;
    struct err fatal;
};

static void on_record(struct kafka_record *record, void *context)
{
    struct member *member = context;
    assert_true(record->offset > member->last_offset);
    member->last_offset = record->offset;
    member->records++;
    if (record->value.len > member->largest)
        member->largest = record->value.len;
}

static void on_assigned(const struct kafka_partition *partitions, size_t count, void *context)
{
    struct member *member = context;
    member->assigned = count;
    member->assignments++;
    for (size_t i = 0; i < count; i++) {
        member->committed = partitions[i].committed;
        kafka_start(member->consumer, partitions[i].topic, partitions[i].partition,
                    member->start_at >= 0 ? member->start_at : partitions[i].low);
    }
}

static void on_revoked(bool lost, void *context)
{
    struct member *member = context;
    member->assigned = 0;
    member->revokes++;
    member->losses += lost;
    kafka_release(member->consumer);
}

static void on_end(const char *name, int32_t partition, int64_t next_offset, void *context)
{
    struct member *member = context;
    (void)partition;
    assert_string_equal(name, topic);
    member->ends++;
    member->end_offset = next_offset;
}

static void on_fatal(const struct err *err, void *context)
{
    struct member *member = context;
    member->fatals++;
    member->fatal = *err;
}

static struct kafka_conf conf_of(const char *instance)
{
    return (struct kafka_conf){.bootstrap_servers =
                                   str_of(getenv("QUERN_KAFKA__BOOTSTRAP_SERVERS")),
                               .client_id = STR("quern-doors"),
                               .group = str_of(topic),
                               .instance = str_of(instance),
                               .topics = topics,
                               .topic_count = 1,
                               .session_timeout_ms = SESSION_MS};
}

static void join(struct member *member, const char *instance)
{
    struct kafka_conf conf = conf_of(instance);
    struct kafka_consumer_events events = {.on_record = on_record,
                                           .on_assigned = on_assigned,
                                           .on_revoked = on_revoked,
                                           .on_end = on_end,
                                           .on_fatal = on_fatal,
                                           .context = member};
    struct err err = {0};
    member->last_offset = -1;
    member->consumer = kafka_consumer_new(loop, &conf, &events, &err);
    if (!member->consumer)
        fail_msg("%s", err.text);
}

/* ---- set up: a new topic for every test ---- */

static void make_topic(const char *name, int32_t partitions)
{
    struct err err = {0};
    snprintf(topic, sizeof(topic), "quern-doors.%d.%s", (int)getpid(), name);
    topics[0] = str_of(topic);
    const char *const config[] = {"max.message.bytes", "33554432", "retention.ms", "3600000", NULL};
    const struct kafka_topic_want want = {topic, partitions, -1, config};
    for (int twice = 0; twice < 2; twice++)
        if (!kafka_admin_create(admin, &want, ADMIN_MS, &err))
            fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    (void)state;
    struct err err = {0};
    log_init("doors", "text", LOG_LEVEL_ERROR);
    struct kafka_conf conf = conf_of(NULL);
    loop = loop_new(&err);
    admin = kafka_admin_new(&conf, &err);
    return loop && admin ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    kafka_admin_free(admin);
    loop_free(loop);
    return 0;
}

static void count_ok(const struct err *err, void *context)
{
    size_t *ok = context;
    if (err)
        fail_msg("%s", err->text);
    (*ok)++;
}

static void produce(size_t count, size_t bytes)
{
    struct kafka_conf conf = conf_of(NULL);
    struct err err = {0};
    struct kafka_producer *producer = kafka_producer_new(loop, &conf, NULL, NULL, &err);
    assert_non_null(producer);
    char *value = xzalloc(bytes);
    size_t ok = 0;
    for (size_t i = 0; i < count; i++)
        assert_true(kafka_produce(producer, &(struct kafka_produce){.topic = topic,
                                                                    .value = str_from(value, bytes),
                                                                    .done = count_ok,
                                                                    .context = &ok}));
    UNTIL(loop, ok == count);
    free(value);
    kafka_producer_free(producer, 1000);
}

/* ---- tests ---- */

static void topics_have_the_settings_they_were_created_with(void **state)
{
    (void)state;
    make_topic("settings", 3);
    struct err err = {0};
    struct kafka_topic_is is;
    struct arena arena;
    struct str value;
    arena_init(&arena, NULL, 1 << 16);

    assert_true(kafka_admin_topic(admin, topic, ADMIN_MS, &is, &err));
    assert_true(is.exists);
    assert_int_equal(is.partitions, 3);
    assert_true(is.replication >= 1);
    assert_true(
        kafka_admin_topic_config(admin, topic, "retention.ms", ADMIN_MS, &arena, &value, &err));
    assert_true(str_is(value, "3600000"));
    assert_true(
        kafka_admin_topic_config(admin, topic, "no.such.setting", ADMIN_MS, &arena, &value, &err));
    assert_null(value.data);

    assert_true(kafka_admin_topic(admin, "quern-doors.none", ADMIN_MS, &is, &err));
    assert_false(is.exists);
    assert_false(kafka_admin_topic_config(admin, "quern-doors.none", "retention.ms", ADMIN_MS,
                                          &arena, &value, &err));
    const char *const nonsense[] = {"retention.ms", "for ever", NULL};
    const struct kafka_topic_want bad = {"quern-doors.bad", 1, -1, nonsense};
    assert_false(kafka_admin_create(admin, &bad, ADMIN_MS, &err));
    assert_non_null(strstr(err.text, "retention.ms"));
    arena_done(&arena);
}

/* Five records in each transaction; the one in the middle is given up. */
static void run_transactions(void)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", getenv("QUERN_KAFKA__BOOTSTRAP_SERVERS"), text,
                      sizeof(text));
    rd_kafka_conf_set(conf, "transactional.id", topic, text, sizeof(text));
    rd_kafka_conf_set(conf, "log_level", "0", text, sizeof(text));
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    assert_non_null(rk);
    assert_null(rd_kafka_init_transactions(rk, DOOR_TEST_WAIT_MS));
    for (int i = 0; i < 3; i++) {
        assert_null(rd_kafka_begin_transaction(rk));
        for (int k = 0; k < 5; k++)
            assert_int_equal(rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic),
                                               RD_KAFKA_V_VALUE("x", 1), RD_KAFKA_V_PARTITION(0),
                                               RD_KAFKA_V_END),
                             RD_KAFKA_RESP_ERR_NO_ERROR);
        rd_kafka_flush(rk, DOOR_TEST_WAIT_MS);
        assert_null(i == 1 ? rd_kafka_abort_transaction(rk, DOOR_TEST_WAIT_MS)
                           : rd_kafka_commit_transaction(rk, DOOR_TEST_WAIT_MS));
    }
    rd_kafka_destroy(rk);
}

static void gaps_are_passed_over_and_the_end_lies_behind_them(void **state)
{
    (void)state;
    make_topic("gaps", 1);
    run_transactions(); /* 0-4, marker 5, 6-10 given up, marker 11, 12-16, marker 17 */
    struct member member = {.start_at = -1};
    join(&member, NULL);
    UNTIL(loop, member.ends > 0);
    assert_int_equal(member.records, 10);
    assert_int_equal(member.last_offset, 16);
    assert_int_equal(member.end_offset, 18);
    kafka_consumer_free(member.consumer, true);
}

static void delete_before(int64_t offset)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", getenv("QUERN_KAFKA__BOOTSTRAP_SERVERS"), text,
                      sizeof(text));
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    assert_non_null(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = offset;
    rd_kafka_DeleteRecords_t *delete = rd_kafka_DeleteRecords_new(list);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_DeleteRecords(rk, &delete, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, DOOR_TEST_WAIT_MS);
    assert_non_null(event);
    assert_int_equal(rd_kafka_event_error(event), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteRecords_destroy(delete);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
}

static void a_deleted_offset_is_lost_and_stops_the_program(void **state)
{
    (void)state;
    make_topic("deleted", 1);
    produce(20, 10);
    delete_before(12);
    int64_t low, high;
    struct err err = {0};
    assert_true(kafka_admin_watermarks(admin, topic, 0, ADMIN_MS, &low, &high, &err));
    assert_int_equal(low, 12);
    assert_int_equal(high, 20);

    struct member member = {.start_at = 5};
    join(&member, NULL);
    UNTIL(loop, member.fatals > 0);
    assert_int_equal(member.fatal.code, ERR_OFFSET_LOST);
    assert_int_equal(member.records, 0);
    kafka_consumer_free(member.consumer, true);
}

static void large_records_pass_among_small_ones(void **state)
{
    (void)state;
    make_topic("large", 1);
    produce(3, 100);
    produce(1, 20 << 20);
    produce(3, 100);
    struct member member = {.start_at = -1};
    join(&member, NULL);
    UNTIL(loop, member.records == 7);
    assert_int_equal(member.largest, 20 << 20);
    kafka_consumer_free(member.consumer, true);
}

int main(void)
{
    if (!getenv("QUERN_KAFKA__BOOTSTRAP_SERVERS"))
        return DOOR_TEST_SKIP;
#define DOOR_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        DOOR_TEST(topics_have_the_settings_they_were_created_with),
        DOOR_TEST(gaps_are_passed_over_and_the_end_lies_behind_them),
        DOOR_TEST(a_deleted_offset_is_lost_and_stops_the_program),
        DOOR_TEST(large_records_pass_among_small_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
