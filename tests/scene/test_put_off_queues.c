/*
 * Goal: who waits for room among a model's calls, for a token of the budget of retries or at a
 * limit costs those who want something else nothing, and those who want the same no time: the model
 * is used as fully as before, nothing is lost, asked twice or forgotten. Method: few places, very
 * many requests for a model that is full; the providers' ledger says when each call came.
 */
#include "tests/scene/put_off.h"

#include <stdlib.h>

#include "common/app/metrics.h"

static struct sim *world(uint64_t seed, const char *in_flight)
{
    struct sim *sim = sim_new(seed);
    metric_reset_all();
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 50});
    sim_provider(sim, "beta", (struct sim_reply){.after_ms = 50});
    sim_provider(sim, "gamma", (struct sim_reply){.after_ms = 50});
    sim_set(sim, "worker.max_in_flight", in_flight);
    return sim;
}

static void publish(struct sim *sim, const char *prefix, int count, const char *models)
{
    for (int i = 0; i < count; i++)
        sim_publish(sim, (struct sim_request){
                             .id = nth(prefix, i), .models = models, .deadline_ms = 3600000});
}

/* The most calls of a provider at once. */
static size_t most_at_once(struct sim *sim, const char *provider)
{
    size_t most = 0;
    for (size_t i = 0; i < sim_call_count(sim); i++) {
        size_t at_once = 0;
        if (strcmp(sim_call(sim, i)->provider, provider) != 0)
            continue;
        for (size_t k = i < 200 ? 0 : i - 200; k <= i; k++)
            at_once += strcmp(sim_call(sim, k)->provider, provider) == 0 &&
                       sim_call(sim, k)->end_ms > sim_call(sim, i)->at_ms;
        most = at_once > most ? at_once : most;
    }
    return most;
}

/* From the first call of a provider to the end of its last. */
static int64_t span_of(struct sim *sim, const char *provider)
{
    int64_t first = -1, last = 0;
    for (size_t i = 0; i < sim_call_count(sim); i++) {
        const struct sim_call *call = sim_call(sim, i);
        if (strcmp(call->provider, provider) != 0)
            continue;
        first = first < 0 ? call->at_ms : first;
        last = call->end_ms > last ? call->end_ms : last;
    }
    return last - first;
}

/* ---- room among a model's calls ---- */

static void others_do_not_notice_that_a_model_is_full(void **state)
{
    (void)state;
    struct sim *sim = world(1, "50");
    sim_set(sim, "models.alpha.concurrency_max", "4");
    struct sim_process *worker = sim_worker(sim, "w1");
    sim_run_ms(sim, 300);
    publish(sim, "a", 1500, "alpha");
    sim_run_ms(sim, 2000);
    assert_true(put_off_now(sim) > 1200);
    expect_soon(sim, "b", 100, "beta");
    assert_between(sim_records_held(worker), 0, 50); /* of 1,500 */
    assert_true(sim_settle(sim));
    expect_all_done(sim, "a", 1500);
    assert_int_equal(sim_call_count(sim), 1600);
    assert_int_equal(most_at_once(sim, "alpha"), 4);
    print_message("1,500 calls of 50 ms, 4 at once: %lld ms\n", (long long)span_of(sim, "alpha"));
    assert_between(span_of(sim, "alpha"), 18750, 20500);
    sim_free(sim);
}

/* A request of two models: one has answered, the other has no room. */
static void what_is_answered_waits_for_the_other_model_elsewhere(void **state)
{
    (void)state;
    struct sim *sim = world(2, "40");
    sim_set(sim, "models.alpha.concurrency_max", "2");
    sim_worker(sim, "w1");
    sim_run_ms(sim, 300);
    publish(sim, "m", 500, "alpha,beta");
    sim_run_ms(sim, 3000);
    assert_true(put_off_now(sim) > 350);
    expect_soon(sim, "g", 50, "gamma");
    assert_true(sim_settle(sim));
    expect_all_done(sim, "m", 500);
    assert_int_equal(sim_call_count(sim), 500 + 500 + 50);
    assert_between(span_of(sim, "alpha"), 12500, 14000);
    sim_free(sim);
}

