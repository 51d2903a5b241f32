/*
 * Goal: no more money is spent than a budget allows, by the whole fleet, whatever Redis forgets;
 * and nearly all of it. Method: real workers and an aggregator; each call costs ten tokens in and
 * five out, so that with the prices here a call is 1,000 millionths of a dollar.
 */
#include "tests/scene/scene.h"

enum { CALL_MICROUSD = 1000 };

static struct sim *world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 30});
    sim_set(sim, "models.alpha.price_input", "50");
    sim_set(sim, "models.alpha.price_output", "100");
    sim_set(sim, "models.alpha.max_tokens", "5"); /* so the estimate is near */
    return sim;
}

static void publish(struct sim *sim, const char *prefix, int from, int to, const char *tenant)
{
    for (int i = from; i < to; i++)
        sim_publish(sim, (struct sim_request){.id = nth(prefix, i), .tenant = tenant});
}

static int64_t cost_of(struct sim *sim, const char *tenant)
{
    int64_t cost = 0;
    for (size_t i = 0; i < sim_usage_rows(sim); i++)
        if (!tenant || str_is(sim_usage_row(sim, i)->tenant, tenant))
            cost += sim_usage_row(sim, i)->cost_microusd;
    return cost;
}

/* How many of the requests ended so: "done", "failed". */
static size_t ended(struct sim *sim, const char *prefix, int to, const char *tenant,
                    const char *status)
{
    size_t count = 0;
    for (int i = 0; i < to; i++) {
        const struct sim_final *final = sim_final_of(sim, tenant, nth(prefix, i));
        assert_non_null(final);
        count += str_is(final->status, status);
    }
    return count;
}

static void no_more_is_spent_than_there_is_and_nearly_all_of_it(void **state)
{
    (void)state;
    struct sim *sim = world(1);
    sim_set(sim, "tenants.acme.budget_day", "0.1"); /* a hundred calls */
    sim_worker(sim, "w1");
    sim_worker(sim, "w2");
    sim_worker(sim, "w3");
    sim_run_ms(sim, 5000);
    for (int i = 0; i < 150; i++) {
        publish(sim, "a", i, i + 1, "acme");
        publish(sim, "o", i, i + 1, "other");
        sim_run_ms(sim, 100);
    }
    assert_true(sim_settle(sim));
    assert_in_range(cost_of(sim, "acme"), 90 * CALL_MICROUSD, 100 * CALL_MICROUSD);
    assert_int_equal(cost_of(sim, "other"), 150 * CALL_MICROUSD);
    assert_int_equal(ended(sim, "a", 150, "acme", "done") * CALL_MICROUSD, cost_of(sim, "acme"));
    assert_int_equal(ended(sim, "o", 150, "other", "done"), 150);
    sim_free(sim);
}

static void who_is_refused_is_told_which_budget_and_when_it_begins_anew(void **state)
{
    (void)state;
    struct sim *sim = world(2);
    sim_set(sim, "tenants.acme.budget_day", "0.002");
    sim_worker(sim, "w1");
    publish(sim, "a", 0, 4, "acme");
    sim_run_ms(sim, 20000);
    int64_t began_ms = sim_now_ms(sim);
    sim_publish(sim, (struct sim_request){.id = "late", .tenant = "acme"});
    assert_true(sim_settle(sim));
    assert_true(sim_now_ms(sim) < began_ms + 20000); /* no wait until tomorrow */
    assert_str(sim_final_of(sim, "acme", "late")->status, "failed");
    const struct result *part = sim_part(sim, "late", 0);
    assert_str(part->error.code, "budget_exhausted");
    assert_non_null(strstr(part->error.message.data, "'budget_day' of tenant 'acme'"));
    assert_non_null(strstr(part->error.message.data, "2023-11-15T00:00:00Z"));
    assert_int_equal(sim_calls_of(sim, "acme/late"), 0);
    sim_free(sim);
}

static void a_new_day_brings_a_new_budget_and_the_month_goes_on(void **state)
{
    (void)state;
    struct sim *sim = world(3);
    sim_set(sim, "tenants.acme.budget_day", "0.01");
    sim_set(sim, "tenants.acme.budget_month", "0.015");
    sim_worker(sim, "w1");
    publish(sim, "a", 0, 20, "acme");
    assert_true(sim_settle(sim));
    assert_in_range(cost_of(sim, "acme"), 9 * CALL_MICROUSD, 10 * CALL_MICROUSD);
    sim_run_ms(sim, 6500 * 1000); /* over midnight */
    publish(sim, "b", 0, 20, "acme");
    assert_true(sim_settle(sim));
    assert_in_range(cost_of(sim, "acme"), 14 * CALL_MICROUSD, 15 * CALL_MICROUSD);
    sim_free(sim);
}

/* Entries of one key share its budget; the provider's key is a hash here. */
static void a_key_has_a_budget_of_its_own(void **state)
{
    (void)state;
    struct sim *sim = world(4);
    sim_set(sim, "models.alpha.budget_day", "0.02");
    sim_worker(sim, "w1");
    sim_worker(sim, "w2");
    publish(sim, "a", 0, 20, "acme");
    publish(sim, "o", 0, 20, "other");
    assert_true(sim_settle(sim));
    assert_in_range(cost_of(sim, NULL), 18 * CALL_MICROUSD, 20 * CALL_MICROUSD);
    sim_free(sim);
}

