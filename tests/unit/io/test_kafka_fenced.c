/*
 * Goal: a static member that is fenced by what it did itself joins anew and reads on; one that has
 * met another process of the same name says so and gives up.
 * Method: see kafka_world.h. Heartbeats and joins are answered with errors by hand, so one world at
 * a time has a consumer.
 */
#include "tests/unit/io/kafka_world.h"

static struct prepared prepared[] = {{.name = NULL}};

static struct world *join(const char *name, struct str instance)
{
    struct world *world = world_new(name, 1);
    struct kafka_conf conf = conf_of(world);
    conf.instance = instance;
    consume(world, &conf);
    return world;
}

static void commit(struct world *world, int64_t offset)
{
    kafka_commit(world->consumer,
                 &(struct kafka_offset){.topic = world->topic, .partition = 0, .offset = offset},
                 1);
}

static void refuse(int16_t request, size_t times, rd_kafka_resp_err_t code)
{
    for (size_t i = 0; i < times; i++)
        rd_kafka_mock_push_request_errors(mock, request, 1, code);
}

#define HEARTBEAT  12
#define JOIN_GROUP 11

static bool is_lost(const struct world *world)
{
    return world->losses > 0;
}

static bool is_lost_twice(const struct world *world)
{
    return world->losses > 1;
}

static bool has_failed(const struct world *world)
{
    return world->fatals > 0;
}

/* As after an outage longer than the session: the assignment is lost, then comes the fence. */
static void a_fence_behind_a_loss_is_our_own_doing_and_reading_goes_on(void **state)
{
    (void)state;
    struct world *world = join("ours", STR("host-2"));
    produce_many(world, 10, 200000); /* large: kept ones belong to the old handle */
    assert_true(wait_until(world, all_seen, WAIT_MS));
    refuse(HEARTBEAT, 1, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);
    assert_true(wait_until(world, is_lost, WAIT_MS));
    assert_true(wait_until(world, is_assigned, WAIT_MS));
    refuse(HEARTBEAT, 1, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID);
    assert_true(wait_until(world, is_lost_twice, WAIT_MS));
    world->seen_count = 0; /* nothing was committed: all of it comes again */
    assert_true(wait_until(world, is_assigned, WAIT_MS));
    assert_int_equal(world->losses, 2);
    assert_int_equal(world->fatals, 0);

    produce_many(world, 5, 10);
    assert_true(wait_until(world, all_seen, WAIT_MS));
    commit(world, 15);
    assert_true(wait_until(world, commit_answered, WAIT_MS));
    assert_int_equal(world->committed, 1);
    world_free(world);
}

static void a_settled_member_that_is_fenced_has_met_another_process(void **state)
{
    (void)state;
    struct world *world = join("theirs", STR("host-3"));
    assert_true(wait_until(world, is_assigned, WAIT_MS));
    refuse(HEARTBEAT, 1, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID);
    assert_true(wait_until(world, has_failed, WAIT_MS));
    assert_int_equal(world->fatal.code, ERR_FENCED);
    assert_string_equal(world->fatal.text,
                        "another process has joined the group as instance 'host-3'");
    world_free(world);
}

static void a_member_that_is_fenced_over_and_over_gives_up(void **state)
{
    (void)state;
    struct world *world = join("always", STR("host-4"));
    assert_true(wait_until(world, is_assigned, WAIT_MS));
    refuse(JOIN_GROUP, 4, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID);
    refuse(HEARTBEAT, 1, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);
    assert_true(wait_until(world, is_lost, WAIT_MS));
    assert_true(wait_until(world, has_failed, WAIT_MS));
    assert_int_equal(world->fatal.code, ERR_FENCED);
    assert_int_equal(world->fatals, 1);
    rd_kafka_mock_clear_request_errors(mock, JOIN_GROUP);
    world_free(world);
}

static bool is_up(const struct world *world)
{
    return kafka_consumer_up(world->consumer);
}

static bool is_down(const struct world *world)
{
    return !is_up(world);
}

/* A broker that is killed again and again fences us each time; nobody else is there. */
static void an_outage_between_two_fences_counts_them_anew(void **state)
{
    (void)state;
    struct world *world = join("outages", STR("host-5"));
    assert_true(wait_until(world, is_assigned, WAIT_MS));
    for (int outage = 0; outage < 4; outage++) {
        rd_kafka_mock_broker_set_down(mock, 1);
        assert_true(wait_until(world, is_down, WAIT_MS));
        rd_kafka_mock_broker_set_up(mock, 1);
        assert_true(wait_until(world, is_up, WAIT_MS));
        refuse(JOIN_GROUP, 1, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID);
        refuse(HEARTBEAT, 1, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);
        world->losses = 0;
        assert_true(wait_until(world, is_lost, WAIT_MS));
        assert_true(wait_until(world, is_assigned, WAIT_MS));
        assert_int_equal(world->fatals, 0);
    }
    world_free(world);
}

int main(void)
{
#ifdef __SANITIZE_THREAD__
    /* librdkafka starts its threads with thrd_create(), which ThreadSanitizer does not know. */
    return 0;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fence_behind_a_loss_is_our_own_doing_and_reading_goes_on),
        cmocka_unit_test(a_settled_member_that_is_fenced_has_met_another_process),
        cmocka_unit_test(a_member_that_is_fenced_over_and_over_gives_up),
        cmocka_unit_test(an_outage_between_two_fences_counts_them_anew),
    };
    return cmocka_run_group_tests(tests, start_mock, stop_mock);
}
