/*
 * Goal: a tail reads from given offsets on, each record once and in order, and frees quickly.
 * Method: see kafka_world.h.
 */
#include "tests/unit/io/kafka_world.h"

#include "common/io/kafka_tail.h"

static struct prepared prepared[] = {
    {.name = NULL},
};

static struct kafka_tail *tail_new(struct world *world, const struct kafka_offset *starts,
                                   size_t count)
{
    struct err err = {0};
    struct kafka_conf conf = conf_of(world);
    struct kafka_consumer_events events = events_template;
    events.context = world;
    struct kafka_tail *tail = kafka_tail_new(world->loop, &conf, starts, count, &events, &err);
    if (!tail)
        fail_msg("%s", err.text);
    return tail;
}

static void it_reads_all_partitions_and_what_comes_later(void **state)
{
    (void)state;
    struct world *world = world_new("tail", 3);
    const struct kafka_offset starts[] = {
        {world->topic, 0, 0}, {world->topic, 1, 0}, {world->topic, 2, 0}};
    produce_many(world, 60, 100);
    struct kafka_tail *tail = tail_new(world, starts, 3);
    assert_true(wait_until(world, all_seen, WAIT_MS));
    produce_many(world, 60, 100);
    assert_true(wait_until(world, all_seen, WAIT_MS));
    assert_int_equal(world->seen_count, 120);
    check_each_once_in_order(world);
    assert_true(kafka_tail_up(tail));
    assert_int_equal(world->fatals, 0);
    kafka_tail_free(tail);
    world_free(world);
}

static bool sees_one(const struct world *world)
{
    return world->seen_count > 0;
}

static void it_begins_where_it_is_told(void **state)
{
    (void)state;
    struct world *world = world_new("tailend", 1);
    produce_many(world, 10, 10);
    const struct kafka_offset start = {world->topic, 0, 10};
    struct kafka_tail *tail = tail_new(world, &start, 1);
    assert_true(wait_until(world, has_ended, WAIT_MS));
    assert_int_equal(world->end_offset, 10);
    produce_many(world, 1, 10);
    assert_true(wait_until(world, sees_one, WAIT_MS));
    assert_int_equal(world->seen_count, 1);
    assert_int_equal(world->seen[0].offset, 10);
    kafka_tail_free(tail);
    world_free(world);
}

static void a_lost_offset_is_fatal(void **state)
{
    (void)state;
    struct world *world = world_new("taillost", 1);
    const struct kafka_offset start = {world->topic, 0, 1000};
    struct kafka_tail *tail = tail_new(world, &start, 1);
    assert_true(wait_until(world, is_fatal, WAIT_MS));
    assert_int_equal(world->fatal.code, ERR_OFFSET_LOST);
    kafka_tail_free(tail);
    world_free(world);
}

static void a_free_does_not_hang_when_the_brokers_are_away(void **state)
{
    (void)state;
    struct world *world = world_new("tailaway", 1);
    struct err err = {0};
    struct kafka_conf conf = conf_of(world);
    struct kafka_consumer_events events = events_template;
    const struct kafka_offset start = {world->topic, 0, 0};
    conf.bootstrap_servers = STR("127.0.0.1:1");
    events.context = world;
    struct kafka_tail *tail = kafka_tail_new(world->loop, &conf, &start, 1, &events, &err);
    assert_non_null(tail);
    let_pass(world, 100);
    int64_t begun_us = clock_monotonic_us();
    kafka_tail_free(tail);
    assert_true(clock_monotonic_us() - begun_us < 3000000);
    kafka_tail_free(NULL);
    world_free(world);
}

int main(void)
{
#ifdef __SANITIZE_THREAD__
    /* librdkafka starts its threads with thrd_create(), which ThreadSanitizer does not know. */
    return 0;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_reads_all_partitions_and_what_comes_later),
        cmocka_unit_test(it_begins_where_it_is_told),
        cmocka_unit_test(a_lost_offset_is_fatal),
        cmocka_unit_test(a_free_does_not_hang_when_the_brokers_are_away),
    };
    return cmocka_run_group_tests(tests, start_mock, stop_mock);
}