static void a_full_model_is_given_back_at_a_drain(void **state)
{
    (void)state;
    struct sim *sim = world(3, "20");
    sim_set(sim, "models.alpha.concurrency_max", "2");
    struct sim_process *worker = sim_worker(sim, "w1");
    publish(sim, "a", 300, "alpha");
    sim_run_ms(sim, 3000);
    int64_t from = sim_now_ms(sim);
    sim_term(worker);
    while (sim_running(worker) && sim_now_ms(sim) < from + 5000)
        sim_run_ms(sim, 10);
    assert_true(sim_drained(worker));
    assert_true(sim_now_ms(sim) - from < 300);
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    expect_all_done(sim, "a", 300);
    assert_int_equal(sim_call_count(sim), 300);
    sim_free(sim);
}

static void partitions_move_while_they_wait_for_room(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct sim *sim = world(seed, "20");
        sim_set(sim, "models.alpha.concurrency_max", "3");
        struct sim_process *worker = sim_worker(sim, "w1");
        publish(sim, "a", 300, "alpha");
        sim_run_ms(sim, 1500 + (int64_t)seed * 70);
        sim_worker(sim, "w2");
        sim_run_ms(sim, 1000);
        if (seed % 4 == 1)
            sim_lose(worker);
        if (seed % 4 == 2)
            sim_kill(worker);
        if (seed % 4 == 3)
            sim_rebalance(sim);
        assert_true(sim_settle(sim));
        expect_all_done(sim, "a", 300);
        assert_between(sim_call_count(sim), 300, 303); /* what the dead one had under way */
        sim_free(sim);
    }
}

/* Overloaded, it gets fewer at once, and then more again. */
static void room_that_shrinks_and_grows_is_used(void **state)
{
    (void)state;
    struct sim *sim = world(4, "60");
    for (int i = 0; i < 12; i++)
        sim_provider(sim, "delta", (struct sim_reply){.status = 503, .after_ms = 100});
    sim_provider(sim, "delta", (struct sim_reply){.after_ms = 100});
    sim_set(sim, "models.delta.concurrency_max", "16");
    sim_set(sim, "models.delta.concurrency_min", "2");
    sim_set(sim, "models.delta.breaker_failures", "0");
    sim_worker(sim, "w1");
    sim_run_ms(sim, 300);
    publish(sim, "d", 1000, "delta");
    sim_run_ms(sim, 2000);
    expect_soon(sim, "b", 20, "beta");
    assert_true(sim_settle(sim));
    expect_all_done(sim, "d", 1000);
    print_message("1,000 calls of 100 ms, 16 at once and for a while fewer: %lld ms\n",
                  (long long)span_of(sim, "delta"));
    assert_between(span_of(sim, "delta"), 6250, 10000);
    sim_free(sim);
}

static void tenants_share_the_room(void **state)
{
    (void)state;
    struct sim *sim = world(5, "40");
    sim_set(sim, "models.alpha.concurrency_max", "4");
    sim_worker(sim, "w1");
    sim_run_ms(sim, 300);
    for (int i = 0; i < 1000; i++)
        sim_publish(sim, (struct sim_request){
                             .id = nth("h", i), .tenant = "heavy", .deadline_ms = 3600000});
    sim_run_ms(sim, 2000);
    for (int i = 0; i < 20; i++) {
        int64_t asked = sim_now_ms(sim);
        sim_publish(sim, (struct sim_request){.id = nth("l", i), .tenant = "light"});
        while (!sim_final_of(sim, "light", nth("l", i)) && sim_now_ms(sim) < asked + 2000)
            sim_run_ms(sim, 5);
        assert_between(sim_now_ms(sim) - asked, 50, 250);
    }
    assert_true(sim_settle(sim));
    sim_free(sim);
}

/* ---- where there is a choice ---- */

static void a_route_whose_model_is_full_fills_no_places(void **state)
{
    (void)state;
    struct sim *sim = world(6, "40");
    sim_set(sim, "routes.pair.models", "alpha,beta");
    sim_set(sim, "models.alpha.concurrency_max", "2");
    sim_set(sim, "models.beta.concurrency_max", "2");
    sim_worker(sim, "w1");
    sim_run_ms(sim, 300);
    for (int i = 0; i < 800; i++)
        sim_publish(
            sim, (struct sim_request){.id = nth("p", i), .route = "pair", .deadline_ms = 3600000});
    sim_run_ms(sim, 3000);
    expect_soon(sim, "g", 50, "gamma");
    assert_true(sim_settle(sim));
    expect_all_done(sim, "p", 800);
    assert_int_equal(sim_call_count(sim), 850);
    print_message("800 calls of 50 ms, 2 at once: %lld ms\n", (long long)span_of(sim, "alpha"));
    assert_between(span_of(sim, "alpha"), 20000, 22000); /* nobody goes elsewhere for that */
    sim_free(sim);
}

