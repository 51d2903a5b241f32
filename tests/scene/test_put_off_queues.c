/*
 * Goal: who waits for room among a model's calls, for a token of the budget of retries or at a
 * limit costs those who want something else nothing, and those who want the same no time: the model
 * is used as fully as before, nothing is lost, asked twice or forgotten. Method: few places, very
 * many requests for a model that is full; the providers' ledger says when each call came.
 */
#include "tests/scene/scene.h"

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

static int64_t put_off_now(struct sim *sim)
{
    sim_run_ms(sim, 1);
    return metric_of("\nquern_requests_put_off ");
}

static void expect_all_done(struct sim *sim, const char *prefix, int count)
{
    for (int i = 0; i < count; i++) {
        const struct sim_final *final = sim_final(sim, nth(prefix, i));
        assert_non_null(final);
        assert_str(final->status, "done");
    }
}

/* How long each of so many takes that are published one after the other. */
static void expect_soon(struct sim *sim, const char *prefix, int count, const char *models)
{
    for (int i = 0; i < count; i++) {
        int64_t asked = sim_now_ms(sim);
        sim_publish(sim, (struct sim_request){.id = nth(prefix, i), .models = models});
        while (!sim_final(sim, nth(prefix, i)) && sim_now_ms(sim) < asked + 2000)
            sim_run_ms(sim, 5);
        assert_between(sim_now_ms(sim) - asked, 50, 50 + 150);
    }
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_do_not_notice_that_a_model_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
