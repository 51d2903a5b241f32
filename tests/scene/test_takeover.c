/*
 * Goal: a request gets one final result, one row per paid call and its reply, whatever happens to
 * the aggregators and to PostgreSQL meanwhile.
 * Method: aggregators die, stand still, come and go, and transactions fail at moments drawn from
 * the seed; afterwards the books are compared.
 */
#include "tests/scene/books.h"

/* ---- transactions ---- */

static void a_lost_answer_of_commit_stores_nothing_twice(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 24; n++) {
        struct sim *sim = world(100 + n);
        sim_aggregator(sim, "a1");
        sim_aggregator(sim, "a2");
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS);
        if (n % 2)
            sim_postgres_lose_answer(sim, n / 2 + 1);
        else
            sim_postgres_lose_question(sim, n / 2);
        assert_true(sim_settle(sim));
        assert_true(sim_now_ms(sim) < 3000); /* nobody waited for a sweep by the clock */
        expect_all_done(sim);
        expect_ledger(sim);
        sim_free(sim);
    }
}

static void an_aggregator_that_dies_in_a_transaction_is_taken_over(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 40; n++) {
        struct sim *sim = world(200 + n);
        struct sim_process *one = sim_aggregator(sim, "a1");
        sim_aggregator(sim, "a2");
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS);
        sim_fault(sim, (struct sim_fault){
                           .door = SIM_POSTGRES, .nth = n, .way = n % 2 ? SIM_DIE : SIM_DIE_AFTER});
        sim_run_ms(sim, 600);
        bool died = !sim_running(one);
        if (died && n % 3 == 0)
            sim_aggregator(sim, "a1");
        sim_worker(sim, "w2"); /* it may have been the worker */
        assert_true(sim_settle(sim));
        expect_all_done(sim);
        sim_free(sim);
    }
}

static void refused_transactions_are_done_again(void **state)
{
    static const char *const statements[] = {"own", "fence", "store", "outbox_sent", "outbox_load"};
    static const char *const sqlstates[] = {"40001", "40P01", "53100", "57014", "57P01"};
    (void)state;
    for (size_t i = 0; i < 25; i++) {
        struct sim *sim = world(300 + i);
        sim_postgres_fails(sim, statements[i / 5], sqlstates[i % 5], 3);
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS);
        assert_true(sim_settle(sim));
        expect_all_done(sim);
        expect_ledger(sim);
        sim_free(sim);
    }
}

static void connections_may_be_ended_at_any_time(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim *sim = world(400 + seed);
        sim_aggregator(sim, "a1");
        sim_aggregator(sim, "a2");
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS);
        for (int i = 0; i < 8; i++) {
            sim_run_ms(sim, (int64_t)sim_random(sim, 120));
            sim_postgres_terminate(sim);
        }
        assert_true(sim_settle(sim));
        expect_all_done(sim);
        expect_ledger(sim);
        sim_free(sim);
    }
}

static void what_cannot_be_stored_fails_alone(void **state)
{
    struct sim *sim = world(5);
    (void)state;
    sim_postgres_refuses(sim, "say 7");
    sim_worker(sim, "w1");
    publish(sim, 0, REQUESTS);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), REQUESTS);
    for (int i = 0; i < REQUESTS; i++)
        assert_str(sim_final(sim, nth("r", i))->status, i == 7 ? "failed" : "done");
    assert_int_equal(sim_dead_count(sim), 1);
    assert_str(sim_dead(sim, 0).id, "r7");
    expect_books(sim);
    sim_free(sim);
}

/* ---- who owns what ---- */

static int64_t epochs(struct sim *sim)
{
    int64_t sum = 0;
    for (size_t i = 0; i < sim_offset_rows(sim); i++)
        sum += sim_offset_row(sim, i)->epoch;
    return sum;
}

static void a_zombie_is_fenced(void **state)
{
    size_t fenced = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct sim *sim = world(500 + seed);
        struct sim_process *zombie = sim_aggregator(sim, "a1");
        sim_aggregator(sim, "a2");
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS / 2);
        sim_run_ms(sim, 20 + (int64_t)sim_random(sim, 150));
        int64_t before = epochs(sim);
        sim_freeze(zombie, 9000);
        publish(sim, REQUESTS / 2, REQUESTS);
        sim_run_ms(sim, 8900);
        assert_true(epochs(sim) > before);
        assert_int_equal(sim_final_count(sim), REQUESTS);
        sim_run_ms(sim, 3000);
        assert_true(sim_settle(sim));
        assert_true(sim_running(zombie));
        expect_all_done(sim);
        expect_ledger(sim);
        fenced += sim_fenced(sim);
        sim_free(sim);
    }
    assert_true(fenced > 5); /* it did try */
}

/* It wanted to take its partitions over when it was stopped, and wakes up when others have them. */
static void who_stood_still_takes_nothing_over(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct sim *sim = world(550 + seed);
        sim_aggregator(sim, "a1");
        struct sim_process *late = sim_aggregator(sim, "a2");
        sim_worker(sim, "w1");
        sim_postgres_fails(sim, "own", "40001", 1000);
        sim_run_ms(sim, 100);
        sim_postgres_fails(sim, "own", "40001", 0);
        sim_freeze(late, 9000);
        publish(sim, 0, REQUESTS);
        sim_run_ms(sim, 8950);
        assert_int_equal(sim_final_count(sim), REQUESTS);
        sim_run_ms(sim, 60000);
        assert_true(sim_settle(sim));
        assert_true(sim_running(late));
        assert_int_equal(sim_fenced(sim), 0);
        expect_all_done(sim);
        sim_free(sim);
    }
}

