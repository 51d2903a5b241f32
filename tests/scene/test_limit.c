/*
 * Goal: the fleet keeps to a model's rate limit in any minute, uses it, and waits in good order.
 * Method: real workers over the simulated Redis; the provider's ledger says when each call came.
 */
#include "tests/scene/scene.h"

enum { WINDOW_MS = 60000 };

static struct sim *world(uint64_t seed, const char *requests, const char *tokens)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 30});
    sim_set(sim, "models.alpha.requests_per_minute", requests);
    sim_set(sim, "models.alpha.tokens_per_minute", tokens);
    return sim;
}

static void publish(struct sim *sim, int from, int to)
{
    for (int i = from; i < to; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
}

/* The most calls that came within any minute. */
static size_t most_a_minute(struct sim *sim)
{
    size_t first = 0, most = 0;
    for (size_t i = 0; i < sim_call_count(sim); i++) {
        while (sim_call(sim, first)->at_ms <= sim_call(sim, i)->at_ms - WINDOW_MS)
            first++;
        most = i - first + 1 > most ? i - first + 1 : most;
    }
    return most;
}

static size_t calls_by(struct sim *sim, const char *process)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_call_count(sim); i++)
        count += strcmp(sim_call(sim, i)->process, process) == 0;
    return count;
}

static void one_worker_keeps_to_the_limit_and_uses_it(void **state)
{
    struct sim *sim = world(1, "60", "0");
    (void)state;
    sim_worker(sim, "w1");
    publish(sim, 0, 150);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 150);
    assert_int_equal(most_a_minute(sim), 60);
    /* 60 at once, 60 after a minute, 30 after two. */
    assert_between(sim_call(sim, 149)->at_ms, 2 * WINDOW_MS, 2 * WINDOW_MS + 5000);
    sim_free(sim);
}

static void workers_share_the_limit_between_them(void **state)
{
    struct sim *sim = world(2, "120", "0");
    (void)state;
    sim_worker(sim, "w1");
    sim_worker(sim, "w2");
    sim_worker(sim, "w3");
    sim_run_ms(sim, 5000);
    publish(sim, 0, 460);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 460);
    assert_between(most_a_minute(sim), 117, 120);
    assert_between(sim_call(sim, 459)->at_ms, 3 * WINDOW_MS, 3 * WINDOW_MS + 15000);
    assert_true(calls_by(sim, "w1") && calls_by(sim, "w2") && calls_by(sim, "w3"));
    sim_free(sim);
}

/* Each is given half of what is free; the last ones must not lie there until the minute is over. */
static void two_workers_use_a_small_limit_whole_and_at_once(void **state)
{
    struct sim *sim = world(20, "30", "0");
    (void)state;
    sim_worker(sim, "w1");
    sim_worker(sim, "w2");
    sim_run_ms(sim, 5000);
    publish(sim, 0, 45);
    sim_run_ms(sim, 10000);
    assert_int_equal(sim_call_count(sim), 30);
    assert_true(calls_by(sim, "w1") && calls_by(sim, "w2"));
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 45);
    assert_int_equal(most_a_minute(sim), 30);
    sim_free(sim);
}

/* Each has 15 tokens; what is thought of the first ones is learned better. */
static void tokens_are_limited_too(void **state)
{
    struct sim *sim = world(3, "0", "900");
    (void)state;
    sim_worker(sim, "w1");
    publish(sim, 0, 120);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 120);
    assert_between(most_a_minute(sim), 40, 60);
    sim_free(sim);
}

static void a_request_larger_than_the_limit_is_not_stuck(void **state)
{
    struct sim *sim = world(4, "0", "10");
    (void)state;
    sim_worker(sim, "w1");
    publish(sim, 0, 3);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), 3);
    assert_int_equal(most_a_minute(sim), 1);
    sim_free(sim);
}

static void without_redis_each_keeps_to_its_part(void **state)
{
    struct sim *sim = world(5, "120", "0");
    (void)state;
    sim_worker(sim, "w1");
    sim_worker(sim, "w2");
    sim_run_ms(sim, 5000);
    publish(sim, 0, 100);
    sim_run_ms(sim, 20000);
    sim_redis_down(sim, true);
    publish(sim, 100, 400);
    sim_run_ms(sim, 180000);
    assert_between(sim_call_count(sim), 100 + 250, 400);
    assert_between(most_a_minute(sim), 100, 180); /* the change may add the part of a minute */
    sim_redis_down(sim, false);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), 400);
    sim_free(sim);
}

