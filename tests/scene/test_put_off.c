/*
 * Goal: a provider that is away, or wants to be asked later, costs those who do not want it
 * nothing, and those who do no more than the time: nothing is lost, asked twice or forgotten.
 * Method: few places, very many requests for a model that is away, some for one that is there; the
 * providers' ledger says when each call came.
 */
#include "tests/scene/put_off.h"

#include <stdlib.h>

#include "common/app/metrics.h"

static struct sim *world(uint64_t seed, const char *in_flight)
{
    struct sim *sim = sim_new(seed);
    metric_reset_all();
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.trouble = SIM_REFUSED});
    sim_provider(sim, "beta", (struct sim_reply){.after_ms = 50});
    sim_set(sim, "worker.max_in_flight", in_flight);
    return sim;
}

static void publish(struct sim *sim, const char *prefix, int count, const char *models,
                    int64_t deadline_ms)
{
    for (int i = 0; i < count; i++)
        sim_publish(sim, (struct sim_request){
                             .id = nth(prefix, i), .models = models, .deadline_ms = deadline_ms});
}

static void alpha_is_back(struct sim *sim, int64_t after_ms)
{
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = after_ms});
}

static void others_do_not_notice_that_a_model_is_away(void **state)
{
    struct sim *sim = world(1, "50");
    (void)state;
    struct sim_process *worker = sim_worker(sim, "w1");
    sim_run_ms(sim, 300);
    publish(sim, "a", 3000, "alpha", 3600000);
    sim_run_ms(sim, 3000);
    expect_soon(sim, "b", 100, "beta");
    assert_between(sim_records_held(worker), 0, 20); /* of 3,000 */
    size_t before = sim_call_count(sim);
    alpha_is_back(sim, 20);
    assert_true(sim_settle(sim));
    expect_all_done(sim, "a", 3000);
    assert_int_equal(sim_call_count(sim) - before - 3000, 0);
    sim_free(sim);
}

static void who_waits_is_not_kept_and_comes_back_in_order(void **state)
{
    struct sim *sim = world(2, "10");
    int late = 0;
    (void)state;
    sim_partitions(sim, 1);
    sim_worker(sim, "w1");
    publish(sim, "a", 500, "alpha", 3600000);
    sim_run_ms(sim, 10000);
    assert_true(sim_final_count(sim) == 0);
    size_t before = sim_call_count(sim);
    alpha_is_back(sim, 20);
    assert_true(sim_settle(sim));
    expect_all_done(sim, "a", 500);
    for (size_t i = before; i < sim_call_count(sim); i++) {
        int number = (int)strtol(sim_call(sim, i)->id.data + strlen("default/a"), NULL, 10);
        late += number + 10 < (int)(i - before);
    }
    assert_between(late, 0, 25);
    sim_free(sim);
}

static size_t parts_with(struct sim *sim, const char *prefix, int count, const char *status)
{
    size_t found = 0;
    for (int i = 0; i < count; i++) {
        const struct sim_final *final = sim_final(sim, nth(prefix, i));
        found += final && str_is(final->status, status);
    }
    return found;
}

static void deadlines_are_kept_without_a_call(void **state)
{
    struct sim *sim = world(3, "10");
    int in_time = 0;
    (void)state;
    sim_worker(sim, "w1");
    sim_run_ms(sim, 300);
    int64_t asked = sim_now_ms(sim);
    publish(sim, "a", 300, "alpha", 20000);
    sim_run_ms(sim, 15000);
    assert_true(put_off_now(sim) > 280);
    publish(sim, "b", 400, "beta", 0); /* all places are taken by calls when the time comes */
    sim_provider_now(sim, "beta", (struct sim_reply){.after_ms = 2000});
    size_t before = sim_calls_of(sim, "default/a");
    sim_run_ms(sim, 6300);
    for (int i = 0; i < 300; i++) {
        const struct sim_final *final = sim_final(sim, nth("a", i));
        in_time += final && str_is(final->status, "expired") && final->stored_ms < asked + 21000;
    }
    assert_between(in_time, 299, 300); /* one may be on its way to try */
    assert_between(sim_calls_of(sim, "default/a") - before, 0, 6); /* who tried */
    assert_int_equal(sim_dead_count(sim), 0);
    assert_true(sim_settle(sim));
    expect_all_done(sim, "b", 400);
    sim_free(sim);
}

