/*
 * Goal: a provider's troubles cost what they must and nothing more.
 * Method: scripted providers under the simulated clock; the ledger says when each call came.
 */
#include "tests/scene/scene.h"

#include <stdlib.h>

#include "common/app/metrics.h"

static struct sim *world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    return sim;
}

/* One worker, one request, to its end. */
static void ask(struct sim *sim, struct sim_request request)
{
    sim_worker(sim, "w1");
    sim_publish(sim, request);
    assert_true(sim_settle(sim));
}

static void an_answer_comes_back_with_its_usage(void **state)
{
    struct sim *sim = world(1);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 35});
    ask(sim, (struct sim_request){.id = "r1"});

    const struct result *part = sim_part(sim, "r1", 0);
    assert_non_null(part);
    assert_str(part->status, "ok");
    assert_str(part->model, "alpha");
    assert_int_equal(part->usage.input, 10);
    assert_int_equal(part->usage.output, 5);
    assert_int_equal(part->attempts.count, 1);
    assert_int_equal(sim_parts_of(sim, "r1"), 1);
    assert_str(sim_final(sim, "r1")->status, "done");
    assert_int_equal(sim_call_count(sim), 1);
    sim_free(sim);
}

static void a_busy_provider_is_asked_again_after_the_pause_it_asked_for(void **state)
{
    struct sim *sim = world(2);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.status = 429, .headers = "Retry-After: 2\r\n"});
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 10});
    ask(sim, (struct sim_request){.id = "r1"});

    assert_int_equal(sim_call_count(sim), 2);
    assert_between(sim_call(sim, 1)->at_ms - sim_call(sim, 0)->end_ms, 2000, 2000 + 250 / 4 + 1);
    assert_str(sim_part(sim, "r1", 0)->status, "ok");
    assert_int_equal(sim_part(sim, "r1", 0)->attempts.count, 2);
    sim_free(sim);
}

static void a_pause_that_ends_past_the_deadline_is_not_begun(void **state)
{
    struct sim *sim = world(3);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.status = 429, .headers = "Retry-After: 60\r\n"});
    ask(sim, (struct sim_request){.id = "r1", .deadline_ms = 5000});

    assert_int_equal(sim_call_count(sim), 1);
    assert_str(sim_part(sim, "r1", 0)->error.code, "provider_rate_limit");
    assert_true(sim_final(sim, "r1")->stored_ms < 200);
    sim_free(sim);
}

static void no_call_begins_or_lasts_past_the_deadline(void **state)
{
    struct sim *sim = world(4);
    (void)state;
    sim_set(sim, "models.alpha.timeout", "700ms");
    sim_set(sim, "models.alpha.attempts_max", "50");
    sim_provider(sim, "alpha", (struct sim_reply){.trouble = SIM_SILENT});
    ask(sim, (struct sim_request){.id = "r1", .deadline_ms = 3000});

    assert_between(sim_call_count(sim), 3, 6);
    for (size_t i = 0; i < sim_call_count(sim); i++) {
        assert_true(sim_call(sim, i)->at_ms < 3000);
        assert_true(sim_call(sim, i)->end_ms <= 3001);
        assert_true(sim_call(sim, i)->end_ms - sim_call(sim, i)->at_ms <= 700);
    }
    /* Cut by the deadline, or not worth another pause before it. */
    struct str code = sim_part(sim, "r1", 0)->error.code;
    assert_true(str_is(code, "expired") || str_is(code, "provider_timeout"));
    assert_true(sim_final(sim, "r1")->stored_ms < 3100);
    sim_free(sim);
}

static void pauses_between_attempts_grow_are_jittered_and_stay_below_their_ceiling(void **state)
{
    int64_t longest[6] = {0}, shortest[6] = {99999, 99999, 99999, 99999, 99999, 99999};
    static const int64_t ceilings[6] = {100, 200, 400, 400, 400, 400};
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim *sim = world(seed);
        sim_set(sim, "worker.retry_base", "100ms");
        sim_set(sim, "worker.retry_cap", "400ms");
        sim_set(sim, "models.alpha.attempts_max", "7");
        sim_provider(sim, "alpha", (struct sim_reply){.status = 500});
        ask(sim, (struct sim_request){.id = "r1"});
        assert_int_equal(sim_call_count(sim), 7);
        assert_str(sim_part(sim, "r1", 0)->error.code, "provider_down");
        for (size_t i = 0; i < 6; i++) {
            int64_t pause = sim_call(sim, i + 1)->at_ms - sim_call(sim, i)->end_ms;
            assert_between(pause, 0, ceilings[i] + 1);
            longest[i] = pause > longest[i] ? pause : longest[i];
            shortest[i] = pause < shortest[i] ? pause : shortest[i];
        }
        sim_free(sim);
    }
    for (size_t i = 0; i < 6; i++) {
        assert_true(longest[i] > ceilings[i] / 2);
        assert_true(shortest[i] < ceilings[i] / 2);
    }
}

