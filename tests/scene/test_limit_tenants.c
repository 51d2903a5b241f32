/*
 * Goal: tenants and users have limits of their own, a call takes from all that hold for it or from
 * none, and who has none costs nothing.
 * Method: real workers over the simulated Redis; the provider's ledger says when each call came.
 */
#include "tests/scene/scene.h"

enum { WINDOW_MS = 60000 };

static struct sim *world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 30});
    return sim;
}

static void publish(struct sim *sim, const char *prefix, int from, int to, const char *tenant,
                    const char *user)
{
    for (int i = from; i < to; i++)
        sim_publish(sim,
                    (struct sim_request){.id = nth(prefix, i), .tenant = tenant, .user = user});
}

/* The most calls whose id begins so that came within any minute. */
static size_t most_a_minute(struct sim *sim, const char *begins)
{
    size_t first = 0, inside = 0, most = 0;
    for (size_t i = 0; i < sim_call_count(sim); i++) {
        inside += str_starts(sim_call(sim, i)->id, str_of(begins));
        for (; sim_call(sim, first)->at_ms <= sim_call(sim, i)->at_ms - WINDOW_MS; first++)
            inside -= str_starts(sim_call(sim, first)->id, str_of(begins));
        most = inside > most ? inside : most;
    }
    return most;
}

static size_t calls_of(struct sim *sim, const char *begins)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_call_count(sim); i++)
        count += str_starts(sim_call(sim, i)->id, str_of(begins));
    return count;
}

static void a_tenant_waits_at_its_own_limit_and_others_do_not(void **state)
{
    (void)state;
    struct sim *sim = world(1);
    sim_set(sim, "tenants.acme.requests_per_minute", "30");
    sim_worker(sim, "w1");
    sim_worker(sim, "w2");
    sim_run_ms(sim, 5000);
    publish(sim, "a", 0, 80, "acme", NULL);
    publish(sim, "o", 0, 80, "other", NULL);
    sim_run_ms(sim, 10000);
    assert_int_equal(calls_of(sim, "other/"), 80);
    assert_int_equal(calls_of(sim, "acme/"), 30);
    assert_true(sim_settle(sim));
    assert_int_equal(calls_of(sim, "acme/"), 80);
    assert_int_equal(most_a_minute(sim, "acme/"), 30);
    assert_true(sim_now_ms(sim) < 5000 + 3 * WINDOW_MS + 10000);
    sim_free(sim);
}

static void tenants_without_an_item_have_the_default_each(void **state)
{
    (void)state;
    struct sim *sim = world(2);
    sim_set(sim, "tenants.default.requests_per_minute", "10");
    sim_set(sim, "tenants.big.requests_per_minute", "50");
    sim_worker(sim, "w1");
    publish(sim, "x", 0, 15, "one", NULL);
    publish(sim, "y", 0, 15, "two", NULL);
    publish(sim, "z", 0, 55, "big", NULL);
    sim_run_ms(sim, 20000);
    assert_int_equal(calls_of(sim, "one/"), 10);
    assert_int_equal(calls_of(sim, "two/"), 10);
    assert_int_equal(calls_of(sim, "big/"), 50);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 85);
    sim_free(sim);
}

static void users_have_limits_of_their_own_within_their_tenant(void **state)
{
    (void)state;
    struct sim *sim = world(3);
    sim_set(sim, "tenants.acme.user_requests_per_minute", "5");
    sim_set(sim, "tenants.acme.requests_per_minute", "12");
    sim_worker(sim, "w1");
    publish(sim, "ann", 0, 8, "acme", "ann");
    publish(sim, "bob", 0, 8, "acme", "bob");
    publish(sim, "cyd", 0, 8, "acme", "cyd");
    publish(sim, "ann", 10, 30, "other", "ann"); /* another tenant's ann */
    sim_run_ms(sim, 20000);
    assert_true(calls_of(sim, "acme/ann") <= 5);
    assert_true(calls_of(sim, "acme/bob") <= 5);
    assert_int_equal(calls_of(sim, "acme/"), 12);
    assert_int_equal(calls_of(sim, "other/"), 20);
    assert_true(sim_settle(sim));
    assert_int_equal(calls_of(sim, "acme/"), 24);
    assert_true(most_a_minute(sim, "acme/ann") <= 5);
    assert_true(most_a_minute(sim, "acme/cyd") <= 5);
    assert_true(most_a_minute(sim, "acme/") <= 12);
    sim_free(sim);
}

