/*
 * Goal: a request with a route is answered by whichever of its models is there, in the order that
 * its policy says, and nobody is asked who need not be.
 * Method: scripted providers under the simulated clock; the ledger says who was called when.
 */
#include "tests/scene/scene.h"

static const char too_long[] =
    "{\"error\":{\"message\":\"this model's maximum context length is 8\","
    "\"code\":\"context_length_exceeded\"}}";
static const char filtered[] = "{\"error\":{\"message\":\"filtered\",\"code\":\"content_filter\"}}";

/* alpha and beta answer, a route names both. */
static struct sim *world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "routes.both.models", "alpha,beta");
    return sim;
}

static void answers(struct sim *sim, const char *name, int64_t after_ms)
{
    sim_provider(sim, name, (struct sim_reply){.after_ms = after_ms});
}

static void fails(struct sim *sim, const char *name, int status)
{
    sim_provider(sim, name, (struct sim_reply){.status = status, .after_ms = 5});
}

static void ask(struct sim *sim, const char *id)
{
    sim_publish(sim, (struct sim_request){.id = id, .route = "both"});
}

static size_t calls_to(struct sim *sim, const char *provider)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_call_count(sim); i++)
        count += strcmp(sim_call(sim, i)->provider, provider) == 0;
    return count;
}

/* Who answered; "" nobody. */
static struct str answered(struct sim *sim, const char *id)
{
    const struct result *part = sim_part(sim, id, 0);
    assert_non_null(part);
    return str_is(part->status, "ok") ? part->model : STR("");
}

static void the_first_of_a_route_answers_and_nobody_else_is_asked(void **state)
{
    struct sim *sim = world(1);
    (void)state;
    answers(sim, "alpha", 20);
    answers(sim, "beta", 20);
    sim_worker(sim, "w1");
    ask(sim, "r1");
    assert_true(sim_settle(sim));
    assert_str(answered(sim, "r1"), "alpha");
    assert_int_equal(sim_call_count(sim), 1);
    assert_int_equal(sim_parts_of(sim, "r1"), 1);
    sim_free(sim);
}

/* What the row of each status says decides: at once, after its attempts, never. */
static void an_error_moves_on_as_its_class_says(void **state)
{
    static const struct {
        int status;
        size_t alpha, beta;
        const char *model;
    } cases[] = {{401, 1, 1, "beta"}, {404, 1, 1, "beta"}, {402, 1, 1, "beta"},
                 {500, 4, 1, "beta"}, {503, 4, 1, "beta"}, {400, 1, 0, ""}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sim *sim = world(2 + i);
        fails(sim, "alpha", cases[i].status);
        answers(sim, "beta", 20);
        sim_worker(sim, "w1");
        ask(sim, "r1");
        assert_true(sim_settle(sim));
        assert_str(answered(sim, "r1"), cases[i].model);
        assert_int_equal(calls_to(sim, "alpha"), cases[i].alpha);
        assert_int_equal(calls_to(sim, "beta"), cases[i].beta);
        const struct result *part = sim_part(sim, "r1", 0);
        assert_int_equal(part->attempts.count, cases[i].alpha + cases[i].beta);
        assert_str(part->attempts.items[0].model, "alpha");
        sim_free(sim);
    }
}

static void when_none_is_left_the_error_names_all(void **state)
{
    struct sim *sim = world(10);
    (void)state;
    fails(sim, "alpha", 404);
    fails(sim, "beta", 401);
    sim_worker(sim, "w1");
    ask(sim, "r1");
    assert_true(sim_settle(sim));
    const struct result *part = sim_part(sim, "r1", 0);
    assert_str(part->status, "failed");
    assert_str(part->error.code, "provider_auth");
    assert_non_null(
        strstr(part->error.message.data, "alpha provider_not_found, beta provider_auth"));
    sim_free(sim);
}