static void a_pause_does_not_take_the_place_of_a_call(void **state)
{
    struct sim *sim = world(5);
    (void)state;
    sim_set(sim, "worker.max_in_flight", "1");
    sim_provider(sim, "alpha", (struct sim_reply){.status = 429, .headers = "Retry-After: 10\r\n"});
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 10});
    sim_provider(sim, "beta", (struct sim_reply){.after_ms = 10});
    ask(sim, (struct sim_request){.id = "r1", .models = "alpha,beta"});

    assert_int_equal(sim_call_count(sim), 3);
    assert_string_equal(sim_call(sim, 1)->provider, "beta");
    assert_true(sim_call(sim, 1)->end_ms < 1000);
    assert_int_equal(sim_calls_at_once_max(sim), 1);
    sim_free(sim);
}

static void calls_in_flight_reach_the_limit_and_never_pass_it(void **state)
{
    struct sim *sim = world(6);
    (void)state;
    sim_set(sim, "worker.max_in_flight", "7");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 30});
    sim_provider(sim, "beta", (struct sim_reply){.after_ms = 90});
    sim_provider(sim, "gamma", (struct sim_reply){.after_ms = 10});
    for (int i = 0; i < 40; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i), .models = "alpha,beta,gamma"});
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 120);
    assert_int_equal(sim_final_count(sim), 40);
    assert_int_equal(sim_calls_at_once_max(sim), 7);
    sim_free(sim);
}

static void several_models_report_on_their_own(void **state)
{
    struct sim *sim = world(7);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 20});
    sim_provider(sim, "beta", (struct sim_reply){.status = 401, .after_ms = 60});
    sim_provider(sim, "gamma", (struct sim_reply){.after_ms = 5000});
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1", .models = "gamma,alpha,beta"});
    sim_run_ms(sim, 1000);
    assert_int_equal(sim_result_count(sim), 2); /* the slow one holds up nobody */
    assert_str(sim_part(sim, "r1", 1)->status, "ok");
    assert_str(sim_part(sim, "r1", 2)->error.code, "provider_auth");
    assert_null(sim_final(sim, "r1"));

    assert_true(sim_settle(sim));
    assert_int_equal(sim_result_count(sim), 3);
    assert_str(sim_part(sim, "r1", 0)->model, "gamma");
    assert_int_equal(sim_part(sim, "r1", 0)->slots, 3);
    assert_str(sim_final(sim, "r1")->status, "done");
    sim_free(sim);
}

static void a_refused_a_cut_and_a_silent_call_are_tried_again(void **state)
{
    static const enum sim_trouble troubles[] = {SIM_REFUSED, SIM_CUT, SIM_SILENT};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct sim *sim = world(8 + i);
        sim_set(sim, "models.alpha.timeout", "2s");
        sim_provider(sim, "alpha", (struct sim_reply){.trouble = troubles[i]});
        sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 10});
        ask(sim, (struct sim_request){.id = "r1"});
        assert_str(sim_part(sim, "r1", 0)->status, "ok");
        assert_int_equal(sim_part(sim, "r1", 0)->attempts.count, 2);
        sim_free(sim);
    }
}

static void what_asking_again_cannot_help_is_asked_once(void **state)
{
    static const struct {
        int status;
        const char *code;
    } cases[] = {{400, "provider_refused"}, {401, "provider_auth"}, {404, "provider_not_found"}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct sim *sim = world(11 + i);
        sim_provider(sim, "alpha", (struct sim_reply){.status = cases[i].status});
        ask(sim, (struct sim_request){.id = "r1"});
        assert_int_equal(sim_call_count(sim), 1);
        assert_str(sim_part(sim, "r1", 0)->error.code, cases[i].code);
        assert_str(sim_final(sim, "r1")->status, "failed");
        sim_free(sim);
    }
}

