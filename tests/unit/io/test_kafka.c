/*
 * Goal: what goes wrong outside is told as kafka.h says: in configuration, in producing, in an
 * outage; a free never hangs; and administration reads what is there.
 * Method: see kafka_world.h. The mock knows neither CreateTopics nor DescribeConfigs; these are
 * tested against a real broker (tests/system/doors).
 */
#include "tests/unit/io/kafka_world.h"

static struct prepared prepared[] = {
    {.name = "hang", .partitions = 1},
    {.name = NULL},
};

static struct conf_props one_property(struct str *key, struct str *value)
{
    return (struct conf_props){.keys = key, .values = value, .count = 1};
}

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
    warnings += strstr(text, "kafka is away") != NULL;
    comebacks += strstr(text, "kafka is there") != NULL;
}

static bool is_told(const struct world *world)
{
    (void)world;
    return comebacks > 0;
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
    bool came_up = wait_until(world, is_up, WAIT_MS) && wait_until(world, is_told, WAIT_MS);
    let_pass(world, 1000);
    log_sink(NULL, NULL);
    log_set_level(LOG_LEVEL_ERROR);
    assert_true(went_down);
    assert_true(came_up);
    assert_int_equal(warnings, 1); /* for consumer and producer together */
    assert_int_equal(comebacks, 1);
    assert_int_equal(world->fatals, 0);
    produce_many(world, 5, 10);
    assert_true(wait_until(world, all_seen, WAIT_MS));
    world_free(world);
}

static void commit(struct world *world, int64_t offset)
{
    kafka_commit(world->consumer,
                 &(struct kafka_offset){.topic = world->topic, .partition = 0, .offset = offset},
                 1);
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
        cmocka_unit_test(an_outage_is_told_once_and_is_not_fatal),
        cmocka_unit_test(a_free_does_not_hang_when_the_brokers_are_away),
    };
    return cmocka_run_group_tests(tests, start_mock, stop_mock);
}