static void a_route_whose_limits_are_all_used_up_fills_no_places(void **state)
{
    (void)state;
    struct sim *sim = world(7, "40");
    sim_set(sim, "routes.pair.models", "alpha,beta");
    sim_set(sim, "models.alpha.requests_per_minute", "60");
    sim_set(sim, "models.beta.requests_per_minute", "120");
    sim_worker(sim, "w1");
    sim_run_ms(sim, 300);
    int64_t began = sim_now_ms(sim);
    for (int i = 0; i < 500; i++)
        sim_publish(
            sim, (struct sim_request){.id = nth("p", i), .route = "pair", .deadline_ms = 3600000});
    sim_run_ms(sim, 8000);
    assert_true(put_off_now(sim) > 200);
    expect_soon(sim, "g", 50, "gamma");
    assert_true(sim_settle(sim));
    expect_all_done(sim, "p", 500);
    assert_int_equal(sim_call_count(sim), 550);
    print_message("500 at 60 and 120 a minute: %lld ms\n", (long long)(sim_now_ms(sim) - began));
    assert_between(sim_now_ms(sim) - began, 110000, 190000);
    sim_free(sim);
}

static void several_keys_whose_limits_are_all_used_up_fill_no_places(void **state)
{
    (void)state;
    struct sim *sim = world(8, "40");
    sim_set(sim, "models.alpha.api_keys", "one,two,three");
    sim_set(sim, "models.alpha.requests_per_minute", "60");
    sim_worker(sim, "w1");
    sim_run_ms(sim, 300);
    int64_t began = sim_now_ms(sim);
    publish(sim, "a", 500, "alpha");
    sim_run_ms(sim, 4000);
    assert_true(put_off_now(sim) > 200);
    expect_soon(sim, "g", 50, "gamma");
    assert_true(sim_settle(sim));
    expect_all_done(sim, "a", 500);
    assert_int_equal(sim_call_count(sim), 550);
    print_message("500 at 60 a minute with each of three keys: %lld ms\n",
                  (long long)(sim_now_ms(sim) - began));
    assert_between(sim_now_ms(sim) - began, 110000, 190000);
    sim_free(sim);
}

/* ---- tokens of the budget of retries ---- */

static void who_waits_for_a_token_fills_no_places(void **state)
{
    (void)state;
    struct sim *sim = world(9, "40");
    for (int i = 0; i < 1000; i++)
        sim_provider(sim, "delta", (struct sim_reply){.status = 500, .after_ms = 20});
    sim_provider(sim, "delta", (struct sim_reply){.after_ms = 20});
    sim_set(sim, "models.delta.breaker_failures", "0");
    sim_set(sim, "models.delta.attempts_max", "3");
    sim_set(sim, "worker.retry_base", "50ms");
    sim_worker(sim, "w1");
    sim_run_ms(sim, 300);
    int64_t began = sim_now_ms(sim);
    publish(sim, "d", 700, "delta");
    sim_run_ms(sim, 4000);
    assert_true(put_off_now(sim) > 400);
    size_t calls = sim_calls_of(sim, "default/d");
    /* 700 first calls, a fifth of that, and ten a second. */
    assert_between(calls, 700, 700 + 140 + 10 + 50);
    expect_soon(sim, "b", 50, "beta");
    assert_true(sim_settle(sim));
    print_message("700, of which 1,000 calls fail: %lld ms\n",
                  (long long)(sim_now_ms(sim) - began));
    int per[700] = {0};
    for (size_t i = 0; i < sim_call_count(sim); i++)
        if (strcmp(sim_call(sim, i)->provider, "delta") == 0)
            per[strtol(sim_call(sim, i)->id.data + strlen("default/d"), NULL, 10)]++;
    for (int i = 0; i < 700; i++)
        assert_between(per[i], 1, 3);
    assert_int_equal(sim_final_count(sim), 750);
    assert_int_equal(sim_run_rows(sim), sim_call_count(sim));
    sim_free(sim);
}

