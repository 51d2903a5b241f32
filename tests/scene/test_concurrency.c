/*
 * Goal: no more calls of a model at once in a process than its setting says, fewer while the
 * provider is overloaded, and nobody waits for ever.
 * Method: a real worker; the provider's ledger says when each call came and ended.
 */
#include "tests/scene/scene.h"

static void publish(struct sim *sim, int count)
{
    for (int i = 0; i < count; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
}

/* The most calls at once of those that came at or after that moment. */
static size_t most_at_once(struct sim *sim, int64_t from_ms)
{
    size_t most = 0;
    for (size_t i = 0; i < sim_call_count(sim); i++) {
        size_t at_once = 0;
        int64_t at_ms = sim_call(sim, i)->at_ms;
        for (size_t k = 0; k <= i; k++)
            at_once += sim_call(sim, k)->end_ms > at_ms;
        if (at_ms >= from_ms && at_once > most)
            most = at_once;
    }
    return most;
}

static void no_more_calls_at_once_than_the_model_may_have(void **state)
{
    (void)state;
    struct sim *sim = sim_new(1);
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 500});
    sim_set(sim, "models.alpha.concurrency_max", "4");
    sim_worker(sim, "w1");
    sim_run_ms(sim, 2000);
    int64_t began_ms = sim_now_ms(sim);
    publish(sim, 40);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 40);
    assert_int_equal(most_at_once(sim, 0), 4);
    assert_true(sim_call(sim, 39)->end_ms < began_ms + 7000); /* ten rounds, nearly without gaps */
    sim_free(sim);
}

static void an_overloaded_provider_gets_fewer_at_once(void **state)
{
    (void)state;
    struct sim *sim = sim_new(2);
    sim_set(sim, "default_model", "alpha");
    for (int i = 0; i < 3; i++) /* of the first crowd, and of the next */
        sim_provider(sim, "alpha", (struct sim_reply){.status = 503, .after_ms = 500});
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 500});
    sim_set(sim, "models.alpha.concurrency_max", "20");
    sim_set(sim, "models.alpha.concurrency_min", "3");
    sim_worker(sim, "w1");
    sim_run_ms(sim, 2000);
    publish(sim, 60);
    sim_run_ms(sim, 600);
    assert_int_equal(most_at_once(sim, 0), 20);
    assert_true(sim_settle(sim));
    assert_true(most_at_once(sim, sim_call(sim, 0)->end_ms + 450) <= 16);
    assert_int_equal(sim_final_count(sim), 60);
    sim_free(sim);
}

/* With a rate limit and a gate on the way: whoever waits for one gives the room to another. */
static void who_waits_elsewhere_takes_no_room(void **state)
{
    (void)state;
    struct sim *sim = sim_new(3);
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 200});
    sim_set(sim, "models.alpha.concurrency_max", "2");
    sim_set(sim, "tenants.acme.requests_per_minute", "5");
    sim_worker(sim, "w1");
    for (int i = 0; i < 20; i++)
        sim_publish(sim, (struct sim_request){.id = nth("a", i), .tenant = "acme"});
    publish(sim, 60);
    sim_run_ms(sim, 15000);
    assert_int_equal(sim_call_count(sim), 65);
    assert_int_equal(most_at_once(sim, 0), 2);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 80);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_more_calls_at_once_than_the_model_may_have),
        cmocka_unit_test(an_overloaded_provider_gets_fewer_at_once),
        cmocka_unit_test(who_waits_elsewhere_takes_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