static void a_drain_forgets_them_and_the_next_life_has_them(void **state)
{
    struct sim *sim = world(4, "10");
    (void)state;
    struct sim_process *worker = sim_worker(sim, "w1");
    publish(sim, "a", 300, "alpha", 3600000);
    sim_run_ms(sim, 5000);
    int64_t from = sim_now_ms(sim);
    sim_term(worker);
    while (sim_running(worker) && sim_now_ms(sim) < from + 5000)
        sim_run_ms(sim, 10);
    assert_true(sim_drained(worker));
    assert_true(sim_now_ms(sim) - from < 200);
    alpha_is_back(sim, 20);
    sim_worker(sim, "w1");
    size_t before = sim_call_count(sim);
    assert_true(sim_settle(sim));
    expect_all_done(sim, "a", 300);
    assert_int_equal(sim_call_count(sim) - before, 300);
    sim_free(sim);
}

static void partitions_move_with_those_who_are_put_off(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct sim *sim = world(seed, "10");
        struct sim_process *worker = sim_worker(sim, "w1");
        publish(sim, "a", 300, "alpha", 3600000);
        sim_run_ms(sim, 3000 + (int64_t)seed * 70);
        sim_worker(sim, "w2");
        sim_run_ms(sim, 3000);
        if (seed % 2)
            sim_lose(worker);
        sim_run_ms(sim, 1000 + (int64_t)seed * 13);
        alpha_is_back(sim, 20);
        if (seed % 3 == 0) {
            sim_run_ms(sim, 200);
            sim_rebalance(sim); /* while they come back */
        }
        size_t before = sim_call_count(sim);
        assert_true(sim_settle(sim));
        expect_all_done(sim, "a", 300);
        assert_between(sim_call_count(sim) - before, 300 - (seed % 3 ? 0 : 50), 301);
        sim_free(sim);
    }
}

static void a_death_loses_none_of_them(void **state)
{
    struct sim *sim = world(5, "10");
    (void)state;
    struct sim_process *worker = sim_worker(sim, "w1");
    publish(sim, "a", 300, "alpha", 3600000);
    sim_run_ms(sim, 5000);
    sim_kill(worker);
    alpha_is_back(sim, 20);
    sim_worker(sim, "w2");
    assert_true(sim_settle(sim));
    expect_all_done(sim, "a", 300);
    sim_free(sim);
}

static void turns_of_sessions_keep_their_place_and_their_order(void **state)
{
    struct sim *sim = world(6, "20");
    (void)state;
    sim_worker(sim, "w1");
    for (int i = 0; i < 8; i++)
        sim_publish(sim, (struct sim_request){
                             .id = nth("t", i), .session = nth("s", i % 4), .models = "alpha"});
    publish(sim, "a", 200, "alpha", 0);
    sim_run_ms(sim, 6000);
    assert_between(put_off_now(sim), 190, 200);
    alpha_is_back(sim, 20);
    assert_true(sim_settle(sim));
    for (int i = 0; i < 8; i++)
        assert_int_equal(sim_final(sim, nth("t", i))->turn, i / 4 + 1);
    expect_all_done(sim, "a", 200);
    sim_free(sim);
}

