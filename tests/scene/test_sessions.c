/*
 * Goal: a conversation is answered turn by turn, each with all stored turns before it, whatever
 * stands still meanwhile.
 * Method: several turns published at once; the ledger shows which messages each call was given, and
 * the store when each turn was final.
 */
#include "tests/scene/scene.h"

enum { TURNS = 5 };

static struct sim *world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_partitions(sim, 2);
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 50});
    return sim;
}

static void publish_turns(struct sim *sim, int from, int to)
{
    for (int turn = from; turn < to; turn++)
        sim_publish(sim, (struct sim_request){
                             .id = nth("t", turn), .session = "s1", .input = nth("say ", turn)});
}

/* The ledger's last call for this turn. */
static const struct sim_call *call_of(struct sim *sim, int turn)
{
    char id[64];
    snprintf(id, sizeof(id), "default/t%d/", turn);
    for (size_t i = sim_call_count(sim); i-- > 0;)
        if (str_starts(sim_call(sim, i)->id, str_of(id)))
            return sim_call(sim, i);
    return NULL;
}

static void expect_message(const struct sim_call *call, size_t index, const char *role,
                           struct str content)
{
    assert_true(index < call->messages->count);
    const struct value *message = &call->messages->items[index];
    assert_str(value_get_str(message, "role"), role);
    assert_true(str_eq(value_get_str(message, "content"), content));
}

/* Every call of turns [from, to) was given exactly the answered turns before it, in order, and none
 * began before its predecessor was stored. */
static void expect_conversation(struct sim *sim, int from, int to)
{
    for (int turn = from; turn < to; turn++) {
        const struct sim_call *call = call_of(sim, turn);
        size_t at = 0;
        assert_non_null(call);
        for (int earlier = from; earlier < turn; earlier++) {
            const struct sim_final *final = sim_final(sim, nth("t", earlier));
            assert_non_null(final);
            assert_true(final->stored_ms <= call->at_ms);
            if (!str_is(final->status, "done"))
                continue;
            expect_message(call, at++, "user", str_of(nth("say ", earlier)));
            expect_message(call, at++, "assistant", final->text);
        }
        expect_message(call, at++, "user", str_of(nth("say ", turn)));
        assert_int_equal(call->messages->count, at);
        assert_int_equal(sim_final(sim, nth("t", turn))->turn, turn - from + 1);
    }
}

static void turns_run_in_order_each_after_the_one_before_is_stored(void **state)
{
    struct sim *sim = world(1);
    (void)state;
    sim_worker(sim, "w1");
    publish_turns(sim, 0, TURNS);
    assert_true(sim_settle(sim));
    expect_conversation(sim, 0, TURNS);
    assert_int_equal(sim_call_count(sim), TURNS);
    /* After the first turn the history came from Redis. */
    assert_int_equal(sim_asked(sim, "history"), 1);
    sim_free(sim);
}

static void another_session_does_not_wait(void **state)
{
    struct sim *sim = world(2);
    (void)state;
    sim_partitions(sim, 1);
    sim_provider(sim, "slow", (struct sim_reply){.after_ms = 30000});
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "stuck", .session = "x", .models = "slow"});
    sim_publish(sim, (struct sim_request){.id = "stuck2", .session = "x", .models = "slow"});
    publish_turns(sim, 0, TURNS);
    sim_run_ms(sim, 2000);
    assert_non_null(sim_final(sim, nth("t", TURNS - 1)));
    expect_conversation(sim, 0, TURNS);
    sim_free(sim);
}

static void lost_notices_cost_half_a_second_a_turn_and_no_order(void **state)
{
    struct sim *sim = world(3);
    (void)state;
    sim_redis_deaf(sim, true);
    sim_worker(sim, "w1");
    publish_turns(sim, 0, TURNS);
    assert_true(sim_settle(sim));
    expect_conversation(sim, 0, TURNS);
    assert_true(sim_final(sim, nth("t", TURNS - 1))->stored_ms < TURNS * 800);
    sim_free(sim);
}