static void who_waits_too_long_expires_without_a_call(void **state)
{
    struct sim *sim = world(6, "10", "0");
    (void)state;
    sim_worker(sim, "w1");
    publish(sim, 0, 10);
    sim_run_ms(sim, 2000);
    sim_publish(sim, (struct sim_request){.id = "late", .deadline_ms = 5000});
    assert_true(sim_settle(sim));
    assert_str(sim_final(sim, "late")->status, "expired");
    assert_int_equal(sim_calls_of(sim, "default/late"), 0);
    sim_free(sim);
}

static void who_waits_for_the_limit_does_not_hold_up_a_drain(void **state)
{
    struct sim *sim = world(7, "10", "0");
    (void)state;
    struct sim_process *worker = sim_worker(sim, "w1");
    publish(sim, 0, 30);
    sim_run_ms(sim, 5000);
    sim_term(worker);
    sim_run_ms(sim, 1500);
    assert_false(sim_running(worker));
    assert_true(sim_drained(worker));
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 30);
    assert_int_equal(most_a_minute(sim), 10);
    sim_free(sim);
}

static void a_model_without_a_limit_asks_redis_for_none(void **state)
{
    struct sim *sim = world(8, "0", "0");
    (void)state;
    sim_worker(sim, "w1");
    publish(sim, 0, 50);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_redis_keys(sim, "limit:"), 0);
    sim_free(sim);
}

static void a_reload_changes_the_limit(void **state)
{
    struct sim *sim = world(9, "10", "0");
    (void)state;
    struct sim_process *worker = sim_worker(sim, "w1");
    publish(sim, 0, 100);
    sim_run_ms(sim, 5000);
    assert_int_equal(sim_call_count(sim), 10);
    sim_set(sim, "models.alpha.requests_per_minute", "200");
    sim_reload(worker);
    sim_run_ms(sim, 70000);
    assert_int_equal(sim_call_count(sim), 100);
    assert_true(sim_settle(sim));
    sim_free(sim);
}

static void a_redis_that_forgets_does_not_double_the_limit(void **state)
{
    struct sim *sim = world(10, "120", "0");
    (void)state;
    sim_worker(sim, "w1");
    sim_worker(sim, "w2");
    sim_run_ms(sim, 5000);
    publish(sim, 0, 300);
    sim_run_ms(sim, 20000);
    sim_redis_flush(sim);
    sim_run_ms(sim, 50000);
    sim_redis_flush(sim);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 300);
    assert_between(most_a_minute(sim), 110, 120);
    sim_free(sim);
}

/* A provider that says how long has the last word. */
static void who_is_refused_holds_the_others_back(void **state)
{
    struct sim *sim = sim_new(11);
    (void)state;
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.status = 429, .headers = "Retry-After: 7\r\n"});
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 30});
    sim_set(sim, "models.alpha.requests_per_minute", "1000");
    sim_worker(sim, "w1");
    publish(sim, 0, 1);
    sim_run_ms(sim, 1000);
    publish(sim, 1, 20);
    assert_true(sim_settle(sim));
    assert_true(sim_call(sim, 1)->at_ms >= sim_call(sim, 0)->end_ms + 7000);
    assert_int_equal(sim_call_count(sim), 21);
    sim_free(sim);
}

/* What the configuration leaves open is learned; the first calls leave before anybody knows. */
static void a_limit_is_learned_from_the_provider_s_headers(void **state)
{
    struct sim *sim = sim_new(12);
    (void)state;
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha",
                 (struct sim_reply){.after_ms = 30,
                                    .headers = "x-ratelimit-limit-requests: 20\r\n"
                                               "x-ratelimit-limit-tokens: 100000\r\n"});
    sim_worker(sim, "w1");
    sim_worker(sim, "w2");
    publish(sim, 0, 1);
    publish(sim, 100, 101);
    sim_run_ms(sim, 10000);
    publish(sim, 200, 202);
    sim_run_ms(sim, 65000);
    size_t before = sim_call_count(sim);
    publish(sim, 300, 350);
    sim_run_ms(sim, 30000);
    assert_in_range(sim_call_count(sim) - before, 19, 40); /* each worker has heard of it, or not */
    assert_true(sim_settle(sim));
    sim_free(sim);
}

