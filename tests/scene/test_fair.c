/*
 * Goal: one tenant's very many requests hold up nobody else; what was read past is not lost, not
 * asked twice, and keeps its order.
 * Method: bursts, far larger than what is kept whole; the provider's ledger says when each call
 * came.
 */
#include "tests/scene/scene.h"

#include "common/app/metrics.h"

static struct sim *world(uint64_t seed, int64_t latency_ms, const char *in_flight)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = latency_ms});
    sim_set(sim, "worker.max_in_flight", in_flight);
    sim_set(sim, "worker.read_ahead", "8");
    sim_set(sim, "worker.stub_bytes", "0");
    return sim;
}

static void publish(struct sim *sim, const char *tenant, const char *prefix, int count)
{
    for (int i = 0; i < count; i++)
        sim_publish(sim, (struct sim_request){.id = nth(prefix, i), .tenant = tenant});
}

/* Calls for that tenant before the first one of the other. */
static size_t calls_before(struct sim *sim, const char *tenant, const char *other, size_t from)
{
    size_t count = 0;
    for (size_t i = from; i < sim_call_count(sim); i++) {
        if (str_starts(sim_call(sim, i)->id, str_of(other)))
            return count;
        count += str_starts(sim_call(sim, i)->id, str_of(tenant));
    }
    fail_msg("there is no call of %s", other);
    return count;
}

static void expect_all_answered_once(struct sim *sim, const char *tenant, const char *prefix,
                                     int count)
{
    for (int i = 0; i < count; i++) {
        const struct sim_final *final = sim_final_of(sim, tenant, nth(prefix, i));
        assert_non_null(final);
        assert_str(final->status, "done");
    }
}

static void a_light_tenant_behind_a_burst_is_next(void **state)
{
    struct sim *sim = world(1, 50, "4");
    (void)state;
    sim_worker(sim, "w1");
    publish(sim, "heavy", "h", 600);
    sim_run_ms(sim, 500);
    size_t from = sim_call_count(sim);
    assert_between(from, 10, 60);
    publish(sim, "light", "l", 1);
    assert_true(sim_settle(sim));
    assert_between(calls_before(sim, "heavy/", "light/", from), 0, 5);
    assert_int_equal(sim_call_count(sim), 601);
    expect_all_answered_once(sim, "heavy", "h", 600);
    expect_all_answered_once(sim, "light", "l", 1);
    sim_free(sim);
}

static void little_is_held_however_much_was_read(void **state)
{
    struct sim *sim = world(2, 50, "4");
    (void)state;
    struct sim_process *worker = sim_worker(sim, "w1");
    publish(sim, "heavy", "h", 2000);
    for (int i = 0; i < 100; i++) {
        sim_run_ms(sim, 10);
        assert_between(sim_records_held(worker), 0, 8 + 1 + 4 + 1);
    }
    assert_int_equal(sim_paused(worker), 0);
    sim_free(sim);
}

static void what_was_read_past_outlives_deaths_and_moves(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct sim *sim = world(seed, 20, "5");
        struct sim_process *worker = sim_worker(sim, "w1");
        sim_run_ms(sim, 300);
        publish(sim, "heavy", "h", 200);
        publish(sim, "light", "l", 20);
        sim_run_ms(sim, 150 + (int64_t)seed * 7);
        sim_worker(sim, "w2"); /* half of the partitions go */
        sim_run_ms(sim, 200);
        sim_kill(worker);
        sim_run_ms(sim, 100);
        sim_worker(sim, "w1");
        assert_true(sim_settle(sim));
        expect_all_answered_once(sim, "heavy", "h", 200);
        expect_all_answered_once(sim, "light", "l", 20);
        assert_between(sim_call_count(sim), 220, 220 + 5); /* those in flight at the kill */
        sim_free(sim);
    }
}

static void turns_keep_their_order_though_they_were_read_past(void **state)
{
    struct sim *sim = world(3, 20, "6");
    (void)state;
    sim_worker(sim, "w1");
    for (int i = 0; i < 120; i++)
        sim_publish(sim, (struct sim_request){
                             .id = nth("t", i), .tenant = "heavy", .session = nth("s", i % 3)});
    assert_true(sim_settle(sim));
    for (int i = 0; i < 120; i++)
        assert_int_equal(sim_final_of(sim, "heavy", nth("t", i))->turn, i / 3 + 1);
    sim_free(sim);
}

