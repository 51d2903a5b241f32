/*
 * Goal: SIGTERM ends a worker in good order, in bounded time, and repeats nothing.
 * Method: the signal comes while calls run, pause, wait for room, for an earlier turn or the store.
 */
#include "tests/scene/scene.h"

static struct sim *world(uint64_t seed, int64_t latency_ms)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = latency_ms});
    return sim;
}

static bool ended(struct sim *sim, void *context)
{
    (void)sim;
    return !sim_running(context);
}

/* How long it took; -1: it never ended. */
static int64_t drain(struct sim *sim, struct sim_process *worker)
{
    int64_t from = sim_now_ms(sim);
    sim_term(worker);
    return sim_run_until(sim, ended, worker, 120000) ? sim_now_ms(sim) - from : -1;
}

static void a_drain_ends_its_calls_and_repeats_nothing(void **state)
{
    struct sim *sim = world(1, 400);
    (void)state;
    sim_set(sim, "worker.max_in_flight", "8");
    struct sim_process *worker = sim_worker(sim, "w1");
    for (int i = 0; i < 60; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i),
                                              .session = i % 3 ? NULL : nth("s", i % 2)});
    sim_run_ms(sim, 1000);
    assert_between(drain(sim, worker), 0, 600);
    assert_true(sim_drained(worker));
    assert_int_equal(sim_exit_code(worker), 0);
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), 60);
    assert_int_equal(sim_call_count(sim), 60);
    sim_free(sim);
}

static void an_idle_worker_leaves_at_once(void **state)
{
    struct sim *sim = world(2, 10);
    (void)state;
    struct sim_process *worker = sim_worker(sim, "w1");
    sim_run_ms(sim, 5000);
    assert_int_equal(drain(sim, worker), 0);
    worker = sim_worker(sim, "w1");
    assert_between(drain(sim, worker), 0, 10); /* before anything was assigned */
    assert_true(sim_drained(worker));
    sim_free(sim);
}

static void a_drain_with_a_stuck_provider_ends_all_the_same(void **state)
{
    struct sim *sim = world(3, 10);
    (void)state;
    sim_set(sim, "worker.drain_timeout", "5s");
    sim_provider_now(sim, "alpha", (struct sim_reply){.trouble = SIM_SILENT});
    struct sim_process *worker = sim_worker(sim, "w1");
    for (int i = 0; i < 10; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
    sim_run_ms(sim, 100);
    assert_int_equal(sim_call_count(sim), 10);
    assert_between(drain(sim, worker), 5000, 5010);
    assert_false(sim_drained(worker));
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 10});
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), 10);
    assert_int_equal(sim_call_count(sim), 20);
    sim_free(sim);
}

static void a_drain_does_not_wait_for_pauses_between_attempts(void **state)
{
    struct sim *sim = world(4, 10);
    (void)state;
    sim_provider_now(sim, "alpha",
                     (struct sim_reply){.status = 429, .headers = "Retry-After: 20\r\n"});
    struct sim_process *worker = sim_worker(sim, "w1");
    for (int i = 0; i < 10; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
    sim_run_ms(sim, 100);
    assert_int_equal(sim_call_count(sim), 10);
    assert_between(drain(sim, worker), 0, 100);
    assert_true(sim_drained(worker));
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 10});
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), 10);
    assert_true(sim_now_ms(sim) < 2000);
    sim_free(sim);
}

static void a_drain_does_not_wait_for_whoever_waits_for_room(void **state)
{
    struct sim *sim = world(5, 1000);
    (void)state;
    sim_set(sim, "worker.max_in_flight", "2");
    struct sim_process *worker = sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r0", .models = "alpha,alpha,alpha,alpha,alpha"});
    sim_publish(sim, (struct sim_request){.id = "r1", .models = "alpha,alpha,alpha"});
    sim_run_ms(sim, 100);
    assert_int_equal(sim_call_count(sim), 2);
    assert_between(drain(sim, worker), 800, 1100);
    assert_true(sim_drained(worker));
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 8);
    assert_int_equal(sim_final_count(sim), 2);
    sim_free(sim);
}

static void a_drain_ends_when_the_stores_are_away(void **state)
{
    struct sim *sim = world(6, 50);
    (void)state;
    sim_set(sim, "worker.drain_timeout", "3s");
    struct sim_process *worker = sim_worker(sim, "w1");
    for (int turn = 0; turn < 4; turn++)
        sim_publish(sim, (struct sim_request){.id = nth("r", turn), .session = "s"});
    sim_run_ms(sim, 30);
    sim_postgres_down(sim, true);
    sim_redis_down(sim, true);
    sim_run_ms(sim, 5000);
    assert_between(drain(sim, worker), 0, 3010);
    sim_postgres_down(sim, false);
    sim_redis_down(sim, false);
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), 4);
    sim_free(sim);
}

static void a_worker_may_leave_or_die_at_any_moment(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct sim *sim = world(seed, 120);
        sim_set(sim, "worker.max_in_flight", "6");
        sim_set(sim, "worker.drain_timeout", "400ms");
        sim_provider(sim, "beta",
                     (struct sim_reply){.status = 429, .headers = "Retry-After: 1\r\n"});
        sim_provider(sim, "beta", (struct sim_reply){.after_ms = 15});
        for (int i = 0; i < 30; i++)
            sim_publish(sim, (struct sim_request){.id = nth("r", i),
                                                  .models = i % 4 ? "alpha" : "beta,alpha",
                                                  .session = i % 3 ? NULL : nth("s", i % 2)});
        for (int life = 0; life < 5; life++) {
            struct sim_process *worker = sim_worker(sim, "w1");
            sim_run_ms(sim, (int64_t)sim_random(sim, 400));
            if (life == 2)
                sim_produce_fails(sim, SIM_WRITTEN_UNKNOWN, 3);
            if (sim_random(sim, 2))
                assert_true(drain(sim, worker) >= 0);
            else
                sim_kill(worker);
        }
        sim_worker(sim, "w1");
        assert_true(sim_settle(sim));
        assert_int_equal(sim_final_count(sim), 30);
        assert_false(sim_commit_went_back(sim));
        sim_free(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_drain_ends_its_calls_and_repeats_nothing),
        cmocka_unit_test(an_idle_worker_leaves_at_once),
        cmocka_unit_test(a_drain_with_a_stuck_provider_ends_all_the_same),
        cmocka_unit_test(a_drain_does_not_wait_for_pauses_between_attempts),
        cmocka_unit_test(a_drain_does_not_wait_for_whoever_waits_for_room),
        cmocka_unit_test(a_drain_ends_when_the_stores_are_away),
        cmocka_unit_test(a_worker_may_leave_or_die_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