static void what_headers_say_does_not_count_where_it_is_off(void **state)
{
    struct sim *sim = sim_new(13);
    (void)state;
    sim_set(sim, "default_model", "alpha");
    sim_set(sim, "models.alpha.limits", "off");
    sim_provider(
        sim, "alpha",
        (struct sim_reply){.after_ms = 30, .headers = "x-ratelimit-limit-requests: 20\r\n"});
    sim_worker(sim, "w1");
    publish(sim, 0, 1);
    sim_run_ms(sim, 5000);
    publish(sim, 1, 100);
    sim_run_ms(sim, 5000);
    assert_int_equal(sim_call_count(sim), 100);
    assert_true(sim_settle(sim));
    sim_free(sim);
}

/* The provider says that only 20 are left, though we have used few: the fleet keeps to that. */
static void where_others_use_the_key_the_fleet_waits_for_them(void **state)
{
    struct sim *sim = sim_new(14);
    (void)state;
    sim_set(sim, "default_model", "alpha");
    for (int i = 0; i < 12; i++)
        sim_provider(sim, "alpha",
                     (struct sim_reply){.after_ms = 30,
                                        .headers = "x-ratelimit-limit-requests: 100\r\n"
                                                   "x-ratelimit-remaining-requests: 20\r\n"});
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 30}); /* all others say nothing */
    sim_set(sim, "models.alpha.requests_per_minute", "100");
    sim_worker(sim, "w1");
    for (int i = 0; i < 12; i++) {
        publish(sim, i, i + 1);
        sim_run_ms(sim, 1500);
    }
    publish(sim, 12, 160);
    sim_run_ms(sim, 20000);
    assert_between(sim_call_count(sim), 18, 45);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 160);
    sim_free(sim);
}

/* A billion tokens of one answer are counted for a minute, and not expected of all others. */
static void one_odd_count_does_not_make_all_that_follows_look_large(void **state)
{
    struct sim *sim = world(15, "0", "100000");
    (void)state;
    sim_provider_now(sim, "alpha",
                     (struct sim_reply){.after_ms = 30,
                                        .body = "{\"choices\":[{\"message\":{\"content\":\"hi\"}}],"
                                                "\"usage\":{\"prompt_tokens\":999999999,"
                                                "\"completion_tokens\":999999999}}"});
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 30});
    sim_worker(sim, "w1");
    publish(sim, 0, 1);
    sim_run_ms(sim, 2 * WINDOW_MS);
    for (int i = 1; i <= 120; i++) {
        publish(sim, i, i + 1);
        sim_run_ms(sim, 1000);
    }
    assert_between(sim_call_count(sim), 115, 121);
    assert_true(sim_settle(sim));
    sim_free(sim);
}

/* One reply, perhaps of another server, says one request a minute; all others say nothing. */
static void a_limit_that_was_said_once_is_forgotten(void **state)
{
    struct sim *sim = sim_new(16);
    (void)state;
    sim_set(sim, "default_model", "alpha");
    sim_provider(
        sim, "alpha",
        (struct sim_reply){.after_ms = 30, .headers = "x-ratelimit-limit-requests: 1\r\n"});
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 30});
    sim_worker(sim, "w1");
    publish(sim, 0, 1);
    sim_run_ms(sim, 1000);
    publish(sim, 1, 100); /* all of them wait there, and nobody comes behind them */
    sim_run_ms(sim, 5 * WINDOW_MS);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 100);
    assert_true(sim_now_ms(sim) - sim_call(sim, 0)->at_ms < 6 * WINDOW_MS);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_worker_keeps_to_the_limit_and_uses_it),
        cmocka_unit_test(workers_share_the_limit_between_them),
        cmocka_unit_test(two_workers_use_a_small_limit_whole_and_at_once),
        cmocka_unit_test(tokens_are_limited_too),
        cmocka_unit_test(a_request_larger_than_the_limit_is_not_stuck),
        cmocka_unit_test(without_redis_each_keeps_to_its_part),
        cmocka_unit_test(who_waits_too_long_expires_without_a_call),
        cmocka_unit_test(who_waits_for_the_limit_does_not_hold_up_a_drain),
        cmocka_unit_test(a_model_without_a_limit_asks_redis_for_none),
        cmocka_unit_test(a_reload_changes_the_limit),
        cmocka_unit_test(a_redis_that_forgets_does_not_double_the_limit),
        cmocka_unit_test(who_is_refused_holds_the_others_back),
        cmocka_unit_test(a_limit_is_learned_from_the_provider_s_headers),
        cmocka_unit_test(what_headers_say_does_not_count_where_it_is_off),
        cmocka_unit_test(where_others_use_the_key_the_fleet_waits_for_them),
        cmocka_unit_test(one_odd_count_does_not_make_all_that_follows_look_large),
        cmocka_unit_test(a_limit_that_was_said_once_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
