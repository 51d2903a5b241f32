/*
 * Goal: records come as they were produced, in order, each once, from where the program said, and
 * never while their partition is paused; commits are answered and never move back.
 * Method: see kafka_world.h.
 */
#include "tests/unit/io/kafka_world.h"

static struct prepared prepared[] = {
    {.name = "shapes", .partitions = 1},
    {.name = "start", .partitions = 1},
    {.name = "partial", .partitions = 3},
    {.name = "pause", .partitions = 2},
    {.name = "pauseone", .partitions = 2, .fetch_bytes_max = 64 << 10},
    {.name = "commit", .partitions = 1},
    {.name = "fenced", .partitions = 1},
    {.name = NULL},
};

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

static bool answered_or_gone(const struct world *world)
{
    return commit_answered(world) || world->assigned_count == 0;
}

/* The broker's refusal also sends the member away, and a result that comes behind the revoke is
 * dropped; which of the two comes first is the library's threads' affair, hence several tries. */
static void a_refused_commit_is_reported_as_fenced(void **state)
{
    (void)state;
    struct world *world = world_take("fenced");
    produce_many(world, 5, 10);
    assert_true(wait_until(world, all_seen, WAIT_MS));
    for (int tries = 0; tries < 8 && !commit_answered(world); tries++) {
        assert_true(wait_until(world, is_assigned, WAIT_MS));
        rd_kafka_mock_push_request_errors(mock, 8 /* OffsetCommit */, 1,
                                          RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION);
        commit(world, 2);
        assert_true(wait_until(world, answered_or_gone, WAIT_MS));
        rd_kafka_mock_clear_request_errors(mock, 8);
    }
    assert_int_equal(world->commit_errors, 1);
    assert_int_equal(world->commit_err.code, ERR_FENCED);
    assert_int_equal(world->commit.offset, 2);
    world_free(world);
}

int main(void)
{
#ifdef __SANITIZE_THREAD__
    /* librdkafka starts its threads with thrd_create(), which ThreadSanitizer does not know. */
    return 0;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back_as_they_were_produced),
        cmocka_unit_test(reading_begins_where_it_was_told_and_the_end_is_announced),
        cmocka_unit_test(nothing_is_read_before_every_partition_was_started),
        cmocka_unit_test(a_pause_of_everything_takes_effect_at_once_and_loses_nothing),
        cmocka_unit_test(a_paused_partition_waits_while_the_others_go_on),
        cmocka_unit_test(commits_are_answered_never_move_back_and_are_found_again),
        cmocka_unit_test(a_refused_commit_is_reported_as_fenced),
    };
    return cmocka_run_group_tests(tests, start_mock, stop_mock);
}
