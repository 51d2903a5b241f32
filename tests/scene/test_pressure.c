/*
 * Goal: what cannot be worked on yet stays in Kafka, and is taken when there is room.
 * Method: far more records than may be in flight, read ahead or parked; partitions are watched.
 */
#include "tests/scene/scene.h"

static struct sim *world(uint64_t seed, int64_t latency_ms)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = latency_ms});
    return sim;
}

static bool is_paused(struct sim *sim, void *context)
{
    (void)sim;
    return sim_paused(context) > 0;
}

static bool is_not_paused(struct sim *sim, void *context)
{
    return !is_paused(sim, context);
}

/* Pauses at least once, goes on, and answers everything once. */
static void expect_pause_and_end(struct sim *sim, int count)
{
    struct sim_process *worker = sim_worker(sim, "w1");
    assert_true(sim_run_until(sim, is_paused, worker, 60000));
    assert_true(sim_run_until(sim, is_not_paused, worker, 600000));
    assert_true(sim_settle(sim));
    assert_int_equal(sim_paused(worker), 0);
    assert_int_equal(sim_final_count(sim), count);
    assert_int_equal(sim_call_count(sim), count);
}

static void a_full_backlog_pauses_its_partitions_and_reading_goes_on_later(void **state)
{
    struct sim *sim = world(1, 20);
    (void)state;
    sim_set(sim, "worker.max_in_flight", "20");
    sim_set(sim, "worker.read_ahead", "40");
    sim_set(sim, "worker.stubs_max", "100");
    for (int i = 0; i < 1500; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
    expect_pause_and_end(sim, 1500);
    assert_int_equal(sim_calls_at_once_max(sim), 20);
    sim_free(sim);
}

static void large_records_pause_by_their_bytes(void **state)
{
    static char text[20001];
    struct sim *sim = world(2, 200);
    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    sim_set(sim, "worker.max_in_flight", "3");
    sim_set(sim, "worker.read_ahead_bytes", "64KiB");
    sim_set(sim, "worker.stubs_max", "10");
    for (int i = 0; i < 60; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i), .input = text});
    expect_pause_and_end(sim, 60);
    sim_free(sim);
}

static void turns_that_wait_for_earlier_ones_hold_up_nobody_but_their_tenant(void **state)
{
    struct sim *sim = world(3, 100);
    (void)state;
    sim_set(sim, "worker.parked_max", "10");
    struct sim_process *worker = sim_worker(sim, "w1");
    for (int i = 0; i < 40; i++)
        sim_publish(sim, (struct sim_request){.id = nth("t", i), .session = "s"});
    sim_run_ms(sim, 50);
    assert_between(sim_records_held(worker), 11, 40);
    for (int i = 0; i < 100; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i), .tenant = "other"});
    sim_run_ms(sim, 400);
    for (int i = 0; i < 100; i++)
        assert_non_null(sim_final_of(sim, "other", nth("r", i)));
    assert_null(sim_final(sim, "t10"));
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), 140);
    assert_int_equal(sim_final(sim, "t39")->turn, 40);
    sim_free(sim);
}

static void the_interactive_lane_goes_before_the_batch_lane_but_for_its_floor(void **state)
{
    struct sim *sim = world(4, 50);
    int64_t last_urgent = 0;
    (void)state;
    sim_set(sim, "worker.max_in_flight", "5");
    for (int i = 0; i < 100; i++)
        sim_publish(sim, (struct sim_request){.id = nth("b", i), .topic = "quern.requests.batch"});
    sim_worker(sim, "w1");
    sim_run_ms(sim, 200);
    for (int i = 0; i < 50; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), 150);
    for (int i = 0; i < 50; i++) {
        int64_t stored = sim_final(sim, nth("r", i))->stored_ms;
        last_urgent = stored > last_urgent ? stored : last_urgent;
    }
    /* But for the floor that the batch lane has: a tenth. */
    assert_true(last_urgent < 200 + 60 / 5 * 50 + 200);
    int meanwhile = 0;
    for (int i = 0; i < 100; i++) {
        int64_t stored = sim_final(sim, nth("b", i))->stored_ms;
        meanwhile += stored > 350 && stored < last_urgent;
    }
    assert_between(meanwhile, 3, 10);
    sim_free(sim);
}

static void a_pause_outlives_no_rebalance(void **state)
{
    struct sim *sim = world(5, 30);
    (void)state;
    sim_set(sim, "worker.max_in_flight", "4");
    sim_set(sim, "worker.read_ahead", "8");
    sim_set(sim, "worker.stubs_max", "20");
    for (int i = 0; i < 400; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
    struct sim_process *worker = sim_worker(sim, "w1");
    assert_true(sim_run_until(sim, is_paused, worker, 60000));
    sim_rebalance(sim);
    sim_run_ms(sim, 50);
    sim_worker(sim, "w2");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), 400);
    assert_int_equal(sim_call_count(sim), 400);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_backlog_pauses_its_partitions_and_reading_goes_on_later),
        cmocka_unit_test(large_records_pause_by_their_bytes),
        cmocka_unit_test(turns_that_wait_for_earlier_ones_hold_up_nobody_but_their_tenant),
        cmocka_unit_test(the_interactive_lane_goes_before_the_batch_lane_but_for_its_floor),
        cmocka_unit_test(a_pause_outlives_no_rebalance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