/* A key that was refused a moment ago is not tried by everybody. */
static void a_model_whose_key_was_refused_is_the_last_to_be_asked(void **state)
{
    struct sim *sim = world(48);
    (void)state;
    fails(sim, "alpha", 401);
    fails(sim, "beta", 404);
    sim_worker(sim, "w1");
    for (int i = 0; i < 3; i++) {
        ask(sim, nth("r", i));
        assert_true(sim_settle(sim));
        const struct result *part = sim_part(sim, nth("r", i), 0);
        assert_str(part->error.code, i ? "provider_auth" : "provider_not_found");
        assert_non_null(strstr(part->error.message.data, "alpha provider_auth"));
        assert_non_null(strstr(part->error.message.data, "beta provider_not_found"));
    }
    assert_int_equal(calls_to(sim, "alpha"), 1);
    assert_int_equal(calls_to(sim, "beta"), 3);
    sim_run_ms(sim, 31000);
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 20});
    ask(sim, "later");
    assert_true(sim_settle(sim));
    assert_str(answered(sim, "later"), "alpha");
    sim_free(sim);
}

static void nobody_waits_at_the_gate_of_an_away_provider(void **state)
{
    struct sim *sim = world(11);
    (void)state;
    answers(sim, "alpha", 20);
    answers(sim, "beta", 20);
    sim_set(sim, "models.alpha.breaker_failures", "3");
    sim_set(sim, "models.alpha.breaker_pause_max", "600s");
    sim_provider_down(sim, "alpha", true);
    sim_worker(sim, "w1");
    for (int i = 0; i < 40; i++)
        ask(sim, nth("r", i));
    sim_run_ms(sim, 3000);
    for (int i = 0; i < 40; i++)
        assert_str(answered(sim, nth("r", i)), "beta");
    size_t before = sim_call_count(sim);
    ask(sim, "late");
    sim_run_ms(sim, 200);
    assert_str(answered(sim, "late"), "beta");
    assert_int_equal(sim_call_count(sim), before + 1);
    sim_provider_down(sim, "alpha", false);
    assert_true(sim_settle(sim));
    sim_free(sim);
}

/* Both are away, and the one that is not waited at comes back. */
static void whoever_comes_back_first_answers(void **state)
{
    static const char *const backs[] = {"alpha", "beta"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct sim *sim = world(12 + i);
        answers(sim, "alpha", 20);
        answers(sim, "beta", 20);
        sim_set(sim, "models.alpha.breaker_failures", "2");
        sim_set(sim, "models.beta.breaker_failures", "2");
        sim_set(sim, "models.alpha.attempts_max", "50");
        sim_set(sim, "models.beta.attempts_max", "50");
        sim_provider_down(sim, "alpha", true);
        sim_provider_down(sim, "beta", true);
        sim_worker(sim, "w1");
        for (int n = 0; n < 20; n++)
            ask(sim, nth("r", n));
        sim_run_ms(sim, 10000);
        for (int n = 0; n < 20; n++)
            assert_null(sim_part(sim, nth("r", n), 0));
        sim_provider_down(sim, backs[i], false);
        sim_run_ms(sim, 10000);
        for (int n = 0; n < 20; n++)
            assert_str(answered(sim, nth("r", n)), backs[i]);
        sim_free(sim);
    }
}

static void a_long_retry_after_is_not_waited_for(void **state)
{
    struct sim *sim = world(14);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.status = 429, .headers = "Retry-After: 30\r\n"});
    answers(sim, "beta", 20);
    sim_worker(sim, "w1");
    ask(sim, "r1");
    sim_run_ms(sim, 500);
    assert_str(answered(sim, "r1"), "beta");
    assert_true(sim_settle(sim));
    sim_free(sim);
}

static void too_long_and_filtered_go_to_the_named_ones_only(void **state)
{
    static const struct {
        const char *body, *setting, *model;
        size_t beta, gamma;
    } cases[] = {{too_long, "routes.both.context_models", "gamma", 0, 1},
                 {filtered, "routes.both.filter_models", "gamma", 0, 1},
                 {too_long, "routes.both.filter_models", "", 0, 0},
                 {filtered, "routes.both.context_models", "", 0, 0}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sim *sim = world(20 + i);
        sim_provider(sim, "alpha", (struct sim_reply){.status = 400, .body = cases[i].body});
        answers(sim, "beta", 20);
        answers(sim, "gamma", 20);
        sim_set(sim, cases[i].setting, "gamma");
        sim_worker(sim, "w1");
        ask(sim, "r1");
        assert_true(sim_settle(sim));
        assert_str(answered(sim, "r1"), cases[i].model);
        assert_int_equal(calls_to(sim, "beta"), cases[i].beta);
        assert_int_equal(calls_to(sim, "gamma"), cases[i].gamma);
        sim_free(sim);
    }
}

