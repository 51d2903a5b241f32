/*
 * Goal: every call to a provider is a row of the ledger, once, whatever became of it and of who
 * made it.
 */
#include "tests/scene/scene.h"

static struct sim *world(uint64_t seed, int64_t after_ms)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = after_ms});
    return sim;
}

static size_t runs_of(const struct sim *sim, const char *outcome)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_run_rows(sim); i++)
        count += str_is(sim_run_row(sim, i)->outcome, outcome);
    return count;
}

static int64_t tokens_of(const struct sim *sim)
{
    int64_t tokens = 0;
    for (size_t i = 0; i < sim_usage_rows(sim); i++)
        tokens += sim_usage_row(sim, i)->input_tokens + sim_usage_row(sim, i)->output_tokens;
    return tokens;
}

/* Each row names what its publisher wrote into the request. */
static void expect_noted(const struct sim *sim, const char *note)
{
    assert_true(sim_run_rows(sim) > 0);
    for (size_t i = 0; i < sim_run_rows(sim); i++)
        assert_str(sim_run_row(sim, i)->metadata, note);
}

/* Two workers die one after the other with the same request in hand; the third answers. */
static void each_life_that_ends_with_a_call_has_a_row(void **state)
{
    (void)state;
    struct sim *sim = world(1, 2000);
    sim_publish(sim, (struct sim_request){.id = "r1", .note = "order 17"});
    for (int i = 0; i < 2; i++) {
        struct sim_process *worker = sim_worker(sim, "w1");
        sim_run_ms(sim, 1500);
        assert_int_equal(sim_call_count(sim), i + 1);
        sim_kill(worker);
    }
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 3);
    assert_int_equal(runs_of(sim, "ok"), 1);
    assert_int_equal(runs_of(sim, "ambiguous"), 2);
    assert_int_equal(sim_run_rows(sim), 3);
    assert_int_equal(tokens_of(sim), 15);
    expect_noted(sim, "{\"note\":\"order 17\"}");
    sim_free(sim);
}

/* Another process takes over from a dead one whose claim is still there. */
static void who_takes_over_tells_of_the_dead_ones_call(void **state)
{
    (void)state;
    struct sim *sim = world(2, 1000);
    struct sim_process *worker = sim_worker(sim, "w1");
    sim_run_ms(sim, 500);
    sim_publish(sim, (struct sim_request){.id = "r1"});
    sim_run_ms(sim, 500);
    assert_int_equal(sim_call_count(sim), 1);
    sim_kill(worker);
    sim_worker(sim, "w2");
    assert_true(sim_settle(sim));
    assert_int_equal(runs_of(sim, "ok"), 1);
    assert_int_equal(runs_of(sim, "ambiguous"), 1);
    sim_free(sim);
}

/* Nobody is there until long after the deadline: nothing is called any more, and the call of the
 * dead one is told all the same. */
static void a_death_is_told_of_long_after_the_deadline(void **state)
{
    (void)state;
    struct sim *sim = world(4, 1000);
    struct sim_process *worker = sim_worker(sim, "w1");
    sim_run_ms(sim, 500);
    sim_publish(sim, (struct sim_request){.id = "r1", .deadline_ms = 1500});
    sim_run_ms(sim, 500);
    assert_int_equal(sim_call_count(sim), 1);
    sim_kill(worker);
    sim_run_ms(sim, 50 * 60000);
    sim_worker(sim, "w2");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 1);
    assert_str(sim_final(sim, "r1")->status, "expired");
    assert_int_equal(runs_of(sim, "ambiguous"), 1);
    assert_int_equal(sim_run_rows(sim), 1);
    sim_free(sim);
}

/* The request is left to the next worker, the failed calls are in the ledger all the same. */
static void calls_of_what_is_given_up_are_told(void **state)
{
    (void)state;
    struct sim *sim = world(3, 10);
    sim_set(sim, "worker.retry_base", "3s");
    sim_set(sim, "worker.retry_cap", "3s");
    sim_provider_now(sim, "alpha", (struct sim_reply){.status = 500});
    struct sim_process *worker = sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1", .note = "order 18"});
    sim_run_ms(sim, 600);
    size_t failed = sim_call_count(sim);
    assert_true(failed > 0);
    sim_term(worker);
    sim_run_ms(sim, 500);
    assert_false(sim_running(worker));
    assert_int_equal(runs_of(sim, "failed"), failed);
    assert_null(sim_final(sim, "r1"));
    expect_noted(sim, "{\"note\":\"order 18\"}"); /* though the request has no row yet */
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 10});
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_int_equal(runs_of(sim, "ok"), 1);
    assert_int_equal(runs_of(sim, "ambiguous"), 0);
    assert_int_equal(sim_run_rows(sim), sim_call_count(sim));
    expect_noted(sim, "{\"note\":\"order 18\"}");
    sim_free(sim);
}

