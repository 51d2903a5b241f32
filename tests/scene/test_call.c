/*
 * Goal: a provider's troubles cost what they must and nothing more.
 * Method: scripted providers under the simulated clock; the ledger says when each call came.
 */
#include "tests/scene/scene.h"

static struct sim *world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    return sim;
}

static void an_answer_comes_back_with_its_usage(void **state)
{
    struct sim *sim = world(1);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 35});
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1"});
    assert_true(sim_settle(sim));

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_comes_back_with_its_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