static void a_window_that_is_too_small_is_passed_over(void **state)
{
    struct sim *sim = world(30);
    static char text[4001];
    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    answers(sim, "alpha", 20);
    answers(sim, "beta", 20);
    sim_set(sim, "models.alpha.context_tokens", "500");
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "long", .route = "both", .input = text});
    ask(sim, "short");
    assert_true(sim_settle(sim));
    assert_str(answered(sim, "long"), "beta");
    assert_str(answered(sim, "short"), "alpha");
    sim_free(sim);
}

static void a_short_budget_means_the_local_model(void **state)
{
    struct sim *sim = world(31);
    (void)state;
    answers(sim, "alpha", 20);
    answers(sim, "beta", 20);
    sim_set(sim, "models.beta.local", "true");
    sim_set(sim, "routes.both.policy", "rule");
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1", .route = "both", .max_latency_ms = 499});
    sim_publish(sim, (struct sim_request){.id = "r2", .route = "both", .max_latency_ms = 500});
    sim_publish(sim, (struct sim_request){.id = "r3", .route = "both", .deadline_ms = 400});
    ask(sim, "r4");
    assert_true(sim_settle(sim));
    assert_str(answered(sim, "r1"), "beta");
    assert_str(answered(sim, "r2"), "alpha");
    assert_str(answered(sim, "r3"), "beta");
    assert_str(answered(sim, "r4"), "alpha");
    sim_free(sim);
}

static void weights_share_out_the_requests(void **state)
{
    struct sim *sim = world(32);
    (void)state;
    answers(sim, "alpha", 20);
    answers(sim, "beta", 20);
    sim_set(sim, "routes.both.policy", "weighted");
    sim_set(sim, "routes.both.models", "alpha=3,beta=1");
    sim_worker(sim, "w1");
    for (int i = 0; i < 400; i++)
        ask(sim, nth("r", i));
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 400);
    assert_between(calls_to(sim, "alpha"), 260, 340);
    sim_free(sim);
}

static void the_fastest_lately_is_asked(void **state)
{
    struct sim *sim = world(33);
    (void)state;
    answers(sim, "alpha", 900);
    answers(sim, "beta", 20);
    sim_set(sim, "routes.both.policy", "least_latency");
    sim_worker(sim, "w1");
    for (int i = 0; i < 100; i++) {
        ask(sim, nth("r", i));
        sim_run_ms(sim, 1000);
    }
    assert_true(sim_settle(sim));
    assert_between(calls_to(sim, "beta"), 85, 97); /* the other is looked at now and then */
    sim_free(sim);
}

static void a_model_has_fallbacks_of_its_own(void **state)
{
    struct sim *sim = world(34);
    (void)state;
    fails(sim, "alpha", 401);
    answers(sim, "beta", 20);
    sim_set(sim, "models.alpha.fallback", "beta");
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1", .models = "alpha"});
    assert_true(sim_settle(sim));
    assert_str(answered(sim, "r1"), "beta");
    assert_str(sim_final(sim, "r1")->status, "done");
    sim_free(sim);
}

static void a_default_route_is_for_who_names_nothing(void **state)
{
    struct sim *sim = world(35);
    (void)state;
    answers(sim, "alpha", 20);
    answers(sim, "beta", 20);
    sim_set(sim, "default_route", "both");
    sim_provider_down(sim, "alpha", true);
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1"});
    assert_true(sim_settle(sim));
    assert_str(answered(sim, "r1"), "beta");
    sim_free(sim);
}

static void an_unknown_route_and_a_route_with_models_are_refused(void **state)
{
    struct sim *sim = world(36);
    (void)state;
    answers(sim, "alpha", 20);
    answers(sim, "beta", 20);
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1", .route = "alpha"});
    sim_publish(sim, (struct sim_request){.id = "r2", .route = "both", .models = "alpha"});
    sim_publish(sim, (struct sim_request){.id = "r3", .models = "both"});
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 0);
    assert_str(sim_part(sim, "r1", 0)->error.code, "unknown_route");
    assert_non_null(strstr(sim_part(sim, "r1", 0)->error.message.data, "ask for it in models"));
    assert_str(sim_part(sim, "r2", 0)->error.code, "invalid_request");
    assert_str(sim_part(sim, "r3", 0)->error.code, "unknown_model");
    assert_non_null(strstr(sim_part(sim, "r3", 0)->error.message.data, "ask for it as route"));
    sim_free(sim);
}