static void a_turn_waits_for_a_slow_aggregator(void **state)
{
    struct sim *sim = world(4);
    (void)state;
    sim_worker(sim, "w1");
    sim_aggregator_pause(sim, true);
    publish_turns(sim, 0, 3);
    sim_run_ms(sim, 20000);
    assert_int_equal(sim_call_count(sim), 1);
    assert_true(sim_committed(sim, 0) <= 0 && sim_committed(sim, 1) <= 0);
    sim_aggregator_pause(sim, false);
    assert_true(sim_settle(sim));
    expect_conversation(sim, 0, 3);
    sim_free(sim);
}

static void a_failed_turn_is_left_out_and_the_next_goes_on(void **state)
{
    struct sim *sim = world(5);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.status = 400, .after_ms = 50});
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 50});
    sim_worker(sim, "w1");
    publish_turns(sim, 0, TURNS);
    assert_true(sim_settle(sim));
    assert_str(sim_final(sim, "t1")->status, "failed");
    expect_conversation(sim, 0, TURNS);
    sim_free(sim);
}

static void a_turn_that_expires_while_it_waits_is_not_asked_and_stops_nobody(void **state)
{
    struct sim *sim = world(6);
    (void)state;
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 3000});
    sim_worker(sim, "w1");
    publish_turns(sim, 0, 1);
    sim_publish(sim, (struct sim_request){
                         .id = "t1", .session = "s1", .input = "say 1", .deadline_ms = 1000});
    sim_publish(sim, (struct sim_request){.id = "t2", .session = "s1", .input = "say 2"});
    assert_true(sim_settle(sim));
    assert_null(call_of(sim, 1));
    assert_str(sim_final(sim, "t1")->status, "expired");
    assert_true(sim_final(sim, "t1")->stored_ms >= sim_final(sim, "t0")->stored_ms);
    assert_int_equal(call_of(sim, 2)->messages->count, 3);
    sim_free(sim);
}

/* One that is refused, or too late when it is read, takes its place in the order all the same: it
 * is final after the turn before it and before the turn after it. */
static void a_turn_that_cannot_be_asked_waits_for_its_place(void **state)
{
    struct sim *sim = world(9);
    (void)state;
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 3000});
    sim_worker(sim, "w1");
    publish_turns(sim, 0, 1);
    sim_publish(sim,
                (struct sim_request){.id = "refused", .session = "s1", .models = "there-is-none"});
    sim_publish(sim, (struct sim_request){
                         .id = "late", .session = "s1", .created_at_ms = 1, .deadline_ms = 1});
    sim_publish(sim, (struct sim_request){.id = "t1", .session = "s1", .input = "say 1"});
    assert_true(sim_settle(sim));
    assert_str(sim_final(sim, "refused")->status, "failed");
    assert_str(sim_final(sim, "late")->status, "expired");
    assert_true(sim_final(sim, "refused")->stored_ms >= sim_final(sim, "t0")->stored_ms);
    assert_true(sim_final(sim, "late")->stored_ms >= sim_final(sim, "refused")->stored_ms);
    assert_true(call_of(sim, 1)->at_ms >= sim_final(sim, "late")->stored_ms);
    assert_int_equal(call_of(sim, 1)->messages->count, 3);
    assert_int_equal(sim_call_count(sim), 2);
    sim_free(sim);
}

static void history_is_the_same_from_redis_and_from_postgres(void **state)
{
    struct str from_redis[TURNS];
    (void)state;
    struct sim *with = world(7), *without;
    sim_worker(with, "w1");
    publish_turns(with, 0, TURNS);
    assert_true(sim_settle(with));
    assert_int_equal(sim_asked(with, "history"), 1);

    without = world(7);
    sim_redis_down(without, true);
    sim_worker(without, "w1");
    publish_turns(without, 0, TURNS);
    assert_true(sim_settle(without));
    assert_int_equal(sim_asked(without, "history"), TURNS);
    for (int turn = 0; turn < TURNS; turn++) {
        from_redis[turn] = call_of(with, turn)->body;
        assert_true(str_eq(from_redis[turn], call_of(without, turn)->body));
    }
    expect_conversation(without, 0, TURNS);
    sim_free(without);
    sim_free(with);
}

