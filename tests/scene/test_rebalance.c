/*
 * Goal: partitions change hands without a request lost, answered twice or paid for twice.
 * Method: workers come, stand still and are thrown out while calls are under way.
 */
#include "tests/scene/scene.h"

static struct sim *world(uint64_t seed, int32_t partitions, int64_t latency_ms)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_partitions(sim, partitions);
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = latency_ms});
    return sim;
}

static void publish(struct sim *sim, int from, int to)
{
    for (int i = from; i < to; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
}

static void expect_all(struct sim *sim, int count)
{
    assert_int_equal(sim_final_count(sim), count);
    for (int i = 0; i < count; i++)
        assert_str(sim_final(sim, nth("r", i))->status, "done");
    assert_false(sim_commit_went_back(sim));
}

static void a_revoke_lets_calls_under_way_end_and_begins_no_others(void **state)
{
    struct sim *sim = world(1, 1, 300);
    (void)state;
    sim_set(sim, "worker.max_in_flight", "4");
    struct sim_process *old = sim_worker(sim, "w2");
    publish(sim, 0, 10);
    sim_run_ms(sim, 100);
    assert_int_equal(sim_call_count(sim), 4);
    struct sim_process *next = sim_worker(sim, "w1");
    sim_run_ms(sim, 150);
    assert_int_equal(sim_owned(next), 0); /* the old owner drains */
    assert_int_equal(sim_call_count(sim), 4);
    sim_run_ms(sim, 250);
    assert_int_equal(sim_owned(next), 1); /* not a second, but as long as the calls took */
    assert_int_equal(sim_owned(old), 0);
    assert_int_equal(sim_committed(sim, 0), 4);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 10);
    expect_all(sim, 10);
    sim_free(sim);
}

static void calls_longer_than_the_drain_are_ended_by_their_worker(void **state)
{
    struct sim *sim = world(2, 1, 8000);
    (void)state;
    sim_set(sim, "worker.max_in_flight", "4");
    sim_worker(sim, "w2");
    publish(sim, 0, 10);
    sim_run_ms(sim, 100);
    assert_int_equal(sim_call_count(sim), 4);
    struct sim_process *next = sim_worker(sim, "w1");
    sim_run_ms(sim, 1200);
    assert_int_equal(sim_owned(next), 1);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 10);
    assert_int_equal(sim_result_count(sim), 10);
    expect_all(sim, 10);
    sim_free(sim);
}

static void a_call_that_waits_for_its_next_attempt_goes_to_the_new_owner(void **state)
{
    struct sim *sim = world(3, 1, 10);
    (void)state;
    sim_provider_now(sim, "alpha",
                     (struct sim_reply){.status = 429, .headers = "Retry-After: 60\r\n"});
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 10});
    sim_worker(sim, "w2");
    publish(sim, 0, 1);
    sim_run_ms(sim, 100);
    assert_int_equal(sim_call_count(sim), 1);
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_true(sim_final(sim, "r0")->stored_ms < 2000);
    expect_all(sim, 1);
    sim_free(sim);
}

static void who_waits_for_room_among_the_calls_is_given_up_at_a_revoke(void **state)
{
    struct sim *sim = world(4, 1, 20000);
    (void)state;
    sim_provider(sim, "beta", (struct sim_reply){.after_ms = 20});
    sim_set(sim, "worker.max_in_flight", "2");
    struct sim_process *old = sim_worker(sim, "w2");
    sim_publish(sim, (struct sim_request){.id = "r0", .models = "alpha,alpha,beta"});
    sim_run_ms(sim, 100);
    assert_int_equal(sim_call_count(sim), 2);
    sim_worker(sim, "w1");
    sim_run_ms(sim, 3000);
    /* The new owner asks what was not paid for at once, and waits for the rest. */
    assert_int_equal(sim_calls_of(sim, "default/r0/2/"), 1);
    assert_true(sim_running(old));
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 3);
    expect_all(sim, 1);
    sim_free(sim);
}

static void a_worker_that_stood_still_commits_nothing_of_what_others_have_now(void **state)
{
    struct sim *sim = world(5, 2, 50);
    (void)state;
    struct sim_process *sleeper = sim_worker(sim, "w1");
    sim_worker(sim, "w2");
    sim_run_ms(sim, 3000);
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 500});
    publish(sim, 0, 40);
    sim_run_ms(sim, 100);
    sim_freeze(sleeper, 20000);
    sim_run_ms(sim, 15000);
    assert_int_equal(sim_final_count(sim), 40);
    assert_true(sim_settle(sim));
    sim_run_ms(sim, 10000);
    assert_int_equal(sim_owned(sleeper), 1); /* it is back */
    publish(sim, 40, 80);
    assert_true(sim_settle(sim));
    expect_all(sim, 80);
    /* Only the calls that were in flight as it fell asleep may have been paid for twice. */
    assert_between(sim_call_count(sim), 80, 120);
    sim_free(sim);
}

/* It hands its first call over and is stopped before that leaves it. */
static void stop_at_call(struct sim *sim, int64_t ms)
{
    struct sim_process *sleeper = sim_worker(sim, "w1");
    sim_run_ms(sim, 1000);
    sim_freeze_at_call(sleeper, ms);
    publish(sim, 0, 1);
    sim_run_ms(sim, 500);
    assert_int_equal(sim_call_count(sim), 0);
}

static void expect_one_call_of(struct sim *sim, const char *process, int64_t from_ms, int64_t to_ms)
{
    assert_true(sim_settle(sim));
    expect_all(sim, 1);
    assert_int_equal(sim_call_count(sim), 1);
    assert_string_equal(sim_call(sim, 0)->process, process);
    assert_str(sim_call(sim, 0)->id, "default/r0/0/1"); /* what did not leave was no attempt */
    assert_between(sim_call(sim, 0)->at_ms, from_ms, to_ms);
}