/* Each call is one row, and none has more than it may have, however often it was put off. */
static void attempts_are_not_forgotten(void **state)
{
    struct sim *sim = world(7, "10");
    (void)state;
    sim_provider_now(sim, "alpha", (struct sim_reply){.status = 503});
    sim_set(sim, "models.alpha.breaker_failures", "0"); /* a call that only tries is none of them */
    sim_set(sim, "models.alpha.attempts_max", "3");
    sim_set(sim, "worker.retry_base", "5s");
    sim_set(sim, "worker.put_off_after", "200ms");
    sim_worker(sim, "w1");
    publish(sim, "a", 60, "alpha", 3600000);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), 60);
    assert_true(metric_of("\nquern_requests_put_off_total ") > 80);
    int calls[60] = {0}, highest = 0;
    for (size_t i = 0; i < sim_call_count(sim); i++)
        calls[strtol(sim_call(sim, i)->id.data + strlen("default/a"), NULL, 10)]++;
    for (int i = 0; i < 60; i++)
        highest = calls[i] > highest ? calls[i] : highest;
    assert_int_equal(highest, 3);
    assert_int_equal(sim_run_rows(sim), sim_call_count(sim));
    for (size_t i = 0; i < sim_run_rows(sim); i++) {
        const struct sim_run_row *row = sim_run_row(sim, i);
        assert_between(row->attempt, 1, 3);
        for (size_t k = 0; k < i; k++)
            assert_false(str_eq(sim_run_row(sim, k)->call_id, row->call_id));
    }
    sim_free(sim);
}

static void a_pause_that_the_provider_names_is_waited_for_elsewhere(void **state)
{
    struct sim *sim = world(8, "10");
    (void)state;
    sim_provider_now(sim, "alpha",
                     (struct sim_reply){.status = 429, .headers = "Retry-After: 20\r\n"});
    sim_worker(sim, "w1");
    sim_run_ms(sim, 300);
    publish(sim, "a", 300, "alpha", 3600000);
    sim_run_ms(sim, 2000);
    size_t calls = sim_calls_of(sim, "default/a");
    assert_between(calls, 10, 30); /* those that were asked at once, and no wave behind them */
    int64_t asked = sim_now_ms(sim);
    sim_publish(sim, (struct sim_request){.id = "b", .models = "beta"});
    while (!sim_final(sim, "b") && sim_now_ms(sim) < asked + 2000)
        sim_run_ms(sim, 5);
    assert_between(sim_now_ms(sim) - asked, 50, 200);
    alpha_is_back(sim, 20);
    sim_run_ms(sim, 15000);
    assert_int_equal(sim_calls_of(sim, "default/a"), calls);
    assert_true(sim_settle(sim));
    expect_all_done(sim, "a", 300);
    assert_int_equal(sim_calls_of(sim, "default/a"), calls + 300);
    assert_int_equal(sim_run_rows(sim), sim_call_count(sim));
    sim_free(sim);
}

static void what_is_cancelled_meanwhile_ends_at_once(void **state)
{
    struct sim *sim = world(9, "10");
    (void)state;
    sim_worker(sim, "w1");
    publish(sim, "a", 200, "alpha", 3600000);
    sim_run_ms(sim, 5000);
    sim_redis(sim, (const char *const[]){"SET", "quern:cancelled:{default:a150}", "1", NULL});
    sim_redis(sim, (const char *const[]){"PUBLISH", "quern:cancel",
                                         "default\x1f"
                                         "a150",
                                         NULL});
    sim_run_ms(sim, 1000);
    assert_non_null(sim_final(sim, "a150"));
    assert_str(sim_final(sim, "a150")->status, "cancelled");
    assert_int_equal(sim_calls_of(sim, "default/a150/"), 0);
    alpha_is_back(sim, 20);
    assert_true(sim_settle(sim));
    assert_int_equal(parts_with(sim, "a", 200, "done"), 199);
    sim_free(sim);
}

/* Redis is away, so that nothing but the worker itself knows what has been answered. */
static void an_answer_of_another_model_is_not_paid_again(void **state)
{
    struct sim *sim = world(10, "10");
    (void)state;
    sim_set(sim, "worker.recognise_fresh", "false");
    sim_redis_down(sim, true);
    sim_worker(sim, "w1");
    sim_run_ms(sim, 2000);
    for (int i = 0; i < 100; i++)
        sim_publish(sim, (struct sim_request){
                             .id = nth("r", i), .models = "alpha,beta", .deadline_ms = 3600000});
    sim_run_ms(sim, 10000);
    assert_true(put_off_now(sim) > 80);
    alpha_is_back(sim, 20);
    assert_true(sim_settle(sim));
    expect_all_done(sim, "r", 100);
    size_t beta = 0;
    for (size_t i = 0; i < sim_call_count(sim); i++)
        beta += strcmp(sim_call(sim, i)->provider, "beta") == 0;
    assert_int_equal(beta, 100);
    sim_free(sim);
}

