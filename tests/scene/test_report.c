/*
 * Goal: an answer that was paid for reaches quern.results, whatever Kafka says.
 * Method: produces that fail in every way, a full local queue, a topic too small, a broker away.
 */
#include "tests/scene/scene.h"

static struct sim *world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 10});
    return sim;
}

static void publish(struct sim *sim, int count)
{
    for (int i = 0; i < count; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
}

/* All answered, each paid for once. */
static void expect_all(struct sim *sim, int count)
{
    assert_int_equal(sim_final_count(sim), count);
    assert_int_equal(sim_call_count(sim), count);
    for (int i = 0; i < count; i++)
        assert_str(sim_final(sim, nth("r", i))->status, "done");
}

static void a_produce_that_fails_is_tried_again(void **state)
{
    struct sim *sim = world(1);
    (void)state;
    sim_worker(sim, "w1");
    sim_produce_fails(sim, SIM_NOT_WRITTEN, 7);
    publish(sim, 4);
    assert_true(sim_settle(sim));
    expect_all(sim, 4);
    assert_int_equal(sim_result_count(sim), 4);
    sim_free(sim);
}

static void a_produce_of_unknown_outcome_is_repeated_with_the_same_bytes(void **state)
{
    static const enum sim_produce_fault faults[] = {SIM_WRITTEN_UNKNOWN, SIM_LOST_UNKNOWN};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct sim *sim = world(2 + i);
        sim_worker(sim, "w1");
        sim_produce_fails(sim, faults[i], 3);
        publish(sim, 3);
        assert_true(sim_settle(sim));
        expect_all(sim, 3);
        size_t parts = sim_result_count(sim);
        assert_int_equal(parts, faults[i] == SIM_WRITTEN_UNKNOWN ? 6 : 3);
        for (size_t k = 0; k < parts; k++) {
            const struct result *part = sim_result(sim, k);
            const struct result *first = sim_part(sim, nth("r", part->request_id.data[1] - '0'), 0);
            assert_true(str_eq(part->text, first->text));
            assert_true(str_eq(part->attempts.items[0].run_id, first->attempts.items[0].run_id));
        }
        sim_free(sim);
    }
}

static void a_full_local_queue_is_tried_again(void **state)
{
    struct sim *sim = world(4);
    (void)state;
    sim_worker(sim, "w1");
    sim_produce_full(sim, 25);
    publish(sim, 5);
    assert_true(sim_settle(sim));
    expect_all(sim, 5);
    sim_free(sim);
}

static void offsets_are_committed_only_when_the_result_is_written(void **state)
{
    struct sim *sim = world(5);
    (void)state;
    sim_partitions(sim, 1);
    sim_worker(sim, "w1");
    publish(sim, 3);
    sim_produce_fails(sim, SIM_LOST_UNKNOWN, 10000);
    sim_run_ms(sim, 20000);
    assert_int_equal(sim_call_count(sim), 3);
    assert_true(sim_committed(sim, 0) <= 0);
    sim_produce_fails(sim, SIM_NOT_WRITTEN, 0);
    assert_true(sim_settle(sim));
    expect_all(sim, 3);
    sim_free(sim);
}

static void a_result_too_large_for_its_topic_becomes_a_part_that_says_so(void **state)
{
    static char text[200000];
    static char body[sizeof(text) + 200];
    struct sim *sim = world(6);
    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    snprintf(body, sizeof(body),
             "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},"
             "\"finish_reason\":\"stop\"}]}",
             text);
    sim_provider_now(sim, "alpha", (struct sim_reply){.body = body});
    sim_topic_bytes_max(sim, "quern.results", 100000);
    sim_worker(sim, "w1");
    publish(sim, 1);
    assert_true(sim_settle(sim));
    const struct result *part = sim_part(sim, "r0", 0);
    assert_non_null(part);
    assert_str(part->status, "failed");
    assert_str(part->error.code, "too_big");
    assert_int_equal(part->attempts.count, 1); /* it was paid for all the same */
    assert_str(sim_final(sim, "r0")->status, "failed");
    assert_int_equal(sim_call_count(sim), 1);
    sim_free(sim);
}

static void a_broker_that_is_away_for_a_while_costs_time_only(void **state)
{
    struct sim *sim = world(7);
    (void)state;
    sim_worker(sim, "w1");
    publish(sim, 6);
    sim_run_ms(sim, 22);
    sim_kafka_down(sim, true);
    sim_run_ms(sim, 45000);
    sim_kafka_down(sim, false);
    assert_true(sim_settle(sim));
    expect_all(sim, 6);
    assert_false(sim_commit_went_back(sim));
    sim_free(sim);
}

static void a_refused_commit_is_repeated_though_nothing_else_comes(void **state)
{
    struct sim *sim = world(8);
    (void)state;
    sim_worker(sim, "w1");
    sim_commits_fail(sim, 5);
    publish(sim, 1);
    assert_true(sim_settle(sim));
    assert_true(sim_now_ms(sim) < 5000);
    expect_all(sim, 1);
    sim_free(sim);
}

/* U+0000, which PostgreSQL cannot store, and a finish reason that is none. */
static void an_odd_character_costs_no_answer(void **state)
{
    static const char body[] =
        "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"a\\u0000b\","
        "\"tool_calls\":[{\"id\":\"c\\u0000\",\"type\":\"function\",\"function\":"
        "{\"name\":\"f\",\"arguments\":\"\\u0000\"}}]},\"finish_reason\":\"\\u0000-234567890-"
        "234567890"
        "-234567890-234567890-234567890-234567890-234567890\"}]}";
    struct sim *sim = world(20);
    (void)state;
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 10, .body = body});
    sim_worker(sim, "w1");
    publish(sim, 1);
    assert_true(sim_settle(sim));
    expect_all(sim, 1);
    const struct result *part = sim_part(sim, "r0", 0);
    const struct value *call = &value_get_list(part->message, "tool_calls")->items[0];
    assert_str(part->text, "a\xef\xbf\xbd"
                           "b");
    assert_str(value_get_str(call, "id"), "c\xef\xbf\xbd");
    assert_str(value_get_str(value_get_map(call, "function"), "arguments"), "\xef\xbf\xbd");
    assert_true(str_starts(part->finish_reason, STR("\xef\xbf\xbd-234567890")));
    assert_int_equal(part->finish_reason.len, 64);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_produce_that_fails_is_tried_again),
        cmocka_unit_test(a_produce_of_unknown_outcome_is_repeated_with_the_same_bytes),
        cmocka_unit_test(a_full_local_queue_is_tried_again),
        cmocka_unit_test(offsets_are_committed_only_when_the_result_is_written),
        cmocka_unit_test(a_result_too_large_for_its_topic_becomes_a_part_that_says_so),
        cmocka_unit_test(a_broker_that_is_away_for_a_while_costs_time_only),
        cmocka_unit_test(a_refused_commit_is_repeated_though_nothing_else_comes),
        cmocka_unit_test(an_odd_character_costs_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