static void a_reload_that_lowers_the_attempts_leaves_requests_at_work_as_they_began(void **state)
{
    struct sim *sim = world(14);
    (void)state;
    sim_set(sim, "models.alpha.attempts_max", "3");
    sim_set(sim, "models.alpha.breaker_failures", "0"); /* each call counts */
    sim_set(sim, "worker.retry_base", "1s");
    sim_provider(sim, "alpha", (struct sim_reply){.status = 503, .after_ms = 100});
    struct sim_process *worker = sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1"});
    sim_run_ms(sim, 60);
    assert_int_equal(sim_call_count(sim), 1);
    for (int attempts = 1; attempts <= 4; attempts++) {
        sim_set(sim, "models.alpha.attempts_max", nth("", attempts * 9));
        sim_set(sim, "worker.history_bytes", nth("", attempts * 1000));
        sim_reload(worker);
        sim_run_ms(sim, 1);
    }
    sim_publish(sim, (struct sim_request){.id = "r2", .deadline_ms = 3600000});
    assert_true(sim_settle(sim));
    assert_int_equal(sim_calls_of(sim, "default/r1/"), 3);
    assert_int_equal(sim_calls_of(sim, "default/r2/"), 36);
    sim_free(sim);
}

/* ---- the provider is away ---- */

/* All calls that requests r0.. have paid for, by their own books: what is put off meanwhile has its
 * calls told before its part. */
static size_t attempts_of(struct sim *sim, int requests)
{
    for (int i = 0; i < requests; i++)
        assert_non_null(sim_part(sim, nth("r", i), 0));
    return sim_run_rows(sim);
}

static size_t parts_with(struct sim *sim, int requests, const char *code)
{
    size_t count = 0;
    for (int i = 0; i < requests; i++)
        count += str_is(sim_part(sim, nth("r", i), 0)->error.code, code);
    return count;
}

static size_t parts_ok(struct sim *sim, int requests)
{
    size_t count = 0;
    for (int i = 0; i < requests; i++)
        count += str_is(sim_part(sim, nth("r", i), 0)->status, "ok");
    return count;
}

static int64_t breaker_openings(void)
{
    return metric_of("quern_breaker_openings_total{model=\"alpha\"} ");
}

static void publish_many(struct sim *sim, int count, int64_t deadline_ms)
{
    for (int i = 0; i < count; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i), .deadline_ms = deadline_ms});
}

static void an_outage_of_five_seconds_costs_few_calls_and_no_request(void **state)
{
    static const enum sim_trouble troubles[] = {SIM_REFUSED, SIM_CUT, SIM_NO_TROUBLE};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct sim *sim = world(30 + i);
        sim_set(sim, "worker.max_in_flight", "25");
        sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 200});
        publish_many(sim, 200, 0);
        sim_worker(sim, "w1");
        sim_run_ms(sim, 700);
        sim_provider_now(sim, "alpha", (struct sim_reply){.status = 503, .trouble = troubles[i]});
        sim_run_ms(sim, 5000);
        sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 200});
        assert_true(sim_settle(sim));
        assert_int_equal(sim_final_count(sim), 200);
        assert_int_equal(parts_ok(sim, 200), 200);
        assert_between(attempts_of(sim, 200), 201, 240);
        /* 1.6 s of work, 5 s of outage, a second until it is noticed, two for the ramp. */
        assert_true(sim_now_ms(sim) < 10000);
        sim_free(sim);
    }
}

/* Those who wait take turns in trying whether the provider is back, and none of them fails of it.
 */
static void an_outage_of_five_minutes_fails_no_request_that_has_the_time(void **state)
{
    static const enum sim_trouble troubles[] = {SIM_REFUSED, SIM_NO_TROUBLE};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct sim *sim = world(80 + i);
        sim_set(sim, "worker.max_in_flight", "25");
        sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 200});
        publish_many(sim, 200, 3600000);
        sim_worker(sim, "w1");
        sim_run_ms(sim, 700);
        sim_provider_now(sim, "alpha", (struct sim_reply){.status = 503, .trouble = troubles[i]});
        sim_run_ms(sim, 300000);
        sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 200});
        assert_true(sim_settle(sim));
        assert_int_equal(parts_ok(sim, 200), 200);
        assert_between(attempts_of(sim, 200), 450, 550); /* one try a second */
        assert_true(sim_now_ms(sim) < 310000);
        sim_free(sim);
    }
}