static void who_has_another_model_to_ask_is_not_put_off(void **state)
{
    struct sim *sim = world(11, "10");
    (void)state;
    sim_set(sim, "routes.pair.models", "alpha,beta");
    sim_worker(sim, "w1");
    publish(sim, "a", 100, "alpha", 3600000);
    sim_run_ms(sim, 4000);
    for (int i = 0; i < 50; i++)
        sim_publish(sim, (struct sim_request){.id = nth("p", i), .route = "pair"});
    sim_run_ms(sim, 2000);
    expect_all_done(sim, "p", 50);
    sim_provider_now(sim, "beta", (struct sim_reply){.trouble = SIM_REFUSED});
    for (int i = 50; i < 150; i++)
        sim_publish(sim, (struct sim_request){.id = nth("p", i), .route = "pair"});
    sim_run_ms(sim, 8000);
    assert_true(put_off_now(sim) > 180);
    sim_provider_now(sim, "beta", (struct sim_reply){.after_ms = 20}); /* the second one is back */
    sim_run_ms(sim, 12000);
    expect_all_done(sim, "p", 150);
    assert_int_equal(parts_with(sim, "a", 100, "done"), 0);
    alpha_is_back(sim, 20);
    assert_true(sim_settle(sim));
    expect_all_done(sim, "a", 100);
    sim_free(sim);
}

/* The first record of an id counts, though the second one's model is there. */
static void the_first_of_an_id_stays_the_first(void **state)
{
    struct sim *sim = world(12, "10");
    (void)state;
    sim_worker(sim, "w1");
    publish(sim, "a", 100, "alpha", 3600000);
    sim_run_ms(sim, 4000);
    sim_publish(sim, (struct sim_request){.id = "a50", .models = "beta", .deadline_ms = 3600000});
    sim_publish(sim, (struct sim_request){.id = "a60", .models = "alpha", .deadline_ms = 3600000});
    sim_run_ms(sim, 2000);
    assert_null(sim_final(sim, "a50"));
    alpha_is_back(sim, 20);
    assert_true(sim_settle(sim));
    expect_all_done(sim, "a", 100);
    assert_int_equal(sim_calls_of(sim, "default/a60/"), 1);
    assert_int_equal(sim_dead_count(sim), 1);
    assert_str(sim_dead(sim, 0).id, "a50");
    assert_str(sim_part(sim, "a50", 0)->model, "alpha");
    sim_free(sim);
}

/* As many come back as the ramp lets go, and tenants have turns. */
static void they_come_back_step_by_step(void **state)
{
    struct sim *sim = world(13, "200");
    int64_t first = 0;
    size_t soon = 0, last_light = 0;
    (void)state;
    sim_worker(sim, "w1");
    for (int i = 0; i < 1000; i++)
        sim_publish(sim, (struct sim_request){
                             .id = nth("h", i), .tenant = "heavy", .deadline_ms = 3600000});
    for (int i = 0; i < 5; i++)
        sim_publish(sim, (struct sim_request){
                             .id = nth("l", i), .tenant = "light", .deadline_ms = 3600000});
    sim_run_ms(sim, 6000);
    size_t before = sim_call_count(sim);
    alpha_is_back(sim, 500);
    assert_true(sim_settle(sim));
    for (size_t i = before, light = 0; i < sim_call_count(sim); i++) {
        const struct sim_call *call = sim_call(sim, i);
        first = !first && call->status == 200 ? call->end_ms : first;
        soon += first && call->at_ms < first + 240;
        light += str_starts(call->id, STR("light/"));
        last_light = light < 5 ? i - before : last_light;
    }
    assert_between(soon, 1, 10);
    assert_between(last_light, 0, 40);
    assert_true(sim_call_count(sim) - before >= 1005);
    sim_free(sim);
}