static void a_conversation_goes_on_in_another_worker(void **state)
{
    struct sim *sim = world(8);
    (void)state;
    struct sim_process *first = sim_worker(sim, "w1");
    publish_turns(sim, 0, 2);
    assert_true(sim_settle(sim));
    sim_kill(first);
    sim_worker(sim, "w2");
    publish_turns(sim, 2, TURNS);
    assert_true(sim_settle(sim));
    expect_conversation(sim, 0, TURNS);
    sim_free(sim);
}

static void a_redis_that_forgets_in_the_middle_leaves_no_hole(void **state)
{
    (void)state;
    for (int turn = 1; turn < TURNS; turn++) {
        struct sim *sim = world(20 + (uint64_t)turn);
        sim_worker(sim, "w1");
        publish_turns(sim, 0, turn);
        assert_true(sim_settle(sim));
        sim_redis_flush(sim);
        publish_turns(sim, turn, TURNS);
        assert_true(sim_settle(sim));
        expect_conversation(sim, 0, TURNS);
        assert_int_equal(sim_call_count(sim), TURNS);
        sim_free(sim);
    }
}

/* The stored list of another conversation, or of other turns, is not believed. */
static void a_stale_list_in_redis_is_not_used(void **state)
{
    struct sim *sim = world(30);
    (void)state;
    sim_worker(sim, "w1");
    publish_turns(sim, 0, 2);
    assert_true(sim_settle(sim));
    static const char *const clear[] = {"DEL", "quern:conversation:{default:s1}", NULL};
    static const char *const plant[] = {
        "RPUSH", "quern:conversation:{default:s1}",
        "{\"turn\":1,\"id\":\"t0\",\"messages\":[{\"role\":\"user\",\"content\":\"wrong\"}]}",
        NULL};
    sim_redis(sim, clear);
    sim_redis(sim, plant);
    publish_turns(sim, 2, TURNS);
    assert_true(sim_settle(sim));
    expect_conversation(sim, 0, TURNS);
    sim_free(sim);
}

static void without_any_store_a_turn_waits_rather_than_forget(void **state)
{
    struct sim *sim = world(31);
    (void)state;
    sim_worker(sim, "w1");
    publish_turns(sim, 0, 2);
    assert_true(sim_settle(sim));
    sim_redis_flush(sim);
    sim_postgres_down(sim, true);
    publish_turns(sim, 2, 3);
    sim_run_ms(sim, 60000);
    assert_null(call_of(sim, 2));
    sim_postgres_down(sim, false);
    assert_true(sim_settle(sim));
    expect_conversation(sim, 0, 3);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_run_in_order_each_after_the_one_before_is_stored),
        cmocka_unit_test(another_session_does_not_wait),
        cmocka_unit_test(lost_notices_cost_half_a_second_a_turn_and_no_order),
        cmocka_unit_test(a_turn_waits_for_a_slow_aggregator),
        cmocka_unit_test(a_failed_turn_is_left_out_and_the_next_goes_on),
        cmocka_unit_test(a_turn_that_expires_while_it_waits_is_not_asked_and_stops_nobody),
        cmocka_unit_test(a_turn_that_cannot_be_asked_waits_for_its_place),
        cmocka_unit_test(history_is_the_same_from_redis_and_from_postgres),
        cmocka_unit_test(a_conversation_goes_on_in_another_worker),
        cmocka_unit_test(a_redis_that_forgets_in_the_middle_leaves_no_hole),
        cmocka_unit_test(a_stale_list_in_redis_is_not_used),
        cmocka_unit_test(without_any_store_a_turn_waits_rather_than_forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
