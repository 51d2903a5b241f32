/*
 * Goal: partitions come and go as kafka.h says: released in time or by the door itself, lost ones
 * told as lost, a leaving member's taken over at once, a lost offset fatal.
 * Method: see kafka_world.h.
 */
#include "tests/unit/io/kafka_world.h"

static struct prepared prepared[] = {
    {.name = "share", .partitions = 2},
    {.name = "forget", .partitions = 2, .revoke_ms_max = 400},
    {.name = "static", .partitions = 2, .instance = {"host-1", 6}},
    {.name = "lost", .partitions = 1},
    {.name = "gone", .partitions = 1},
    {.name = NULL},
};

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

static void commit(struct world *world, int64_t offset)
{
    kafka_commit(world->consumer,
                 &(struct kafka_offset){.topic = world->topic, .partition = 0, .offset = offset},
                 1);
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

int main(void)
{
#ifdef __SANITIZE_THREAD__
    /* librdkafka starts its threads with thrd_create(), which ThreadSanitizer does not know. */
    return 0;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_member_takes_half_and_gives_it_back_when_it_leaves),
        cmocka_unit_test(a_static_member_leaves_when_asked),
        cmocka_unit_test(the_door_releases_by_itself_after_revoke_ms_max),
        cmocka_unit_test(a_lost_offset_is_fatal_and_named),
        /* The last, because the heartbeat it makes fail must be nobody else's. */
        cmocka_unit_test(a_lost_assignment_is_told_as_lost_and_comes_back),
    };
    return cmocka_run_group_tests(tests, start_mock, stop_mock);
}
