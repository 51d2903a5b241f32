/*
 * Goal: a producer whose library has lost count of its sequence numbers is made anew; everybody
 * hears of his record exactly once, and what cannot be cured so is told to the program.
 * Method: see kafka_world.h. The broker answers "out of order" to the oldest batch under way, which
 * is what a broker says that was killed and has forgotten some of what it had acknowledged.
 */
#include "tests/unit/io/kafka_world.h"

static struct prepared prepared[] = {{.name = NULL}};

#define PRODUCE 0

static struct world *broken_world(const char *name)
{
    struct world *world = world_new(name, 1);
    struct kafka_conf conf = conf_of(world);
    conf.linger_ms = 20;
    produce_with(world, &conf);
    return world;
}

static bool offer(struct world *world)
{
    return kafka_produce(world->producer, &(struct kafka_produce){.topic = world->topic,
                                                                  .key = STR("k"),
                                                                  .value = STR("v"),
                                                                  .done = on_delivered,
                                                                  .context = world});
}

static bool is_answered(const struct world *world)
{
    return world->delivered + world->undelivered > 0;
}

static bool is_renewed_or_fatal(const struct world *world)
{
    return world->fatals || kafka_producer_renewals(world->producer) > 0;
}

/* Each time the producer is broken, nobody's record is left without an answer. */
static void break_once(struct world *world, size_t records)
{
    world->delivered = world->undelivered = 0;
    rd_kafka_mock_push_request_errors(mock, PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    for (size_t i = 0; i < records; i++)
        while (!offer(world) && !world->fatals)
            loop_turn(world->loop, 5);
    assert_true(wait_until(world, is_answered, WAIT_MS));
    assert_true(wait_until(world, all_delivered, WAIT_MS));
    let_pass(world, 50);
    assert_int_equal(world->delivered + world->undelivered, records);
}

static void a_producer_that_lost_count_is_made_anew_and_goes_on(void **state)
{
    (void)state;
    struct world *world = broken_world("anew");
    break_once(world, 10);
    assert_int_equal(world->fatals, 0);
    assert_int_equal(kafka_producer_renewals(world->producer), 1);
    assert_int_equal(world->undelivered, 10);
    assert_int_equal(world->delivery_err.code, ERR_TIMEOUT);

    world->delivered = world->undelivered = 0;
    produce_many(world, 10, 10); /* the same ones again */
    assert_int_equal(world->delivered, 10);
    assert_int_equal(kafka_producer_renewals(world->producer), 1);
    world_free(world);
}

static void a_record_offered_to_a_broken_producer_is_kept_or_written(void **state)
{
    (void)state;
    struct world *world = broken_world("offered");
    rd_kafka_mock_push_request_errors(mock, PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    size_t taken = 0, kept = 0;
    int64_t until_us = clock_monotonic_us() + WAIT_MS * 1000;
    while (world->delivered == 0 && clock_monotonic_us() < until_us) {
        size_t answered = world->delivered + world->undelivered;
        bool took = taken < 10000 && offer(world);
        assert_int_equal(world->delivered + world->undelivered, answered); /* not from within */
        taken += took;
        kept += !took;
        loop_turn(world->loop, 1);
    }
    assert_true(wait_until(world, all_delivered, WAIT_MS));
    let_pass(world, 50);
    assert_true(world->delivered > 0);
    assert_true(world->undelivered > 0);
    assert_true(kept > 0);
    assert_int_equal(world->delivered + world->undelivered, taken);
    assert_int_equal(world->fatals, 0);
    world_free(world);
}

static void successes_in_between_make_it_begin_anew(void **state)
{
    (void)state;
    struct world *world = broken_world("between");
    for (size_t i = 1; i <= 5; i++) {
        break_once(world, 3);
        assert_int_equal(kafka_producer_renewals(world->producer), i);
        world->undelivered = 0;
        produce_many(world, 2, 10);
    }
    assert_int_equal(world->fatals, 0);
    world_free(world);
}

static void a_producer_that_breaks_over_and_over_gives_up_and_says_what_to_do(void **state)
{
    (void)state;
    struct world *world = broken_world("over");
    for (size_t i = 0; i < 4; i++)
        break_once(world, 2);
    assert_true(wait_until(world, is_fatal, WAIT_MS));
    assert_int_equal(world->fatals, 1);
    assert_int_equal(kafka_producer_renewals(world->producer), 3);
    assert_non_null(strstr(world->fatal.text, "3 times without success"));
    assert_non_null(strstr(world->fatal.text, "start the program again"));
    world->undelivered = 0;
    assert_true(offer(world)); /* the library refuses it for good */
    assert_true(wait_until(world, all_delivered, WAIT_MS));
    assert_int_equal(world->undelivered, 1);
    assert_int_equal(world->fatals, 1);
    world_free(world);
}

static void even_with_successes_in_between_it_gives_up_after_ten_in_a_minute(void **state)
{
    (void)state;
    struct world *world = broken_world("minute");
    for (size_t i = 0; i < 11; i++) {
        break_once(world, 1);
        if (i == 10)
            break;
        assert_int_equal(world->fatals, 0);
        world->undelivered = 0;
        produce_many(world, 1, 10);
    }
    assert_true(wait_until(world, is_fatal, WAIT_MS));
    assert_non_null(strstr(world->fatal.text, "10 times in a minute"));
    world_free(world);
}

static void a_broken_producer_can_be_freed(void **state)
{
    (void)state;
    struct world *world = broken_world("freed");
    rd_kafka_mock_push_request_errors(mock, PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    int64_t until_us = clock_monotonic_us() + WAIT_MS * 1000;
    while (offer(world) && clock_monotonic_us() < until_us)
        loop_turn(world->loop, 1);
    assert_false(offer(world)); /* the turn in which it would be made anew has not come */
    size_t pending = kafka_producer_pending(world->producer);
    size_t answered = world->delivered + world->undelivered;
    assert_false(is_renewed_or_fatal(world));
    kafka_producer_free(world->producer, 500);
    world->producer = NULL;
    assert_int_equal(world->delivered + world->undelivered - answered, pending);
    world_free(world);
}

int main(void)
{
#ifdef __SANITIZE_THREAD__
    /* librdkafka starts its threads with thrd_create(), which ThreadSanitizer does not know. */
    return 0;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_producer_that_lost_count_is_made_anew_and_goes_on),
        cmocka_unit_test(a_record_offered_to_a_broken_producer_is_kept_or_written),
        cmocka_unit_test(successes_in_between_make_it_begin_anew),
        cmocka_unit_test(a_producer_that_breaks_over_and_over_gives_up_and_says_what_to_do),
        cmocka_unit_test(even_with_successes_in_between_it_gives_up_after_ten_in_a_minute),
        cmocka_unit_test(a_broken_producer_can_be_freed),
    };
    return cmocka_run_group_tests(tests, start_mock, stop_mock);
}