/* ---- more than are told apart ---- */

static void a_route_of_very_many_models_at_their_limits_fills_no_places(void **state)
{
    (void)state;
    static const char *const names[] = {"m0", "m1", "m2", "m3", "m4",  "m5",
                                        "m6", "m7", "m8", "m9", "m10", "m11"};
    struct sim *sim = world(10, "60");
    for (int i = 0; i < 12; i++) {
        char key[64];
        sim_provider(sim, names[i], (struct sim_reply){.after_ms = 50});
        snprintf(key, sizeof(key), "models.%s.requests_per_minute", names[i]);
        sim_set(sim, key, "30");
    }
    sim_set(sim, "routes.all.models", "m0,m1,m2,m3,m4,m5,m6,m7,m8,m9,m10,m11");
    sim_set(sim, "routes.all.policy", "weighted");
    sim_worker(sim, "w1");
    sim_run_ms(sim, 300);
    int64_t began = sim_now_ms(sim);
    for (int i = 0; i < 1000; i++)
        sim_publish(
            sim, (struct sim_request){.id = nth("r", i), .route = "all", .deadline_ms = 3600000});
    sim_run_ms(sim, 15000);
    assert_true(put_off_now(sim) > 550);
    expect_soon(sim, "g", 30, "gamma");
    assert_true(sim_settle(sim));
    expect_all_done(sim, "r", 1000);
    assert_int_equal(sim_call_count(sim), 1030);
    print_message("1,000 with 30 a minute of each of twelve models: %lld ms\n",
                  (long long)(sim_now_ms(sim) - began));
    assert_between(sim_now_ms(sim) - began, 110000, 200000);
    sim_free(sim);
}

static void very_many_tenants_at_their_limits_fill_no_places(void **state)
{
    (void)state;
    enum { TENANTS = 300, EACH = 20 };
    struct sim *sim = world(11, "50");
    sim_set(sim, "tenants.default.requests_per_minute", "6");
    sim_set(sim, "tenants.mine.weight", "1");
    sim_worker(sim, "w1");
    sim_run_ms(sim, 300);
    for (int i = 0; i < EACH; i++)
        for (int t = 0; t < TENANTS; t++) {
            char tenant[16];
            snprintf(tenant, sizeof(tenant), "t%d", t);
            sim_publish(sim, (struct sim_request){
                                 .id = nth("r", i), .tenant = tenant, .deadline_ms = 3600000});
        }
    sim_run_ms(sim, 20000);
    assert_true(put_off_now(sim) > TENANTS * (EACH - 6) - 100);
    assert_int_equal(sim_call_count(sim), TENANTS * 6);
    for (int i = 0; i < 30; i++) {
        int64_t asked = sim_now_ms(sim);
        sim_publish(sim, (struct sim_request){.id = nth("g", i), .tenant = "mine"});
        while (!sim_final_of(sim, "mine", nth("g", i)) && sim_now_ms(sim) < asked + 2000)
            sim_run_ms(sim, 5);
        assert_between(sim_now_ms(sim) - asked, 50, 200);
    }
    int64_t began = sim_now_ms(sim);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), TENANTS * EACH + 30);
    print_message("300 tenants with 20 each at 6 a minute: %lld ms\n",
                  (long long)(sim_now_ms(sim) - began));
    assert_between(sim_now_ms(sim) - began, 150000, 260000);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_do_not_notice_that_a_model_is_full),
        cmocka_unit_test(what_is_answered_waits_for_the_other_model_elsewhere),
        cmocka_unit_test(a_full_model_is_given_back_at_a_drain),
        cmocka_unit_test(partitions_move_while_they_wait_for_room),
        cmocka_unit_test(room_that_shrinks_and_grows_is_used),
        cmocka_unit_test(tenants_share_the_room),
        cmocka_unit_test(a_route_whose_model_is_full_fills_no_places),
        cmocka_unit_test(a_route_whose_limits_are_all_used_up_fills_no_places),
        cmocka_unit_test(several_keys_whose_limits_are_all_used_up_fill_no_places),
        cmocka_unit_test(who_waits_for_a_token_fills_no_places),
        cmocka_unit_test(a_route_of_very_many_models_at_their_limits_fills_no_places),
        cmocka_unit_test(very_many_tenants_at_their_limits_fill_no_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