/* Each call is a row, and a result has room for so many: theirs are told by themselves. Turns of
 * sessions keep their place. */
static void few_who_wait_for_a_provider_wait_as_long_as_they_have_time(void **state)
{
    (void)state;
    for (int with_sessions = 0; with_sessions < 2; with_sessions++) {
        struct sim *sim = world(82);
        sim_provider(sim, "alpha", (struct sim_reply){.status = 503});
        for (int i = 0; i < 4; i++)
            sim_publish(sim, (struct sim_request){.id = nth("r", i),
                                                  .session = with_sessions ? nth("s", i) : NULL,
                                                  .deadline_ms = 3600000});
        sim_worker(sim, "w1");
        sim_run_ms(sim, 1800000);
        assert_between(sim_calls_of(sim, "default/"), 1300, 1900);
        sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 200});
        assert_true(sim_settle(sim));
        assert_between(sim_now_ms(sim), 1800000, 1807000);
        assert_int_equal(parts_ok(sim, 4), 4);
        sim_free(sim);
    }
}

/* Nobody is told that the provider is back; a wave of all who waited would be one call per place.
 */
static void after_an_outage_the_calls_grow_step_by_step(void **state)
{
    struct sim *sim = world(34);
    (void)state;
    sim_set(sim, "worker.max_in_flight", "100");
    sim_provider(sim, "alpha", (struct sim_reply){.trouble = SIM_REFUSED});
    publish_many(sim, 400, 0);
    sim_worker(sim, "w1");
    sim_run_ms(sim, 4000);
    size_t before = sim_call_count(sim);
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 500});
    assert_true(sim_settle(sim));
    int64_t first = 0;
    size_t soon = 0;
    for (size_t i = before; i < sim_call_count(sim); i++) {
        const struct sim_call *call = sim_call(sim, i);
        first = !first && call->status == 200 ? call->end_ms : first;
        soon += first && call->at_ms < first + 240;
    }
    assert_between(soon, 1, 10);
    assert_int_equal(parts_ok(sim, 400), 400);
    sim_free(sim);
}

static void errors_and_slow_downs_that_come_and_go_open_nothing(void **state)
{
    struct sim *sim = world(35);
    (void)state;
    metric_reset_all();
    sim_set(sim, "worker.max_in_flight", "50");
    for (int i = 0; i < 3000; i++) {
        uint64_t dice = sim_random(sim, 10);
        struct sim_reply reply = {.after_ms = 100};
        if (dice < 2)
            reply =
                (struct sim_reply){.status = 429, .headers = "Retry-After: 1\r\n", .after_ms = 100};
        else if (dice == 2)
            reply = (struct sim_reply){.status = 500, .after_ms = 100};
        sim_provider(sim, "alpha", reply);
    }
    publish_many(sim, 1000, 0);
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_true(parts_ok(sim, 1000) > 980); /* 0.3 to the power of 4 have bad luck */
    assert_between(attempts_of(sim, 1000), 1300, 1600);
    assert_int_equal(breaker_openings(), 0);
    assert_true(sim_now_ms(sim) < 12500);
    sim_free(sim);
}

static void whoever_waits_for_a_provider_ends_with_its_deadline(void **state)
{
    struct sim *sim = world(36);
    (void)state;
    metric_reset_all();
    sim_provider(sim, "alpha", (struct sim_reply){.trouble = SIM_REFUSED});
    publish_many(sim, 60, 3000);
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), 60);
    assert_true(parts_with(sim, 60, "expired") + parts_with(sim, 60, "provider_down") == 60);
    assert_true(parts_with(sim, 60, "expired") > 50);
    for (int i = 0; i < 60; i++)
        assert_true(sim_final(sim, nth("r", i))->stored_ms < 3200);
    assert_true(attempts_of(sim, 60) <= 72);
    size_t told = 0;
    for (int i = 0; i < 60; i++)
        told += str_is(sim_part(sim, nth("r", i), 0)->error.message,
                       "the deadline passed after 1 calls, waiting for the provider to be back; "
                       "the last one: provider_down");
    assert_true(told > 0);
    assert_int_equal(breaker_openings(), 1);
    sim_free(sim);
}