static void what_stood_still_is_left_to_who_took_over(void **state)
{
    (void)state;
    for (int streams = 0; streams < 2; streams++) {
        struct sim *sim = world(12, 1, 3000);
        if (!streams)
            sim_set(sim, "models.alpha.stream", "off");
        stop_at_call(sim, 8500);
        sim_worker(sim, "w2"); /* calls when the other's session is over, and is at it for 3 s */
        expect_one_call_of(sim, "w2", 6000, 8400);
        assert_int_equal(sim_run_rows(sim), 2); /* who takes over cannot know that there was none */
        sim_free(sim);
    }
}

static void what_stood_still_and_nobody_took_over_is_begun_again(void **state)
{
    struct sim *sim = world(13, 1, 100);
    (void)state;
    stop_at_call(sim, 8000);
    expect_one_call_of(sim, "w1", 9000, 9300);
    assert_int_equal(sim_run_rows(sim), 1);
    sim_free(sim);
}

static void what_stood_still_for_a_moment_leaves(void **state)
{
    struct sim *sim = world(14, 1, 100);
    (void)state;
    stop_at_call(sim, 3000);
    expect_one_call_of(sim, "w1", 4000, 4010);
    assert_int_equal(sim_run_rows(sim), 1);
    sim_free(sim);
}

static void a_member_thrown_out_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct sim *sim = world(seed, 3, 40);
        sim_set(sim, "worker.max_in_flight", "5");
        struct sim_process *workers[] = {sim_worker(sim, "w1"), sim_worker(sim, "w2")};
        sim_run_ms(sim, 2500);
        publish(sim, 0, 60);
        for (int i = 0; i < 4; i++) {
            sim_run_ms(sim, (int64_t)sim_random(sim, 150));
            if (sim_owned(workers[i % 2]))
                sim_lose(workers[i % 2]);
        }
        assert_true(sim_settle(sim));
        expect_all(sim, 60);
        assert_int_equal(sim_call_count(sim), 60);
        sim_free(sim);
    }
}

static void a_member_thrown_out_while_it_drains_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct sim *sim = world(seed, 3, 2500);
        sim_set(sim, "worker.max_in_flight", "3");
        struct sim_process *worker = sim_worker(sim, "w1");
        publish(sim, 0, 9);
        sim_run_ms(sim, 200);
        assert_int_equal(sim_call_count(sim), 3);
        sim_rebalance(sim);
        sim_run_ms(sim, (int64_t)sim_random(sim, 900));
        sim_lose(worker);
        sim_run_ms(sim, 100);
        publish(sim, 9, 30);
        assert_true(sim_settle(sim));
        expect_all(sim, 30);
        assert_int_equal(sim_call_count(sim), 30);
        sim_free(sim);
    }
}

static void a_storm_of_rebalances_repeats_no_paid_call(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct sim *sim = world(seed, 6, 200);
        static const char *const names[] = {"w1", "w2", "w3"};
        sim_set(sim, "worker.max_in_flight", "10");
        for (int i = 0; i < 3; i++)
            sim_worker(sim, names[i]);
        publish(sim, 0, 200);
        for (int i = 0; i < 12; i++) {
            sim_run_ms(sim, 100 + (int64_t)sim_random(sim, 1000));
            sim_rebalance(sim);
        }
        assert_true(sim_settle(sim));
        expect_all(sim, 200);
        assert_int_equal(sim_call_count(sim), 200);
        sim_free(sim);
    }
}

static void sessions_keep_their_order_through_rebalances(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct sim *sim = world(seed, 4, 120);
        sim_worker(sim, "w1");
        sim_worker(sim, "w2");
        for (int i = 0; i < 60; i++)
            sim_publish(sim, (struct sim_request){.id = nth("r", i), .session = nth("s", i % 6)});
        for (int i = 0; i < 6; i++) {
            sim_run_ms(sim, (int64_t)sim_random(sim, 1500));
            sim_rebalance(sim);
        }
        assert_true(sim_settle(sim));
        expect_all(sim, 60);
        for (int i = 0; i < 60; i++)
            assert_int_equal(sim_final(sim, nth("r", i))->turn, i / 6 + 1);
        for (size_t i = 0; i < sim_call_count(sim); i++) {
            struct str id = str_slice(sim_call(sim, i)->id, strlen("default/"), 64);
            const struct sim_final *final =
                sim_final(sim, nth("r", (int)strtol(id.data + 1, NULL, 10)));
            assert_int_equal(sim_call(sim, i)->messages->count, 2 * final->turn - 1);
        }
        sim_free(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_revoke_lets_calls_under_way_end_and_begins_no_others),
        cmocka_unit_test(calls_longer_than_the_drain_are_ended_by_their_worker),
        cmocka_unit_test(a_call_that_waits_for_its_next_attempt_goes_to_the_new_owner),
        cmocka_unit_test(who_waits_for_room_among_the_calls_is_given_up_at_a_revoke),
        cmocka_unit_test(a_worker_that_stood_still_commits_nothing_of_what_others_have_now),
        cmocka_unit_test(what_stood_still_is_left_to_who_took_over),
        cmocka_unit_test(what_stood_still_and_nobody_took_over_is_begun_again),
        cmocka_unit_test(what_stood_still_for_a_moment_leaves),
        cmocka_unit_test(a_member_thrown_out_loses_nothing),
        cmocka_unit_test(a_member_thrown_out_while_it_drains_loses_nothing),
        cmocka_unit_test(a_storm_of_rebalances_repeats_no_paid_call),
        cmocka_unit_test(sessions_keep_their_order_through_rebalances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
