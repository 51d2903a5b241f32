/*
 * Goal: what is finished, kept or under way is recognised; nothing is paid for twice without need.
 * Method: workers die and come back at chosen moments; the ledger counts the calls.
 */
#include "tests/scene/scene.h"

static struct sim *world(uint64_t seed, int64_t latency_ms)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_partitions(sim, 1);
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = latency_ms});
    return sim;
}

static bool called(struct sim *sim, void *context)
{
    return sim_call_count(sim) >= *(const size_t *)context;
}

static void run_until_calls(struct sim *sim, size_t count)
{
    assert_true(sim_run_until(sim, called, &count, 60000));
}

static void an_answer_kept_before_a_death_is_produced_and_not_asked_again(void **state)
{
    static const char *const back[] = {"w1", "w2"}; /* the same instance, or another one */
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct sim *sim = world(1 + i, 20);
        sim_produce_fails(sim, SIM_NOT_WRITTEN, 1000000);
        struct sim_process *first = sim_worker(sim, "w1");
        sim_publish(sim, (struct sim_request){.id = "r1"});
        sim_run_ms(sim, 500);
        assert_int_equal(sim_call_count(sim), 1);
        assert_int_equal(sim_redis_keys(sim, ":kept"), 1);
        assert_int_equal(sim_result_count(sim), 0);
        sim_kill(first);
        sim_produce_fails(sim, SIM_NOT_WRITTEN, 0);
        sim_worker(sim, back[i]);
        assert_true(sim_settle(sim));
        assert_int_equal(sim_call_count(sim), 1);
        assert_int_equal(sim_parts_of(sim, "r1"), 1);
        assert_str(sim_final(sim, "r1")->status, "done");
        assert_int_equal(sim_redis_keys(sim, ":kept"), 0);
        sim_free(sim);
    }
}

static void who_takes_over_waits_for_the_living_worker_that_is_at_it(void **state)
{
    struct sim *sim = world(3, 5000);
    (void)state;
    sim_worker(sim, "w2");
    sim_publish(sim, (struct sim_request){.id = "r1"});
    run_until_calls(sim, 1);
    struct sim_process *next = sim_worker(sim, "w1"); /* the only partition goes to it */
    sim_run_ms(sim, 4000);
    assert_int_equal(sim_owned(next), 1);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 1);
    assert_int_equal(sim_parts_of(sim, "r1"), 1);
    assert_true(sim_final(sim, "r1")->stored_ms < 5500);
    sim_free(sim);
}

static void a_dead_workers_claim_is_taken_over(void **state)
{
    struct sim *sim = world(4, 2000);
    (void)state;
    struct sim_process *first = sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1"});
    run_until_calls(sim, 1);
    sim_kill(first);
    int64_t killed_ms = sim_now_ms(sim);
    sim_worker(sim, "w2");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 2);
    assert_int_equal(sim_parts_of(sim, "r1"), 1);
    /* Its session was over after 6 s, its sign of life about as early. */
    assert_between(sim_call(sim, 1)->at_ms - killed_ms, 5900, 7000);
    sim_free(sim);
}

static void a_restarted_worker_does_not_wait_for_its_earlier_life(void **state)
{
    struct sim *sim = world(5, 2000);
    (void)state;
    struct sim_process *first = sim_worker(sim, "w1");
    for (int i = 0; i < 20; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
    run_until_calls(sim, 20);
    sim_kill(first);
    int64_t killed_ms = sim_now_ms(sim);
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 40);
    assert_int_equal(sim_final_count(sim), 20);
    assert_true(sim_call(sim, 20)->at_ms - killed_ms < 200);
    for (size_t i = 0; i < 20; i++) /* the provider can tell that it is the same call */
        assert_int_equal(sim_calls_of(sim, sim_call(sim, i)->id.data), 2);
    sim_free(sim);
}

static void kept_bytes_of_somebody_else_are_not_used(void **state)
{
    struct sim *sim = world(6, 20);
    (void)state;
    static const char *const get[] = {"GET", "quern:call:{a:r1}:0:kept", NULL};
    sim_produce_fails(sim, SIM_NOT_WRITTEN, 1000000);
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1", .tenant = "a", .input = "secret of a"});
    sim_run_ms(sim, 300);
    struct str theirs = sim_redis(sim, get);
    assert_true(theirs.len > 0);
    sim_redis_set(sim, "quern:call:{b:r1}:0:kept", theirs);
    sim_redis_set(sim, "quern:call:{b:r2}:0:kept", str_slice(theirs, 0, theirs.len / 2));
    sim_redis_set(sim, "quern:call:{b:r3}:0:kept", STR("garbage"));
    sim_redis_set(sim, "quern:call:{b:r4}:0:kept", STR(""));
    sim_produce_fails(sim, SIM_NOT_WRITTEN, 0);
    for (int i = 1; i <= 4; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i), .tenant = "b"});
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 5);
    for (int i = 1; i <= 4; i++) {
        const struct sim_final *final = sim_final_of(sim, "b", nth("r", i));
        assert_non_null(final);
        assert_str(final->status, "done");
        assert_false(str_eq(final->text, sim_final_of(sim, "a", "r1")->text));
    }
    sim_free(sim);
}