static void a_drain_does_not_wait_for_a_provider_that_is_away(void **state)
{
    struct sim *sim = world(37);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.trouble = SIM_REFUSED});
    publish_many(sim, 60, 0);
    struct sim_process *worker = sim_worker(sim, "w1");
    sim_run_ms(sim, 2000);
    int64_t from = sim_now_ms(sim);
    sim_term(worker);
    while (sim_running(worker) && sim_now_ms(sim) < from + 5000)
        sim_run_ms(sim, 10);
    assert_true(sim_drained(worker));
    assert_true(sim_now_ms(sim) - from < 200);
    size_t before = sim_call_count(sim);
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 10});
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_int_equal(parts_ok(sim, 60), 60);
    assert_int_equal(sim_call_count(sim) - before, 60);
    sim_free(sim);
}

static void a_model_that_is_away_does_not_hold_up_another(void **state)
{
    struct sim *sim = world(38);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.trouble = SIM_REFUSED});
    sim_provider(sim, "beta", (struct sim_reply){.after_ms = 50});
    for (int i = 0; i < 40; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i), .models = "alpha,beta"});
    sim_worker(sim, "w1");
    sim_run_ms(sim, 500);
    for (int i = 0; i < 40; i++) {
        assert_null(sim_part(sim, nth("r", i), 0));
        assert_str(sim_part(sim, nth("r", i), 1)->status, "ok");
    }
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 50});
    assert_true(sim_settle(sim));
    assert_int_equal(parts_ok(sim, 40), 40);
    sim_free(sim);
}

static void a_reload_does_not_forget_that_a_provider_is_away(void **state)
{
    struct sim *sim = world(39);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.status = 503});
    publish_many(sim, 100, 0);
    struct sim_process *worker = sim_worker(sim, "w1");
    sim_run_ms(sim, 2000);
    size_t before = sim_call_count(sim);
    for (int i = 0; i < 5; i++) {
        sim_set(sim, "models.alpha.timeout", i % 2 ? "60001ms" : "1m");
        sim_reload(worker);
        sim_run_ms(sim, 200);
    }
    sim_publish(sim, (struct sim_request){.id = nth("r", 100)}); /* of the new table */
    sim_run_ms(sim, 1000);
    assert_between(sim_call_count(sim) - before, 1, 3);
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 50});
    assert_true(sim_settle(sim));
    assert_int_equal(parts_ok(sim, 101), 101);
    sim_free(sim);
}

/* Without the breaker's help, so that nothing but the budget stands between. */
static void retries_in_vain_are_a_share_of_the_requests(void **state)
{
    struct sim *sim = world(40);
    (void)state;
    sim_set(sim, "models.alpha.breaker_failures", "0");
    sim_provider(sim, "alpha", (struct sim_reply){.status = 500, .after_ms = 20});
    publish_many(sim, 500, 5000);
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), 500);
    /* A fifth, the ten at first, and ten a second. */
    assert_between(attempts_of(sim, 500), 600, 500 + 100 + 10 + 50);
    sim_free(sim);
}

/* Every second call fails: far more than the budget, but a retry that helps costs nothing. */
static void retries_that_help_are_not_held_back(void **state)
{
    struct sim *sim = world(41);
    (void)state;
    sim_set(sim, "worker.max_in_flight", "20");
    for (int i = 0; i < 400; i++)
        sim_provider(sim, "alpha",
                     (struct sim_reply){.status = i / 20 % 2 ? 200 : 500, .after_ms = 20});
    sim_set(sim, "models.alpha.breaker_failures", "0");
    sim_set(sim, "models.alpha.attempts_max", "20");
    publish_many(sim, 200, 0);
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_int_equal(parts_ok(sim, 200), 200);
    assert_true(sim_now_ms(sim) < 16000); /* 6 to 15 s over seeds */
    sim_free(sim);
}