static void what_was_spent_survives_a_redis_that_forgets(void **state)
{
    (void)state;
    struct sim *sim = world(5);
    sim_set(sim, "tenants.acme.budget_day", "0.05");
    sim_worker(sim, "w1");
    sim_worker(sim, "w2");
    publish(sim, "a", 0, 30, "acme");
    sim_run_ms(sim, 120000);
    sim_redis_flush(sim);
    publish(sim, "b", 0, 30, "acme");
    sim_run_ms(sim, 120000);
    assert_true(sim_settle(sim));
    assert_in_range(cost_of(sim, "acme"), 44 * CALL_MICROUSD, 50 * CALL_MICROUSD);
    sim_free(sim);
}

static void what_was_spent_survives_a_fleet_that_begins_anew(void **state)
{
    (void)state;
    struct sim *sim = world(6);
    sim_set(sim, "tenants.acme.budget_month", "0.05");
    sim_set(sim, "models.alpha.budget_month", "0.08");
    struct sim_process *worker = sim_worker(sim, "w1");
    publish(sim, "a", 0, 30, "acme");
    publish(sim, "o", 0, 30, "other");
    assert_true(sim_settle(sim));
    sim_kill(worker);
    sim_redis_flush(sim);
    sim_worker(sim, "w1");
    publish(sim, "b", 0, 30, "acme");
    publish(sim, "p", 0, 30, "other");
    assert_true(sim_settle(sim));
    assert_true(cost_of(sim, "acme") <= 50 * CALL_MICROUSD);
    assert_in_range(cost_of(sim, NULL), 75 * CALL_MICROUSD, 80 * CALL_MICROUSD);
    sim_free(sim);
}

/* Each lends itself its part of what the store says is left. */
static void without_redis_no_more_is_spent_either(void **state)
{
    (void)state;
    struct sim *sim = world(7);
    sim_set(sim, "tenants.acme.budget_day", "0.1");
    sim_worker(sim, "w1");
    sim_worker(sim, "w2");
    publish(sim, "a", 0, 40, "acme");
    sim_run_ms(sim, 80000);
    sim_redis_down(sim, true);
    publish(sim, "b", 0, 100, "acme");
    sim_run_ms(sim, 100000);
    assert_in_range(sim_call_count(sim), 80, 100);
    sim_redis_down(sim, false);
    assert_true(sim_settle(sim));
    assert_in_range(cost_of(sim, "acme"), 85 * CALL_MICROUSD, 100 * CALL_MICROUSD);
    sim_free(sim);
}

static void calls_without_a_price_cost_nothing(void **state)
{
    (void)state;
    struct sim *sim = world(8);
    sim_provider(sim, "beta", (struct sim_reply){.after_ms = 30});
    sim_set(sim, "tenants.acme.budget_day", "0.001");
    sim_worker(sim, "w1");
    for (int i = 0; i < 20; i++)
        sim_publish(sim,
                    (struct sim_request){.id = nth("a", i), .tenant = "acme", .models = "beta"});
    assert_true(sim_settle(sim));
    assert_int_equal(ended(sim, "a", 20, "acme", "done"), 20);
    sim_free(sim);
}

/* Who made us ask what was spent has gone when the store answers. */
static void a_budget_is_kept_while_the_store_is_asked_for_it(void **state)
{
    (void)state;
    for (int64_t left_ms = 1; left_ms < 12; left_ms++) {
        struct sim *sim = world(20 + (uint64_t)left_ms);
        sim_set(sim, "tenants.default.budget_day", "1");
        sim_set(sim, "tenants.default.budget_month", "1");
        sim_worker(sim, "w1");
        sim_run_ms(sim, 1000);
        for (int i = 0; i < 20; i++) {
            char tenant[16];
            snprintf(tenant, sizeof(tenant), "t%d", i % 5);
            sim_publish(sim, (struct sim_request){.id = nth("r", i),
                                                  .tenant = tenant,
                                                  .deadline_ms = i < 5 ? left_ms : 60000});
            sim_run_ms(sim, 50);
        }
        assert_true(sim_settle(sim));
        assert_in_range(cost_of(sim, NULL), 15 * CALL_MICROUSD, 20 * CALL_MICROUSD);
        sim_free(sim);
    }
}

/* A tenth of a millionth of a dollar is little, and not none. */
static void a_budget_below_all_prices_lets_nobody_in(void **state)
{
    (void)state;
    struct sim *sim = world(30);
    sim_set(sim, "tenants.acme.budget_day", "0.0000001");
    sim_worker(sim, "w1");
    publish(sim, "a", 0, 3, "acme");
    assert_true(sim_settle(sim));
    assert_int_equal(ended(sim, "a", 3, "acme", "failed"), 3);
    assert_int_equal(sim_call_count(sim), 0);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_more_is_spent_than_there_is_and_nearly_all_of_it),
        cmocka_unit_test(who_is_refused_is_told_which_budget_and_when_it_begins_anew),
        cmocka_unit_test(a_new_day_brings_a_new_budget_and_the_month_goes_on),
        cmocka_unit_test(a_key_has_a_budget_of_its_own),
        cmocka_unit_test(what_was_spent_survives_a_redis_that_forgets),
        cmocka_unit_test(what_was_spent_survives_a_fleet_that_begins_anew),
        cmocka_unit_test(without_redis_no_more_is_spent_either),
        cmocka_unit_test(a_budget_is_kept_while_the_store_is_asked_for_it),
        cmocka_unit_test(calls_without_a_price_cost_nothing),
        cmocka_unit_test(a_budget_below_all_prices_lets_nobody_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