/* Who was taken for dead, and only slept, is no holder when the one that took over lets go. */
static void who_only_slept_is_not_waited_for(void **state)
{
    struct sim *sim = world(12, 100);
    (void)state;
    sim_set(sim, "models.alpha.requests_per_minute", "1");
    struct sim_process *sleeper = sim_worker(sim, "w2");
    sim_run_ms(sim, 500);
    sim_publish(sim, (struct sim_request){.id = "r1"});
    sim_publish(sim, (struct sim_request){.id = "r2"}); /* claimed, and waits at the limit */
    run_until_calls(sim, 1);
    sim_run_ms(sim, 50);
    sim_freeze(sleeper, 9000);
    sim_worker(sim, "w1");
    sim_run_ms(sim, 15000);
    sim_rebalance(sim); /* w1 gives the claim back, and has the partition again */
    assert_true(sim_settle(sim));
    assert_str(sim_final(sim, "r2")->status, "done");
    assert_true(sim_final(sim, "r2")->stored_ms < 150000);
    assert_int_equal(sim_call_count(sim), 2);
    sim_free(sim);
}

/* The answer came to who had been taken for dead, while who took over waited for a place, and
 * slept. */
static void who_takes_over_and_waits_looks_again_before_it_calls(void **state)
{
    struct sim *sim = world(13, 100);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 900});
    sim_set(sim, "models.alpha.concurrency_max", "1");
    struct sim_process *sleeper = sim_worker(sim, "w2");
    sim_run_ms(sim, 500);
    sim_publish(sim, (struct sim_request){.id = "r1"});
    run_until_calls(sim, 1);
    sim_stop(sleeper);
    sim_publish(sim, (struct sim_request){.id = "r2"});
    struct sim_process *next = sim_worker(sim, "w1");
    run_until_calls(sim, 2); /* of r2; w1 has the claim on r1, too */
    sim_run_ms(sim, 10);
    sim_continue(sleeper);
    sim_freeze(next, 1500);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_calls_of(sim, "default/r1/"), 1);
    assert_int_equal(sim_calls_of(sim, "default/r2/"), 1);
    assert_str(sim_final(sim, "r1")->status, "done");
    sim_free(sim);
}

static void a_claim_nobody_understands_is_as_good_as_dead(void **state)
{
    struct sim *sim = world(7, 20);
    (void)state;
    sim_redis_set(sim, "quern:call:{default:r1}:0", STR("nonsense"));
    sim_redis_set(sim, "quern:call:{default:r2}:0", STR(""));
    sim_redis_set(sim, "quern:call:{default:r3}:0", STR("w9 17"));
    sim_worker(sim, "w1");
    for (int i = 1; i <= 3; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 3);
    assert_true(sim_now_ms(sim) < 2000);
    sim_free(sim);
}

static void the_same_request_again_is_not_asked_again(void **state)
{
    static const int64_t pauses_ms[] = {0, 5, 30, 60, 2000, 900000};
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        struct sim *sim = world(10 + i, 40);
        sim_worker(sim, "w1");
        for (int k = 0; k < 3; k++) {
            sim_publish(sim, (struct sim_request){.id = "r1"});
            sim_run_ms(sim, pauses_ms[i]);
        }
        assert_true(sim_settle(sim));
        sim_run_ms(sim, 100);
        assert_int_equal(sim_call_count(sim), 1);
        assert_int_equal(sim_dead_count(sim), 0);
        assert_str(sim_final(sim, "r1")->status, "done");
        assert_between(sim_final(sim, "r1")->repeats, i < 2 ? 0 : 1, 2);
        sim_free(sim);
    }
}

static void finished_requests_read_again_are_not_asked_again(void **state)
{
    (void)state;
    for (int flushed = 0; flushed < 2; flushed++) {
        struct sim *sim = world(20 + (uint64_t)flushed, 30);
        struct sim_process *first = sim_worker(sim, "w1");
        sim_publish(sim, (struct sim_request){.id = "r0"});
        assert_true(sim_settle(sim));
        sim_commits_fail(sim, 1000000);
        for (int i = 1; i < 50; i++)
            sim_publish(sim, (struct sim_request){.id = nth("r", i),
                                                  .session = i % 5 ? NULL : nth("s", i % 10)});
        sim_run_ms(sim, 5000);
        assert_int_equal(sim_final_count(sim), 50);
        sim_kill(first);
        sim_commits_fail(sim, 0);
        if (flushed)
            sim_redis_flush(sim);
        sim_worker(sim, "w1");
        assert_true(sim_settle(sim));
        assert_int_equal(sim_call_count(sim), 50);
        assert_int_equal(sim_final_count(sim), 50);
        sim_free(sim);
    }
}

static void of_several_models_only_the_missing_ones_are_asked_again(void **state)
{
    struct sim *sim = world(30, 20);
    (void)state;
    sim_provider(sim, "beta", (struct sim_reply){.after_ms = 3000});
    struct sim_process *first = sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1", .models = "alpha,beta"});
    sim_run_ms(sim, 1000);
    assert_int_equal(sim_result_count(sim), 1);
    sim_kill(first);
    sim_redis_flush(sim);
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_calls_of(sim, "default/r1/0/"), 1);
    assert_int_equal(sim_calls_of(sim, "default/r1/1/"), 2);
    assert_str(sim_final(sim, "r1")->status, "done");
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_kept_before_a_death_is_produced_and_not_asked_again),
        cmocka_unit_test(who_takes_over_waits_for_the_living_worker_that_is_at_it),
        cmocka_unit_test(a_dead_workers_claim_is_taken_over),
        cmocka_unit_test(a_restarted_worker_does_not_wait_for_its_earlier_life),
        cmocka_unit_test(kept_bytes_of_somebody_else_are_not_used),
        cmocka_unit_test(who_only_slept_is_not_waited_for),
        cmocka_unit_test(who_takes_over_and_waits_looks_again_before_it_calls),
        cmocka_unit_test(a_claim_nobody_understands_is_as_good_as_dead),
        cmocka_unit_test(the_same_request_again_is_not_asked_again),
        cmocka_unit_test(finished_requests_read_again_are_not_asked_again),
        cmocka_unit_test(of_several_models_only_the_missing_ones_are_asked_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