static void aggregators_may_come_and_go(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim *sim = world(600 + seed);
        struct sim_process *of[3] = {0};
        for (int i = 0; i < 3; i++)
            of[i] = sim_aggregator(sim, nth("a", i));
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS);
        for (int i = 0; i < 6; i++) {
            sim_run_ms(sim, (int64_t)sim_random(sim, 200));
            uint64_t which = sim_random(sim, 3);
            if (!sim_running(of[which]))
                of[which] = sim_aggregator(sim, nth("a", (int)which));
            else if (sim_random(sim, 2))
                sim_kill(of[which]);
            else if (!sim_draining(of[which]))
                sim_term(of[which]);
        }
        sim_aggregator(sim, "last");
        assert_true(sim_settle(sim));
        expect_all_done(sim);
        expect_ledger(sim);
        sim_free(sim);
    }
}

static void a_drain_leaves_nothing_under_way(void **state)
{
    struct sim *sim = world(6);
    (void)state;
    struct sim_process *first = sim_aggregator(sim, "a1");
    sim_worker(sim, "w1");
    publish(sim, 0, REQUESTS);
    sim_run_ms(sim, 150);
    sim_term(first);
    sim_run_ms(sim, 2000);
    assert_false(sim_running(first));
    assert_true(sim_drained(first));
    assert_int_equal(sim_outbox_rows(sim), 0);
    assert_int_equal(sim_replies(sim), sim_final_count(sim));
    sim_aggregator(sim, "a1");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_replies(sim), REQUESTS);
    expect_all_done(sim);
    sim_free(sim);
}

/* ---- anything in any order ---- */

enum { AGGREGATORS = 2 };

static void something_happens(struct sim *sim, struct sim_process **of)
{
    struct sim_process *one = of[sim_random(sim, AGGREGATORS)];
    switch (sim_random(sim, 30)) {
    case 0:
        if (sim_running(one))
            sim_freeze(one, (int64_t)sim_random(sim, 12000));
        break;
    case 1:
        if (sim_running(one))
            sim_kill(one);
        break;
    case 2:
        if (sim_running(one) && !sim_draining(one))
            sim_term(one);
        break;
    case 3:
        sim_postgres_terminate(sim);
        break;
    case 4:
        sim_postgres_lose_answer(sim, 1);
        break;
    case 5:
        sim_postgres_fails(sim, "store", "40P01", 2);
        break;
    case 6:
        sim_replies_fail(sim, (enum sim_produce_fault)sim_random(sim, 3), 2);
        break;
    case 7:
        sim_redis_down(sim, sim_random(sim, 2));
        break;
    case 8:
        sim_kafka_down(sim, sim_random(sim, 2));
        break;
    case 9:
        sim_rebalance(sim);
        break;
    case 10:
        publish(sim, 3, 4); /* the same once more */
        break;
    default:
        break;
    }
}

static void restart(struct sim *sim, struct sim_process **of)
{
    for (int i = 0; i < AGGREGATORS; i++)
        if (!sim_running(of[i]))
            of[i] = sim_aggregator(sim, nth("a", i));
}

static void whatever_happens_the_books_are_right(void **state)
{
    static const char *const batches[] = {"2000", "1", "3"};
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct sim *sim = world(2000 + seed);
        struct sim_process *of[AGGREGATORS];
        sim_set(sim, "aggregator.batch_parts_max", batches[seed % 3]);
        if (seed % 5 == 0)
            sim_set(sim, "aggregator.backlog_parts_max", "2");
        for (int i = 0; i < AGGREGATORS; i++)
            of[i] = sim_aggregator(sim, nth("a", i));
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS);
        for (int i = 0; i < 60; i++) {
            sim_run_ms(sim, 30);
            something_happens(sim, of);
            restart(sim, of);
        }
        sim_kafka_down(sim, false);
        sim_redis_down(sim, false);
        for (int i = 0; i < 10; i++) {
            sim_run_ms(sim, 6000);
            restart(sim, of);
        }
        assert_true(sim_settle(sim));
        assert_int_equal(sim_dead_count(sim), 0);
        expect_all_done(sim);
        sim_free(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_answer_of_commit_stores_nothing_twice),
        cmocka_unit_test(an_aggregator_that_dies_in_a_transaction_is_taken_over),
        cmocka_unit_test(refused_transactions_are_done_again),
        cmocka_unit_test(connections_may_be_ended_at_any_time),
        cmocka_unit_test(what_cannot_be_stored_fails_alone),
        cmocka_unit_test(a_zombie_is_fenced),
        cmocka_unit_test(who_stood_still_takes_nothing_over),
        cmocka_unit_test(aggregators_may_come_and_go),
        cmocka_unit_test(a_drain_leaves_nothing_under_way),
        cmocka_unit_test(whatever_happens_the_books_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