static void a_refused_key_is_left_alone_and_the_others_are_used(void **state)
{
    struct sim *sim = sim_new(40);
    (void)state;
    sim_set(sim, "default_model", "alpha");
    answers(sim, "alpha", 20);
    sim_set(sim, "models.alpha.api_keys", "k1,k2,k3");
    sim_provider_refuses(sim, "alpha", "k2", 401);
    sim_worker(sim, "w1");
    for (int i = 0; i < 60; i++) {
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
        sim_run_ms(sim, 50);
    }
    assert_true(sim_settle(sim));
    size_t counts[4] = {0};
    for (size_t i = 0; i < sim_call_count(sim); i++)
        counts[sim_call(sim, i)->key.data[1] - '0']++;
    assert_int_equal(counts[2], 1);
    assert_between(counts[1], 25, 35);
    assert_int_equal(counts[1] + counts[3], 60);
    for (int i = 0; i < 60; i++)
        assert_str(sim_final(sim, nth("r", i))->status, "done");
    sim_free(sim);
}

static void when_all_keys_are_refused_the_error_says_so_without_a_call(void **state)
{
    struct sim *sim = sim_new(41);
    (void)state;
    sim_set(sim, "default_model", "alpha");
    fails(sim, "alpha", 401);
    sim_set(sim, "models.alpha.api_keys", "k1,k2");
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1"});
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 2);
    assert_str(sim_part(sim, "r1", 0)->error.code, "provider_auth");
    sim_publish(sim, (struct sim_request){.id = "r2"});
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 2);
    assert_str(sim_part(sim, "r2", 0)->error.code, "provider_auth");
    assert_non_null(
        strstr(sim_part(sim, "r2", 0)->error.message.data, "every key (2) of model 'alpha'"));
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 10});
    sim_run_ms(sim, 301000);
    sim_publish(sim, (struct sim_request){.id = "r3"});
    assert_true(sim_settle(sim));
    assert_str(answered(sim, "r3"), "alpha");
    sim_free(sim);
}

/* Some providers say 403 of a prompt: that must not take all keys away. */
static void a_forbidden_prompt_does_not_bench_the_last_key(void **state)
{
    struct sim *sim = sim_new(42);
    (void)state;
    sim_set(sim, "default_model", "alpha");
    fails(sim, "alpha", 403);
    fails(sim, "alpha", 403);
    answers(sim, "alpha", 10);
    sim_set(sim, "models.alpha.api_keys", "k1,k2");
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "odd"});
    assert_true(sim_settle(sim));
    sim_publish(sim, (struct sim_request){.id = "r1"});
    assert_true(sim_settle(sim));
    assert_str(answered(sim, "r1"), "alpha");
    sim_free(sim);
}