static void while_kafka_is_away_bodies_are_asked_for_again(void **state)
{
    struct sim *sim = world(4, 20, "4");
    (void)state;
    sim_worker(sim, "w1");
    publish(sim, "heavy", "h", 200);
    sim_run_ms(sim, 200);
    sim_kafka_down(sim, true);
    sim_run_ms(sim, 4500); /* less than a session, more than a question for bodies waits */
    sim_kafka_down(sim, false);
    assert_true(sim_settle(sim));
    expect_all_answered_once(sim, "heavy", "h", 200);
    assert_int_equal(sim_call_count(sim), 200);
    sim_free(sim);
}

static void what_is_too_late_when_its_turn_comes_is_not_called(void **state)
{
    struct sim *sim = world(5, 100, "2");
    int expired = 0;
    (void)state;
    sim_worker(sim, "w1");
    sim_run_ms(sim, 300);
    for (int i = 0; i < 200; i++)
        sim_publish(
            sim, (struct sim_request){.id = nth("h", i), .tenant = "heavy", .deadline_ms = 1000});
    sim_run_ms(sim, 1500);
    publish(sim, "heavy", "n", 1);
    int64_t asked = sim_now_ms(sim);
    assert_true(sim_settle(sim));
    for (int i = 0; i < 200; i++)
        expired += str_is(sim_final_of(sim, "heavy", nth("h", i))->status, "expired");
    assert_between(expired, 170, 190);
    assert_between(sim_call_count(sim), 11, 31);
    /* Without those the way is free. */
    assert_between(sim_final_of(sim, "heavy", "n0")->stored_ms - asked, 0, 1000);
    sim_free(sim);
}

/* What the first ones were estimated too high at is given back, which is the same for both. */
static void a_tenant_of_weight_three_gets_three_times_as_much(void **state)
{
    struct sim *sim = world(9, 50, "20");
    size_t gold = 0;
    (void)state;
    sim_set(sim, "tenants.gold.weight", "3");
    sim_set(sim, "worker.read_ahead", "1000");
    for (int i = 0; i < 400; i++) {
        sim_publish(sim, (struct sim_request){.id = nth("g", i), .tenant = "gold"});
        sim_publish(sim, (struct sim_request){.id = nth("p", i), .tenant = "plain"});
    }
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    for (size_t i = 200; i < 440; i++)
        gold += str_starts(sim_call(sim, i)->id, STR("gold/"));
    assert_between(gold, 160, 200);
    sim_free(sim);
}

/* At a rate limit all of one tenant's requests wait that have begun. */
static void at_a_rate_limit_a_light_tenant_does_not_wait_behind_the_many(void **state)
{
    struct sim *sim = world(6, 20, "200");
    (void)state;
    sim_set(sim, "models.alpha.requests_per_minute", "20");
    sim_set(sim, "worker.read_ahead", "400");
    sim_worker(sim, "w1");
    sim_run_ms(sim, 500);
    publish(sim, "heavy", "h", 100);
    sim_run_ms(sim, 2000);
    assert_int_equal(sim_call_count(sim), 20);
    publish(sim, "light", "l", 2);
    sim_run_ms(sim, 63000);
    assert_between(sim_call_count(sim), 38, 40);
    assert_int_equal(sim_calls_of(sim, "light/"), 2);
    assert_between(calls_before(sim, "heavy/", "light/", 20), 0, 4);
    assert_true(sim_settle(sim));
    sim_free(sim);
}

/* A request to three models is one of max_in_flight, and three that want a permit. */
static void for_permits_tenants_go_by_turns_too(void **state)
{
    struct sim *sim = world(7, 100, "6");
    (void)state;
    sim_provider(sim, "beta", (struct sim_reply){.after_ms = 100});
    sim_provider(sim, "gamma", (struct sim_reply){.after_ms = 100});
    sim_worker(sim, "w1");
    sim_run_ms(sim, 500);
    for (int i = 0; i < 5; i++)
        sim_publish(sim, (struct sim_request){
                             .id = nth("h", i), .tenant = "heavy", .models = "alpha,beta,gamma"});
    sim_run_ms(sim, 50);
    assert_int_equal(sim_call_count(sim), 6);
    publish(sim, "light", "l", 1);
    assert_true(sim_settle(sim));
    assert_between(calls_before(sim, "heavy/", "light/", 6), 0, 2);
    sim_free(sim);
}

static void a_request_of_nobody_is_refused_as_ever(void **state)
{
    struct sim *sim = world(8, 20, "2");
    (void)state;
    sim_worker(sim, "w1");
    publish(sim, "heavy", "h", 50);
    sim_publish(sim, (struct sim_request){.raw = "{\"id\":\"bad\",\"tenant\":7,\"input\":\"x\"}"});
    sim_publish(sim, (struct sim_request){.raw = "no request"});
    assert_true(sim_settle(sim));
    assert_int_equal(sim_dead_count(sim), 2);
    expect_all_answered_once(sim, "heavy", "h", 50);
    sim_free(sim);
}