/* Whatever comes and goes, each request ends once and nobody is left at the gate. */
static void a_provider_that_comes_and_goes_loses_nobody(void **state)
{
    static const struct sim_reply moods[] = {
        {.trouble = SIM_REFUSED},
        {.trouble = SIM_CUT, .after_ms = 30},
        {.status = 503, .after_ms = 5},
        {.status = 429, .headers = "Retry-After: 1\r\n"},
        {.trouble = SIM_SILENT},
        {.after_ms = 80},
        {.after_ms = 300},
    };
    (void)state;
    for (uint64_t seed = 1; seed <= 25; seed++) {
        struct sim *sim = world(seed);
        metric_reset_all();
        sim_set(sim, "worker.max_in_flight", "12");
        sim_set(sim, "worker.drain_timeout", "2s");
        sim_set(sim, "models.alpha.timeout", "700ms");
        sim_set(sim, "models.alpha.attempts_max", "6");
        sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 80});
        sim_provider(sim, "beta", (struct sim_reply){.after_ms = 40});
        struct sim_process *worker = sim_worker(sim, "w1");
        int count = 0;
        for (int i = 0; i < 40; i++) {
            for (uint64_t n = sim_random(sim, 12); n; n--, count++)
                sim_publish(
                    sim, (struct sim_request){.id = nth("r", count),
                                              .models = sim_random(sim, 4) ? "alpha" : "alpha,beta",
                                              .deadline_ms = sim_random(sim, 4) ? 0 : 2000});
            sim_provider_now(sim, "alpha", moods[sim_random(sim, 7)]);
            if (sim_random(sim, 6) == 0)
                sim_reload(worker);
            sim_run_ms(sim, (int64_t)sim_random(sim, 800));
            if (sim_random(sim, 8) == 0) {
                (sim_random(sim, 2) ? sim_kill : sim_term)(worker);
                while (sim_running(worker))
                    sim_run_ms(sim, 10);
                worker = sim_worker(sim, "w1");
            }
        }
        sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 50});
        assert_true(sim_settle(sim));
        assert_int_equal(sim_final_count(sim), count);
        assert_int_equal(metric_of("quern_calls_held{model=\"alpha\"} "), 0);
        sim_free(sim);
    }
}

/* Some servers have it in every reply; to ask again would be paid again. */
static void a_member_named_error_that_says_nothing_is_no_error(void **state)
{
    static const char *const nothing[] = {"null", "false", "\"\"", "{}"};
    char body[200];
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct sim *sim = sim_new(80 + i);
        sim_set(sim, "default_model", "alpha");
        snprintf(body, sizeof(body),
                 "{\"error\":%s,\"choices\":[{\"message\":{\"content\":\"hi\"}}]}", nothing[i]);
        sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 10, .body = body});
        sim_worker(sim, "w1");
        sim_publish(sim, (struct sim_request){.id = "r1"});
        assert_true(sim_settle(sim));
        assert_int_equal(sim_call_count(sim), 1);
        assert_str(sim_part(sim, "r1", 0)->text, "hi");
        sim_free(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_comes_back_with_its_usage),
        cmocka_unit_test(a_busy_provider_is_asked_again_after_the_pause_it_asked_for),
        cmocka_unit_test(a_pause_that_ends_past_the_deadline_is_not_begun),
        cmocka_unit_test(no_call_begins_or_lasts_past_the_deadline),
        cmocka_unit_test(pauses_between_attempts_grow_are_jittered_and_stay_below_their_ceiling),
        cmocka_unit_test(a_pause_does_not_take_the_place_of_a_call),
        cmocka_unit_test(calls_in_flight_reach_the_limit_and_never_pass_it),
        cmocka_unit_test(several_models_report_on_their_own),
        cmocka_unit_test(a_refused_a_cut_and_a_silent_call_are_tried_again),
        cmocka_unit_test(what_asking_again_cannot_help_is_asked_once),
        cmocka_unit_test(a_reload_that_lowers_the_attempts_leaves_requests_at_work_as_they_began),
        cmocka_unit_test(an_outage_of_five_seconds_costs_few_calls_and_no_request),
        cmocka_unit_test(an_outage_of_five_minutes_fails_no_request_that_has_the_time),
        cmocka_unit_test(few_who_wait_for_a_provider_wait_as_long_as_they_have_time),
        cmocka_unit_test(after_an_outage_the_calls_grow_step_by_step),
        cmocka_unit_test(errors_and_slow_downs_that_come_and_go_open_nothing),
        cmocka_unit_test(whoever_waits_for_a_provider_ends_with_its_deadline),
        cmocka_unit_test(a_drain_does_not_wait_for_a_provider_that_is_away),
        cmocka_unit_test(a_model_that_is_away_does_not_hold_up_another),
        cmocka_unit_test(a_reload_does_not_forget_that_a_provider_is_away),
        cmocka_unit_test(retries_in_vain_are_a_share_of_the_requests),
        cmocka_unit_test(retries_that_help_are_not_held_back),
        cmocka_unit_test(a_provider_that_comes_and_goes_loses_nobody),
        cmocka_unit_test(a_member_named_error_that_says_nothing_is_no_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