static void beyond_their_number_they_keep_their_place(void **state)
{
    struct sim *sim = world(14, "30");
    (void)state;
    sim_set(sim, "worker.put_off_max", "100");
    sim_set(sim, "models.alpha.attempts_max", "20");
    sim_worker(sim, "w1");
    publish(sim, "a", 300, "alpha", 3600000);
    sim_run_ms(sim, 5000);
    assert_between(put_off_now(sim), 100, 130); /* those at work then */
    alpha_is_back(sim, 20);
    assert_true(sim_settle(sim));
    expect_all_done(sim, "a", 300);
    sim_free(sim);
}

static void a_reload_that_gives_the_model_another_address_lets_them_go(void **state)
{
    struct sim *sim = world(15, "10");
    (void)state;
    struct sim_process *worker = sim_worker(sim, "w1");
    publish(sim, "a", 200, "alpha", 3600000);
    sim_run_ms(sim, 5000);
    alpha_is_back(sim, 20);
    sim_set(sim, "models.alpha.model", "alpha-2");
    sim_reload(worker);
    sim_run_ms(sim, 5000);
    expect_all_done(sim, "a", 200);
    assert_true(sim_settle(sim));
    sim_free(sim);
}

/* One tenant's limit is used up for minutes, and all of his requests would wait there. */
static void a_limit_that_is_used_up_fills_no_places(void **state)
{
    struct sim *sim = world(16, "50");
    (void)state;
    sim_set(sim, "tenants.heavy.requests_per_minute", "60");
    sim_set(sim, "tenants.light.weight", "1");
    sim_worker(sim, "w1");
    sim_run_ms(sim, 300);
    for (int i = 0; i < 400; i++)
        sim_publish(sim, (struct sim_request){.id = nth("h", i),
                                              .tenant = "heavy",
                                              .models = "beta",
                                              .deadline_ms = 3600000});
    sim_run_ms(sim, 3000);
    assert_int_equal(sim_calls_of(sim, "heavy/"), 60);
    assert_true(put_off_now(sim) > 300);
    for (int i = 0; i < 50; i++) {
        int64_t asked = sim_now_ms(sim);
        sim_publish(sim,
                    (struct sim_request){.id = nth("l", i), .tenant = "light", .models = "beta"});
        while (!sim_final_of(sim, "light", nth("l", i)) && sim_now_ms(sim) < asked + 2000)
            sim_run_ms(sim, 5);
        assert_between(sim_now_ms(sim) - asked, 50, 200);
    }
    /* The limit is used all the same: sixty in each of the minutes that follow. */
    int64_t began = sim_now_ms(sim);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_calls_of(sim, "heavy/"), 400);
    assert_between(sim_now_ms(sim) - began, 280000, 380000);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_do_not_notice_that_a_model_is_away),
        cmocka_unit_test(who_waits_is_not_kept_and_comes_back_in_order),
        cmocka_unit_test(deadlines_are_kept_without_a_call),
        cmocka_unit_test(a_drain_forgets_them_and_the_next_life_has_them),
        cmocka_unit_test(partitions_move_with_those_who_are_put_off),
        cmocka_unit_test(a_death_loses_none_of_them),
        cmocka_unit_test(turns_of_sessions_keep_their_place_and_their_order),
        cmocka_unit_test(attempts_are_not_forgotten),
        cmocka_unit_test(a_pause_that_the_provider_names_is_waited_for_elsewhere),
        cmocka_unit_test(what_is_cancelled_meanwhile_ends_at_once),
        cmocka_unit_test(an_answer_of_another_model_is_not_paid_again),
        cmocka_unit_test(who_has_another_model_to_ask_is_not_put_off),
        cmocka_unit_test(the_first_of_an_id_stays_the_first),
        cmocka_unit_test(they_come_back_step_by_step),
        cmocka_unit_test(beyond_their_number_they_keep_their_place),
        cmocka_unit_test(a_reload_that_gives_the_model_another_address_lets_them_go),
        cmocka_unit_test(a_limit_that_is_used_up_fills_no_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
