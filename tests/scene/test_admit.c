/*
 * Goal: what cannot be answered goes to the dead letters with its reason and its original bytes,
 * gets a failed final result where its id can be read, and never stops a partition.
 * Method: a table of bad records, each with a good one behind it in the same partition.
 */
#include "tests/scene/scene.h"

static struct sim *world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_partitions(sim, 1);
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 10});
    return sim;
}

static void what_cannot_be_answered_goes_to_the_dead_letters_and_the_partition_goes_on(void **state)
{
    static const struct {
        struct sim_request request;
        const char *code, *status; /* status NULL: no final result */
    } cases[] = {
        {{.raw = "this is no JSON"}, "invalid_encoding", NULL},
        {{.raw = "\xff\xfe{}"}, "invalid_encoding", NULL},
        {{.raw = "[1,2]"}, "invalid_request", NULL},
        {{.raw = "{\"id\":\"bad\",\"input\":7}"}, "invalid_request", "failed"},
        {{.raw = "{\"id\":\"bad\"}"}, "invalid_request", "failed"},
        {{.id = "bad", .models = "nobody"}, "unknown_model", "failed"},
        {{.id = "bad", .models = "alpha,nobody"}, "unknown_model", "failed"},
        {{.id = "bad", .reply_to = "other.topic"}, "reply_to_forbidden", "failed"},
        {{.id = "bad", .deadline_ms = 1000, .created_at_ms = -5000}, "expired", "expired"},
        {{.id = "bad", .session = "s", .topic = "quern.requests.batch"},
         "session_in_batch",
         "failed"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sim *sim = world(100 + i);
        sim_worker(sim, "w1");
        struct sim_place place = sim_publish(sim, cases[i].request);
        sim_publish(sim, (struct sim_request){.id = "good", .topic = cases[i].request.topic});
        assert_true(sim_settle(sim));

        assert_int_equal(sim_dead_count(sim), 1);
        struct sim_dead dead = sim_dead(sim, 0);
        assert_str(dead.code, cases[i].code);
        assert_true(dead.reason.len > 10);
        assert_int_equal(dead.offset, place.offset);
        if (cases[i].request.raw)
            assert_str(dead.value, cases[i].request.raw);
        assert_str(sim_final(sim, "good")->status, "done");
        const struct sim_final *final = sim_final(sim, "bad");
        assert_int_equal(final != NULL, cases[i].status != NULL);
        if (final)
            assert_str(final->status, cases[i].status);
        assert_int_equal(sim_call_count(sim), 1);
        sim_free(sim);
    }
}

static void a_known_id_with_another_body_changes_nothing_of_the_first(void **state)
{
    static const int64_t pauses_ms[] = {0, 5, 40, 2000, 900000}; /* the last: Redis forgot it */
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        struct sim *sim = world(200 + i);
        sim_worker(sim, "w1");
        sim_publish(sim, (struct sim_request){.id = "r1", .input = "first"});
        sim_run_ms(sim, pauses_ms[i]);
        sim_publish(sim, (struct sim_request){.id = "r1", .input = "second"});
        sim_publish(sim, (struct sim_request){.id = "r2"});
        assert_true(sim_settle(sim));

        assert_int_equal(sim_parts_of(sim, "r1"), 1);
        assert_int_equal(sim_calls_of(sim, "default/r1/"), 1);
        assert_str(sim_final(sim, "r1")->status, "done");
        assert_int_equal(sim_final(sim, "r1")->offset, 0);
        assert_int_equal(sim_dead_count(sim), 1);
        assert_str(sim_dead(sim, 0).code, "id_conflict");
        assert_int_equal(sim_dead(sim, 0).offset, 1);
        const struct reply *reply = sim_conflict_of(sim, "r1");
        assert_non_null(reply);
        assert_str(reply->error.code, "id_conflict");
        sim_free(sim);
    }
}

static void a_request_without_an_id_gets_the_same_one_after_a_death(void **state)
{
    struct sim *sim = world(300);
    (void)state;
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 100});
    sim_publish(sim, (struct sim_request){.input = "who am I"});
    struct sim_process *first = sim_worker(sim, "w1");
    sim_run_ms(sim, 50);
    assert_int_equal(sim_call_count(sim), 1);
    sim_kill(first);
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_call_count(sim), 2);
    assert_true(str_eq(sim_call(sim, 0)->id, sim_call(sim, 1)->id));
    assert_int_equal(sim_final_count(sim), 1);
    sim_free(sim);
}

static void two_tenants_may_use_the_same_id_and_session(void **state)
{
    struct sim *sim = world(301);
    (void)state;
    sim_worker(sim, "w1");
    for (int turn = 0; turn < 3; turn++) {
        sim_publish(sim, (struct sim_request){
                             .id = nth("r", turn), .tenant = "a", .session = "s", .input = "A"});
        sim_publish(sim, (struct sim_request){
                             .id = nth("r", turn), .tenant = "b", .session = "s", .input = "B"});
    }
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), 6);
    assert_int_equal(sim_dead_count(sim), 0);
    for (size_t i = 0; i < sim_call_count(sim); i++) {
        const struct sim_call *call = sim_call(sim, i);
        const char *own = call->id.data[0] == 'a' ? "A" : "B";
        for (uint32_t m = 0; m < call->messages->count; m += 2)
            assert_str(value_get_str(&call->messages->items[m], "content"), own);
    }
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            what_cannot_be_answered_goes_to_the_dead_letters_and_the_partition_goes_on),
        cmocka_unit_test(a_known_id_with_another_body_changes_nothing_of_the_first),
        cmocka_unit_test(a_request_without_an_id_gets_the_same_one_after_a_death),
        cmocka_unit_test(two_tenants_may_use_the_same_id_and_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