/* While there is room for it, what was read past is not read again; the order is the same. */
static void what_is_read_past_is_kept_while_there_is_room(void **state)
{
    static const char *const rooms[] = {"1MiB", "20000", "0"};
    uint64_t again[3];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct sim *sim = world(60, 20, "4");
        metric_reset_all();
        sim_set(sim, "worker.stub_bytes", rooms[i]);
        sim_worker(sim, "w1");
        publish(sim, "heavy", "h", 300);
        assert_true(sim_settle(sim));
        expect_all_answered_once(sim, "heavy", "h", 300);
        assert_int_equal(sim_call_count(sim), 300);
        again[i] = (uint64_t)metric_get(METRIC_records_fetched_again_total);
        sim_free(sim);
    }
    assert_int_equal(again[0], 0);
    assert_between(again[1], 1, again[2] - 1);
    assert_between(again[2], 200, 300);
}

/* A job is large, and cold when it begins: most wait as copies, unless there is no room for those.
 */
static void few_wait_as_jobs(void **state)
{
    static const struct {
        const char *copies;
        int64_t least, most; /* jobs that wait, of 1,990 requests that do */
    } cases[] = {{"1MiB", 64, 128}, {"0", 1000, 1990}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct sim *sim = world(61, 1000, "10");
        metric_reset_all();
        sim_set(sim, "worker.read_ahead", "4000");
        sim_set(sim, "worker.stub_bytes", cases[i].copies);
        sim_worker(sim, "w1");
        publish(sim, "heavy", "h", 2000);
        sim_run_ms(sim, 5000);
        assert_between(metric_get(METRIC_requests_ahead), cases[i].least, cases[i].most);
        assert_between(metric_get(METRIC_requests_ahead) + metric_get(METRIC_requests_ahead_stubs),
                       1900, 1990);
        assert_true(sim_settle(sim));
        expect_all_answered_once(sim, "heavy", "h", 2000);
        assert_int_equal(sim_call_count(sim), 2000);
        assert_int_equal(metric_get(METRIC_records_fetched_again_total), 0);
        sim_free(sim);
    }
}

/* A provider says of one answer that it had a billion tokens. */
static void one_odd_count_does_not_put_a_tenant_behind_all_others(void **state)
{
    struct sim *sim = world(12, 100, "1");
    (void)state;
    sim_provider_now(sim, "alpha",
                     (struct sim_reply){.after_ms = 100,
                                        .body = "{\"choices\":[{\"message\":{\"content\":\"hi\"}}],"
                                                "\"usage\":{\"prompt_tokens\":10,"
                                                "\"completion_tokens\":999999999}}"});
    sim_provider(sim, "alpha",
                 (struct sim_reply){.after_ms = 100,
                                    .body = "{\"choices\":[{\"message\":{\"content\":\"hi\"}}],"
                                            "\"usage\":{\"prompt_tokens\":10,"
                                            "\"completion_tokens\":50}}"});
    sim_worker(sim, "w1");
    publish(sim, "light", "l", 1);
    sim_run_ms(sim, 3000);
    publish(sim, "heavy", "h", 2000);
    sim_run_ms(sim, 1000);
    size_t from = sim_call_count(sim);
    publish(sim, "light", "m", 1);
    sim_run_ms(sim, 100000); /* of the 200 s that all take */
    assert_between(calls_before(sim, "heavy/", "light/", from), 0, 400);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_light_tenant_behind_a_burst_is_next),
        cmocka_unit_test(little_is_held_however_much_was_read),
        cmocka_unit_test(what_was_read_past_outlives_deaths_and_moves),
        cmocka_unit_test(turns_keep_their_order_though_they_were_read_past),
        cmocka_unit_test(while_kafka_is_away_bodies_are_asked_for_again),
        cmocka_unit_test(what_is_too_late_when_its_turn_comes_is_not_called),
        cmocka_unit_test(a_tenant_of_weight_three_gets_three_times_as_much),
        cmocka_unit_test(at_a_rate_limit_a_light_tenant_does_not_wait_behind_the_many),
        cmocka_unit_test(for_permits_tenants_go_by_turns_too),
        cmocka_unit_test(a_request_of_nobody_is_refused_as_ever),
        cmocka_unit_test(what_is_read_past_is_kept_while_there_is_room),
        cmocka_unit_test(few_wait_as_jobs),
        cmocka_unit_test(one_odd_count_does_not_put_a_tenant_behind_all_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
