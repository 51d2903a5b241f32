/*
 * Goal: what nobody wants any more is not asked for, a call under way ends at once, and the request
 * has its one final result all the same.
 * Method: requests are cancelled before, while and after their call, as `quern cancel` does it.
 */
#include "tests/scene/scene.h"

static struct sim *world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 2000});
    return sim;
}

static void cancel(struct sim *sim, const char *id)
{
    char key[64], message[64];
    snprintf(key, sizeof(key), "quern:cancelled:{default:%s}", id);
    snprintf(message, sizeof(message), "default\x1f%s", id);
    sim_redis(sim, (const char *const[]){"SET", key, "1", NULL});
    sim_redis(sim, (const char *const[]){"PUBLISH", "quern:cancel", message, NULL});
}

static void a_call_under_way_ends_at_once(void **state)
{
    struct sim *sim = world(1);
    (void)state;
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1"});
    sim_publish(sim, (struct sim_request){.id = "r2"});
    sim_run_ms(sim, 1000);
    cancel(sim, "r1");
    assert_true(sim_settle(sim));

    assert_int_equal(sim_call_count(sim), 2);
    for (size_t i = 0; i < 2; i++) {
        const struct sim_call *call = sim_call(sim, i);
        bool is_first = str_starts(call->id, STR("default/r1/"));
        assert_int_equal(call->status, is_first ? -1 : 200);
        assert_true(!is_first || call->end_ms - call->at_ms < 1100);
    }
    const struct result *part = sim_part(sim, "r1", 0);
    assert_str(part->status, "cancelled");
    assert_str(part->error.code, "cancelled");
    assert_str(part->attempts.items[0].outcome, "cancelled");
    assert_str(sim_final(sim, "r1")->status, "cancelled");
    assert_str(sim_final(sim, "r2")->status, "done");
    sim_free(sim);
}

static void what_was_cancelled_before_it_was_read_is_never_asked(void **state)
{
    struct sim *sim = world(2);
    (void)state;
    cancel(sim, "r1");
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1"});
    assert_true(sim_settle(sim));

    assert_int_equal(sim_call_count(sim), 0);
    assert_str(sim_final(sim, "r1")->status, "cancelled");
    sim_free(sim);
}

static void what_waits_for_its_next_attempt_waits_no_longer(void **state)
{
    struct sim *sim = world(3);
    (void)state;
    sim_provider_now(sim, "alpha",
                     (struct sim_reply){.status = 429, .headers = "Retry-After: 60\r\n"});
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1"});
    sim_run_ms(sim, 1000);
    cancel(sim, "r1");
    sim_run_ms(sim, 1000);

    assert_int_equal(sim_call_count(sim), 1);
    assert_str(sim_final(sim, "r1")->status, "cancelled");
    sim_free(sim);
}

static void an_answer_that_is_there_stays(void **state)
{
    struct sim *sim = world(4);
    (void)state;
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1"});
    assert_true(sim_settle(sim));
    cancel(sim, "r1");
    sim_run_ms(sim, 5000);

    assert_str(sim_final(sim, "r1")->status, "done");
    assert_int_equal(sim_call_count(sim), 1);
    sim_free(sim);
}

static void the_next_turn_of_its_session_begins(void **state)
{
    struct sim *sim = world(5);
    (void)state;
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1", .session = "s"});
    sim_publish(sim, (struct sim_request){.id = "r2", .session = "s"});
    sim_run_ms(sim, 500);
    cancel(sim, "r1");
    assert_true(sim_settle(sim));

    assert_str(sim_final(sim, "r1")->status, "cancelled");
    assert_str(sim_final(sim, "r2")->status, "done");
    assert_true(sim_final(sim, "r2")->stored_ms < 4000);
    sim_free(sim);
}

static void a_worker_that_takes_over_knows_of_it(void **state)
{
    struct sim *sim = world(6);
    (void)state;
    struct sim_process *first = sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1"});
    sim_run_ms(sim, 1000);
    sim_kill(first);
    cancel(sim, "r1");
    sim_worker(sim, "w2");
    assert_true(sim_settle(sim));

    assert_int_equal(sim_call_count(sim), 1); /* that of the first */
    assert_str(sim_final(sim, "r1")->status, "cancelled");
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_under_way_ends_at_once),
        cmocka_unit_test(what_was_cancelled_before_it_was_read_is_never_asked),
        cmocka_unit_test(what_waits_for_its_next_attempt_waits_no_longer),
        cmocka_unit_test(an_answer_that_is_there_stays),
        cmocka_unit_test(the_next_turn_of_its_session_begins),
        cmocka_unit_test(a_worker_that_takes_over_knows_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