/* Who waits for its tenant keeps nothing of the model's limit. */
static void what_one_limit_refuses_takes_nothing_from_another(void **state)
{
    (void)state;
    struct sim *sim = world(4);
    sim_set(sim, "models.alpha.requests_per_minute", "60");
    sim_set(sim, "tenants.acme.requests_per_minute", "6");
    sim_worker(sim, "w1");
    sim_worker(sim, "w2");
    sim_run_ms(sim, 5000);
    publish(sim, "a", 0, 40, "acme", NULL);
    sim_run_ms(sim, 3000);
    publish(sim, "o", 0, 200, "other", NULL);
    sim_run_ms(sim, 3 * WINDOW_MS);
    assert_in_range(calls_of(sim, "other/"), 140, 60 * 4);
    assert_true(most_a_minute(sim, "") <= 60);
    assert_true(most_a_minute(sim, "acme/") <= 6);
    assert_in_range(calls_of(sim, "acme/"), 7, 24); /* by turns, whose cost was a guess at first */
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 240);
    sim_free(sim);
}

/* Both are nearly always full, and whoever waits at one meets the other full again and again. */
static void two_full_limits_starve_nobody(void **state)
{
    (void)state;
    struct sim *sim = world(5);
    sim_set(sim, "models.alpha.requests_per_minute", "60");
    sim_set(sim, "tenants.acme.requests_per_minute", "30");
    sim_worker(sim, "w1");
    sim_worker(sim, "w2");
    sim_worker(sim, "w3");
    sim_run_ms(sim, 5000);
    for (int i = 0; i < 150; i++) {
        publish(sim, "a", i, i + 1, "acme", NULL);
        publish(sim, "o", i, i + 1, "other", NULL);
        sim_run_ms(sim, 400);
    }
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 300);
    assert_true(most_a_minute(sim, "") <= 60);
    assert_true(most_a_minute(sim, "acme/") <= 30);
    assert_true(sim_now_ms(sim) < 5000 + 7 * WINDOW_MS);
    sim_free(sim);
}

static void a_tenants_tokens_are_limited_too(void **state)
{
    (void)state;
    struct sim *sim = world(6);
    sim_set(sim, "tenants.acme.tokens_per_minute", "900"); /* each has 15 */
    sim_worker(sim, "w1");
    publish(sim, "a", 0, 120, "acme", NULL);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 120);
    assert_between(most_a_minute(sim, "acme/"), 40, 60);
    sim_free(sim);
}

static void who_has_no_limit_asks_redis_for_none(void **state)
{
    (void)state;
    struct sim *sim = world(7);
    sim_set(sim, "tenants.acme.user_requests_per_minute", "5");
    sim_worker(sim, "w1");
    publish(sim, "o", 0, 50, "other", "ann");
    publish(sim, "a", 0, 50, "acme", NULL); /* of no user */
    assert_true(sim_settle(sim));
    assert_int_equal(sim_redis_keys(sim, "limit:"), 0);
    sim_free(sim);
}

static void a_reload_gives_a_tenant_a_limit_and_takes_it_away(void **state)
{
    (void)state;
    struct sim *sim = world(8);
    struct sim_process *worker = sim_worker(sim, "w1");
    sim_set(sim, "tenants.acme.requests_per_minute", "5");
    sim_reload(worker);
    publish(sim, "a", 0, 40, "acme", NULL);
    sim_run_ms(sim, 5000);
    assert_int_equal(sim_call_count(sim), 5);
    sim_set(sim, "tenants.acme.requests_per_minute", "0");
    sim_reload(worker);
    publish(sim, "b", 0, 40, "acme", NULL);
    sim_run_ms(sim, 5000); /* those who waited go, too */
    assert_int_equal(sim_call_count(sim), 80);
    assert_true(sim_settle(sim));
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tenant_waits_at_its_own_limit_and_others_do_not),
        cmocka_unit_test(tenants_without_an_item_have_the_default_each),
        cmocka_unit_test(users_have_limits_of_their_own_within_their_tenant),
        cmocka_unit_test(what_one_limit_refuses_takes_nothing_from_another),
        cmocka_unit_test(two_full_limits_starve_nobody),
        cmocka_unit_test(a_tenants_tokens_are_limited_too),
        cmocka_unit_test(who_has_no_limit_asks_redis_for_none),
        cmocka_unit_test(a_reload_gives_a_tenant_a_limit_and_takes_it_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
