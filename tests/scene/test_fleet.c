/*
 * Goal: what the fleet may do together is not multiplied by the number of its processes.
 * Method: several workers, a provider that refuses everything, and its ledger.
 */
#include "tests/scene/scene.h"

#include "common/app/metrics.h"

static void publish_many(struct sim *sim, int count, int64_t over_ms)
{
    for (int i = 0; i < count; i++) {
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
        sim_run_ms(sim, over_ms / count);
    }
}

/* The breaker is off, so that nothing but the budget stands between. */
static void retries_that_nobody_has_paid_for_are_ten_a_second_of_the_whole_fleet(void **state)
{
    enum { REQUESTS = 800, SHARE = REQUESTS / 5 };
    static const char *const names[] = {"w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"};
    static const int fleets[] = {1, 4, 8};
    (void)state;
    for (size_t f = 0; f < sizeof(fleets) / sizeof(fleets[0]); f++) {
        struct sim *sim = sim_new(70 + f);
        sim_set(sim, "default_model", "alpha");
        sim_set(sim, "models.alpha.breaker_failures", "0");
        sim_provider(sim, "alpha", (struct sim_reply){.status = 500, .after_ms = 20});
        for (int i = 0; i < fleets[f]; i++)
            sim_worker(sim, names[i]);
        sim_run_ms(sim, 8000); /* they have their partitions, and know how many they are */
        int64_t began_ms = sim_now_ms(sim);
        publish_many(sim, REQUESTS, 5600);
        sim_run_ms(sim, 4400);
        int64_t seconds = (sim_now_ms(sim) - began_ms) / 1000;
        size_t floor = (size_t)seconds * 10;
        assert_between(sim_call_count(sim), REQUESTS + SHARE * 9 / 10,
                       REQUESTS + SHARE + floor + 10 + (size_t)fleets[f]);
        sim_free(sim);
    }
}

static void who_has_left_is_not_counted(void **state)
{
    struct sim *sim = sim_new(75);
    (void)state;
    metric_reset_all();
    sim_provider(sim, "alpha", (struct sim_reply){0});
    sim_worker(sim, "w1");
    struct sim_process *leaves = sim_worker(sim, "w2"), *dies = sim_worker(sim, "w3");
    sim_run_ms(sim, 5000);
    assert_int_equal(metric_get(METRIC_workers), 3);
    sim_term(leaves);
    sim_run_ms(sim, 3000); /* its word would have held for longer */
    assert_int_equal(metric_get(METRIC_workers), 2);
    sim_kill(dies);
    sim_run_ms(sim, 9000);
    assert_int_equal(metric_get(METRIC_workers), 1);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retries_that_nobody_has_paid_for_are_ten_a_second_of_the_whole_fleet),
        cmocka_unit_test(who_has_left_is_not_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
