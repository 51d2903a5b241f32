/*
 * Goal: Redis is a hint and PostgreSQL may be away: answers stay the same, only time is lost.
 * Method: the stores go down, come back and forget at moments drawn from the seed.
 */
#include "tests/scene/scene.h"

#include <stdlib.h>

enum { REQUESTS = 40, SESSIONS = 4 };

static struct sim *world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 80});
    return sim;
}

/* Every other request is a turn of a session. */
static void publish(struct sim *sim, int from, int to)
{
    for (int i = from; i < to; i++)
        sim_publish(sim,
                    (struct sim_request){.id = nth("r", i),
                                         .input = nth("say ", i),
                                         .session = i % 2 ? nth("s", i / 2 % SESSIONS) : NULL});
}

static void expect_answers_of(struct sim *sim, struct sim *quiet)
{
    for (int i = 0; i < REQUESTS; i++) {
        const struct sim_final *final = sim_final(sim, nth("r", i));
        assert_non_null(final);
        assert_str(final->status, "done");
        assert_true(str_eq(final->text, sim_final(quiet, nth("r", i))->text));
    }
    assert_int_equal(sim_final_count(sim), REQUESTS);
    assert_int_equal(sim_dead_count(sim), 0);
}

static struct sim *quiet_world(void)
{
    struct sim *sim = world(1000);
    sim_worker(sim, "w1");
    publish(sim, 0, REQUESTS);
    assert_true(sim_settle(sim));
    return sim;
}

static void redis_may_go_come_and_forget_at_any_time(void **state)
{
    struct sim *quiet = quiet_world();
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct sim *sim = world(seed);
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS);
        for (int i = 0; i < 6; i++) {
            sim_run_ms(sim, (int64_t)sim_random(sim, 150));
            if (sim_random(sim, 3) == 0)
                sim_redis_flush(sim);
            else
                sim_redis_down(sim, sim_random(sim, 2));
        }
        assert_true(sim_settle(sim));
        expect_answers_of(sim, quiet);
        assert_int_equal(sim_call_count(sim), REQUESTS);
        sim_free(sim);
    }
    sim_free(quiet);
}

static void a_slow_redis_costs_its_time_out_and_nothing_else(void **state)
{
    struct sim *quiet = quiet_world(), *sim = world(50);
    (void)state;
    sim_redis_latency_ms(sim, 3000);
    sim_worker(sim, "w1");
    publish(sim, 0, REQUESTS);
    assert_true(sim_settle(sim));
    expect_answers_of(sim, quiet);
    assert_int_equal(sim_call_count(sim), REQUESTS);
    sim_free(sim);
    sim_free(quiet);
}

static void it_works_without_redis(void **state)
{
    struct sim *quiet = quiet_world(), *sim = world(51);
    (void)state;
    sim_set(sim, "redis.url", "");
    sim_worker(sim, "w1");
    publish(sim, 0, REQUESTS);
    assert_true(sim_settle(sim));
    expect_answers_of(sim, quiet);
    assert_int_equal(sim_call_count(sim), REQUESTS);
    assert_int_equal(sim_redis_keys(sim, "alive:"), 0);
    sim_free(sim);
    sim_free(quiet);
}

static void postgres_may_go_and_come_at_any_time(void **state)
{
    struct sim *quiet = quiet_world();
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct sim *sim = world(100 + seed);
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS);
        for (int i = 0; i < 6; i++) {
            sim_run_ms(sim, (int64_t)sim_random(sim, 300));
            sim_postgres_down(sim, sim_random(sim, 2));
        }
        sim_postgres_down(sim, false);
        assert_true(sim_settle(sim));
        expect_answers_of(sim, quiet);
        assert_int_equal(sim_call_count(sim), REQUESTS);
        sim_free(sim);
    }
    sim_free(quiet);
}

/* Fresh requests of no session go on without PostgreSQL. One lane: a partition that was never
 * committed must be asked for first, and Kafka's door reads nothing before all have begun. */
static void without_postgres_what_may_be_finished_waits_and_what_is_fresh_goes_on(void **state)
{
    struct sim *sim = world(200);
    (void)state;
    sim_set(sim, "worker.lanes", "requests");
    sim_partitions(sim, 1);
    struct sim_process *first = sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r0"});
    assert_true(sim_settle(sim));
    sim_commits_fail(sim, 1000000);
    for (int i = 1; i < 6; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
    sim_run_ms(sim, 2000);
    assert_int_equal(sim_final_count(sim), 6);
    sim_kill(first);
    sim_redis_flush(sim);
    sim_commits_fail(sim, 0);
    sim_postgres_down(sim, true);
    sim_worker(sim, "w1");
    sim_run_ms(sim, 3000);
    for (int i = 6; i < 12; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
    sim_run_ms(sim, 60000);
    assert_int_equal(sim_call_count(sim), 12);
    assert_int_equal(sim_result_count(sim), 12);
    assert_int_equal(sim_committed(sim, 0), 1);
    sim_postgres_down(sim, false);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 12);
    assert_int_equal(sim_final_count(sim), 12);
    sim_free(sim);
}

/* Nobody ever wrote to the batch lane, nor to some partitions of the other. */
static void a_worker_that_was_here_before_is_started_without_postgres_and_goes_on(void **state)
{
    struct sim *sim = world(202);
    (void)state;
    sim_partitions(sim, 4);
    struct sim_process *first = sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r0"});
    assert_true(sim_settle(sim));
    for (int32_t i = 0; i < 4; i++)
        assert_true(sim_committed(sim, i) >= 0);
    sim_kill(first);
    sim_postgres_down(sim, true);
    struct sim_process *second = sim_worker(sim, "w1");
    sim_run_ms(sim, 3000); /* what is older than it may be finished, and waits */
    for (int i = 1; i < 12; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
    sim_run_ms(sim, 20000);
    assert_int_equal(sim_call_count(sim), 12);
    assert_int_equal(sim_result_count(sim), 12);
    sim_postgres_down(sim, false);
    assert_true(sim_settle(sim));
    assert_true(sim_running(second));
    assert_int_equal(sim_final_count(sim), 12);
    assert_int_equal(sim_call_count(sim), 12);
    sim_free(sim);
}

static void a_worker_that_starts_without_any_store_begins_when_they_come(void **state)
{
    struct sim *sim = world(201);
    (void)state;
    sim_postgres_down(sim, true);
    sim_redis_down(sim, true);
    sim_kafka_down(sim, true);
    struct sim_process *worker = sim_worker(sim, "w1");
    publish(sim, 0, REQUESTS);
    sim_run_ms(sim, 90000);
    assert_int_equal(sim_call_count(sim), 0);
    assert_true(sim_running(worker));
    sim_kafka_down(sim, false);
    sim_run_ms(sim, 5000);
    sim_postgres_down(sim, false);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), REQUESTS);
    assert_int_equal(sim_call_count(sim), REQUESTS);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redis_may_go_come_and_forget_at_any_time),
        cmocka_unit_test(a_slow_redis_costs_its_time_out_and_nothing_else),
        cmocka_unit_test(it_works_without_redis),
        cmocka_unit_test(postgres_may_go_and_come_at_any_time),
        cmocka_unit_test(without_postgres_what_may_be_finished_waits_and_what_is_fresh_goes_on),
        cmocka_unit_test(a_worker_that_was_here_before_is_started_without_postgres_and_goes_on),
        cmocka_unit_test(a_worker_that_starts_without_any_store_begins_when_they_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