static void a_slowed_key_gives_way_to_another_at_once(void **state)
{
    struct sim *sim = sim_new(43);
    (void)state;
    sim_set(sim, "default_model", "alpha");
    answers(sim, "alpha", 10);
    sim_set(sim, "models.alpha.api_keys", "k1,k2");
    sim_provider_refuses(sim, "alpha", "k1", 429);
    sim_worker(sim, "w1");
    for (int i = 0; i < 4; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
    sim_run_ms(sim, 100);
    for (int i = 0; i < 4; i++)
        assert_str(answered(sim, nth("r", i)), "alpha");
    assert_true(sim_settle(sim));
    sim_free(sim);
}

static void each_key_has_a_limit_of_its_own(void **state)
{
    struct sim *sim = sim_new(44);
    (void)state;
    sim_set(sim, "default_model", "alpha");
    answers(sim, "alpha", 10);
    sim_set(sim, "models.alpha.api_keys", "k1,k2");
    sim_set(sim, "models.alpha.requests_per_minute", "30");
    sim_worker(sim, "w1");
    for (int i = 0; i < 60; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
    sim_run_ms(sim, 10000);
    size_t first = 0;
    for (size_t i = 0; i < sim_call_count(sim); i++)
        first += str_is(sim_call(sim, i)->key, "k1");
    assert_int_equal(sim_call_count(sim), 60);
    assert_int_equal(first, 30);
    assert_true(sim_settle(sim));
    sim_free(sim);
}

static void a_used_up_limit_is_waited_for_a_second_only(void **state)
{
    struct sim *sim = world(45);
    (void)state;
    answers(sim, "alpha", 10);
    answers(sim, "beta", 10);
    sim_set(sim, "models.alpha.requests_per_minute", "10");
    sim_worker(sim, "w1");
    for (int i = 0; i < 30; i++)
        ask(sim, nth("r", i));
    sim_run_ms(sim, 5000);
    assert_int_equal(calls_to(sim, "alpha"), 10);
    assert_int_equal(calls_to(sim, "beta"), 20);
    assert_true(sim_settle(sim));
    sim_free(sim);
}

static void a_reload_drops_no_call_and_new_requests_take_the_new_route(void **state)
{
    struct sim *sim = world(46);
    (void)state;
    answers(sim, "alpha", 2000);
    answers(sim, "beta", 20);
    struct sim_process *worker = sim_worker(sim, "w1");
    ask(sim, "old");
    sim_run_ms(sim, 500);
    sim_set(sim, "routes.both.models", "beta");
    sim_reload(worker);
    ask(sim, "new");
    sim_run_ms(sim, 500);
    assert_str(answered(sim, "new"), "beta");
    assert_true(sim_settle(sim));
    assert_str(answered(sim, "old"), "alpha");
    assert_int_equal(sim_call_count(sim), 2);
    sim_free(sim);
}

static void a_benched_key_stays_benched_over_a_reload(void **state)
{
    struct sim *sim = sim_new(47);
    (void)state;
    sim_set(sim, "default_model", "alpha");
    answers(sim, "alpha", 10);
    sim_set(sim, "models.alpha.api_keys", "k1,k2");
    sim_provider_refuses(sim, "alpha", "k1", 401);
    struct sim_process *worker = sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1"});
    assert_true(sim_settle(sim));
    sim_set(sim, "models.alpha.api_keys", "k0,k2,k1");
    sim_reload(worker);
    for (int i = 2; i < 20; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i)});
    assert_true(sim_settle(sim));
    size_t refused = 0;
    for (size_t i = 0; i < sim_call_count(sim); i++)
        refused += str_is(sim_call(sim, i)->key, "k1");
    assert_int_equal(refused, 1);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_of_a_route_answers_and_nobody_else_is_asked),
        cmocka_unit_test(an_error_moves_on_as_its_class_says),
        cmocka_unit_test(when_none_is_left_the_error_names_all),
        cmocka_unit_test(a_model_whose_key_was_refused_is_the_last_to_be_asked),
        cmocka_unit_test(nobody_waits_at_the_gate_of_an_away_provider),
        cmocka_unit_test(whoever_comes_back_first_answers),
        cmocka_unit_test(a_long_retry_after_is_not_waited_for),
        cmocka_unit_test(too_long_and_filtered_go_to_the_named_ones_only),
        cmocka_unit_test(a_window_that_is_too_small_is_passed_over),
        cmocka_unit_test(a_short_budget_means_the_local_model),
        cmocka_unit_test(weights_share_out_the_requests),
        cmocka_unit_test(the_fastest_lately_is_asked),
        cmocka_unit_test(a_model_has_fallbacks_of_its_own),
        cmocka_unit_test(a_default_route_is_for_who_names_nothing),
        cmocka_unit_test(an_unknown_route_and_a_route_with_models_are_refused),
        cmocka_unit_test(a_refused_key_is_left_alone_and_the_others_are_used),
        cmocka_unit_test(when_all_keys_are_refused_the_error_says_so_without_a_call),
        cmocka_unit_test(a_forbidden_prompt_does_not_bench_the_last_key),
        cmocka_unit_test(a_slowed_key_gives_way_to_another_at_once),
        cmocka_unit_test(each_key_has_a_limit_of_its_own),
        cmocka_unit_test(a_used_up_limit_is_waited_for_a_second_only),
        cmocka_unit_test(a_reload_drops_no_call_and_new_requests_take_the_new_route),
        cmocka_unit_test(a_benched_key_stays_benched_over_a_reload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