static void outcomes_say_who_ended_the_call(void **state)
{
    static const struct {
        struct sim_reply reply;
        int64_t deadline_ms;
        const char *outcome;
    } cases[] = {
        {{.after_ms = 10}, 0, "ok"},
        {{.status = 400}, 0, "failed"},
        {{.trouble = SIM_CUT}, 0, "cut"},
        {{.after_ms = 60000}, 900, "cancelled"},
        {{.trouble = SIM_REFUSED}, 0, "failed"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sim *sim = sim_new(10 + i);
        sim_set(sim, "default_model", "alpha");
        sim_provider(sim, "alpha", cases[i].reply);
        sim_set(sim, "models.alpha.attempts_max", "1");
        sim_worker(sim, "w1");
        sim_publish(sim, (struct sim_request){.id = "r1", .deadline_ms = cases[i].deadline_ms});
        assert_true(sim_settle(sim));
        assert_int_equal(sim_run_rows(sim), 1);
        assert_str(sim_run_row(sim, 0)->outcome, cases[i].outcome);
        sim_free(sim);
    }
}

/* More calls than a result has room for; its rows are told on the way, and all of them in the end.
 */
static void a_turn_that_waits_for_long_tells_of_all_its_calls(void **state)
{
    (void)state;
    struct sim *sim = world(4, 10);
    sim_set(sim, "models.alpha.breaker_failures", "2");
    sim_provider_now(sim, "alpha", (struct sim_reply){.status = 503});
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1", .session = "s", .deadline_ms = 3600000});
    sim_run_ms(sim, 600000);
    assert_in_range(runs_of(sim, "failed"), 80, sim_call_count(sim));
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 10});
    assert_true(sim_settle(sim));
    assert_int_equal(runs_of(sim, "ok"), 1);
    assert_in_range(sim_call_count(sim), 120, 160);
    assert_int_equal(sim_run_rows(sim), sim_call_count(sim));
    sim_free(sim);
}

/* 12.0 is a count; a text, a negative number, one beyond all, and none at all are not. */
static void tokens_that_cannot_be_read_cost_nobody_knows_what(void **state)
{
    static const struct {
        const char *usage;
        int64_t tokens, cost;
    } cases[] = {
        {"{\"prompt_tokens\":12.0,\"completion_tokens\":5.0}", 17, 17},
        {"{\"prompt_tokens\":12,\"completion_tokens\":\"5\"}", 12, 12},
        {"{\"prompt_tokens\":-12,\"completion_tokens\":1e308}", 0, 0},
        {"{\"prompt_tokens\":9223372036854775808}", 0, 0},
        {"{\"prompt_tokens\":{}}", 0, 0},
        {"{}", 0, 0},
        {"[]", 0, 0},
    };
    char body[300];
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sim *sim = world(20 + i, 10);
        sim_set(sim, "models.alpha.price_input", "1");
        sim_set(sim, "models.alpha.price_output", "1");
        snprintf(body, sizeof(body),
                 "{\"choices\":[{\"message\":{\"content\":\"hi\"}}],\"usage\":%s}", cases[i].usage);
        sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 10, .body = body});
        sim_publish(sim, (struct sim_request){.id = "r1"});
        sim_worker(sim, "w1");
        assert_true(sim_settle(sim));
        assert_int_equal(sim_usage_rows(sim), 1);
        assert_int_equal(tokens_of(sim), cases[i].tokens);
        assert_int_equal(sim_usage_row(sim, 0)->cost_microusd, cases[i].cost);
        assert_int_equal(sim_part(sim, "r1", 0)->cost_microusd,
                         cases[i].tokens ? cases[i].cost : INT_ABSENT);
        sim_free(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_life_that_ends_with_a_call_has_a_row),
        cmocka_unit_test(who_takes_over_tells_of_the_dead_ones_call),
        cmocka_unit_test(a_death_is_told_of_long_after_the_deadline),
        cmocka_unit_test(calls_of_what_is_given_up_are_told),
        cmocka_unit_test(outcomes_say_who_ended_the_call),
        cmocka_unit_test(a_turn_that_waits_for_long_tells_of_all_its_calls),
        cmocka_unit_test(tokens_that_cannot_be_read_cost_nobody_knows_what),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
