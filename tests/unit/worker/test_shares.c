/*
 * Goal: tokens go to tenants by their weights, whatever was estimated; who has few requests waits
 * for nobody's many.
 * Method: a pure scheduler, driven by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rand.h"
#include "worker/intake/shares.h"

enum { PLACES = 64, TENANTS = 10, IN_FLIGHT = 400 };

static struct shares shares;
static struct share all[1000];
static char names[1000][8];

static int set_up(void **state)
{
    (void)state;
    memset(all, 0, sizeof(all));
    shares_init(&shares, 10);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i].node.linked)
            share_leave(&shares, &all[i]);
    shares_done(&shares);
    return 0;
}

static struct share *join(size_t i, size_t lane, int64_t weight)
{
    snprintf(names[i], sizeof(names[i]), "t%zu", i);
    share_join(&shares, &all[i], lane, str_of(names[i]), weight);
    return &all[i];
}

static struct share *next(void)
{
    return share_next(&shares, PLACES, PLACES, 0);
}

/* Starts `count` requests and counts who began. */
static void start(size_t count, int64_t cost, size_t *begun)
{
    for (size_t i = 0; i < count; i++) {
        struct share *share = next();
        assert_non_null(share);
        begun[share - all]++;
        share_started(&shares, share, cost);
    }
}

static double jain(const double *values, size_t count)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        sum += values[i];
        squares += values[i] * values[i];
    }
    return sum * sum / ((double)count * squares);
}

/* Requests end some time after they began, and cost something else than was thought. */
static void busy_tenants_get_the_same_tokens_whatever_was_estimated(void **state)
{
    struct {
        struct share *share;
        int64_t cost, real;
    } flight[IN_FLIGHT];
    double tokens[TENANTS] = {0};
    struct rand rand;
    size_t at = 0;
    (void)state;
    rand_init(&rand, 7);
    memset(flight, 0, sizeof(flight));
    for (size_t i = 0; i < TENANTS; i++)
        share_ready(&shares, join(i, 0, 1));
    for (int n = 0; n < 30000; n++, at = (at + 1) % IN_FLIGHT) {
        if (flight[at].share)
            share_settled(&shares, flight[at].share, flight[at].real - flight[at].cost);
        struct share *share = next();
        size_t i = (size_t)(share - all);
        int64_t real = 100 + (int64_t)(rand_below(&rand, 3900) * i / (TENANTS - 1));
        int64_t cost = i % 3 == 0 ? 300 : i % 3 == 1 ? real : real * 5; /* wrong, right, absurd */
        share_started(&shares, share, cost);
        flight[at].share = share;
        flight[at].cost = cost;
        flight[at].real = real;
        tokens[i] += (double)real;
    }
    if (jain(tokens, TENANTS) < 0.99)
        for (size_t i = 0; i < TENANTS; i++)
            print_error("tenant %zu: %.0f tokens\n", i, tokens[i]);
    assert_true(jain(tokens, TENANTS) >= 0.99);
}

static void a_weight_of_three_is_three_times_as_much(void **state)
{
    size_t begun[3] = {0};
    (void)state;
    share_ready(&shares, join(0, 0, 1));
    share_ready(&shares, join(1, 0, 3));
    share_ready(&shares, join(2, 0, 1));
    start(5000, 500, begun);
    assert_in_range(begun[0], 980, 1020);
    assert_in_range(begun[1], 2960, 3040);
    assert_in_range(begun[2], 980, 1020);
}

/* Small requests are many in a round, and still it shows soon. */
static void weights_show_within_two_hundred_small_requests(void **state)
{
    size_t begun[2] = {0};
    (void)state;
    share_ready(&shares, join(0, 0, 1));
    share_ready(&shares, join(1, 0, 3));
    start(200, 60, begun);
    assert_in_range(begun[1], 130, 170);
}

static void who_comes_with_tokens_left_waits_for_one_start_of_each_other(void **state)
{
    size_t begun[21] = {0};
    (void)state;
    for (size_t i = 0; i < 20; i++)
        share_ready(&shares, join(i, 0, 1));
    start(1234, 50, begun);
    struct share *light = join(20, 0, 1);
    share_ready(&shares, light);
    int before = 0;
    for (; next() != light; before++)
        share_started(&shares, next(), 50);
    assert_in_range(before, 0, 20);
}

static void what_was_overdrawn_is_paid_off_before_the_next_start(void **state)
{
    size_t begun[2] = {0};
    (void)state;
    struct share *first = join(0, 0, 1);
    share_ready(&shares, first);
    share_ready(&shares, join(1, 0, 1));
    share_started(&shares, first, 40 * SHARE_QUANTUM);
    start(400, 100, begun);
    assert_int_equal(begun[0], 0); /* 409 starts of the other cost as much */
    start(400, 100, begun);
    assert_in_range(begun[0], 150, 210);
}

static void what_is_given_back_counts_at_once(void **state)
{
    (void)state;
    struct share *first = join(0, 0, 1);
    share_ready(&shares, first);
    share_ready(&shares, join(1, 0, 1));
    share_started(&shares, first, 40 * SHARE_QUANTUM);
    share_settled(&shares, first, 20 - 40 * SHARE_QUANTUM);
    assert_true(first->deficit > 0);
    size_t begun[2] = {0};
    start(2, 100, begun);
    assert_int_equal(begun[0], 1);
}

/* Else a tenant could save up for a year and then have everything. */
static void who_was_away_has_no_more_than_one_round(void **state)
{
    size_t begun[2] = {0};
    (void)state;
    struct share *away = join(0, 0, 1);
    share_ready(&shares, join(1, 0, 1));
    start(5000, 100, begun);
    share_ready(&shares, away);
    assert_int_equal(away->deficit, SHARE_QUANTUM);
}

static void alone_one_has_everything(void **state)
{
    size_t begun[1] = {0};
    (void)state;
    share_ready(&shares, join(0, 0, 1));
    start(5000, 123456, begun);
    assert_int_equal(begun[0], 5000);
}

static void who_is_not_ready_is_passed_and_nobody_is_left(void **state)
{
    (void)state;
    assert_null(next());
    struct share *first = join(0, 0, 1), *second = join(1, 0, 1);
    share_ready(&shares, first);
    share_ready(&shares, second);
    share_unready(&shares, first);
    assert_ptr_equal(next(), second);
    share_unready(&shares, second);
    share_unready(&shares, second);
    assert_null(next());
}

static void the_last_places_are_for_those_with_few(void **state)
{
    (void)state;
    struct share *heavy = join(0, 0, 1), *light = join(1, 0, 1);
    share_ready(&shares, heavy);
    heavy->running = 58;
    assert_null(share_next(&shares, PLACES, 6, 6));
    assert_ptr_equal(share_next(&shares, PLACES, 7, 6), heavy);
    share_ready(&shares, light);
    assert_ptr_equal(share_next(&shares, PLACES, 6, 6), light);
    light->running = 32; /* half of them: it has as much as it should */
    assert_null(share_next(&shares, PLACES, 6, 6));
    share_leave(&shares, light);
    assert_ptr_equal(share_next(&shares, PLACES, 1, 6), heavy); /* nobody else is known */
    assert_null(share_next(&shares, PLACES, 0, 6));
}

static void batch_has_its_floor_and_all_that_is_left(void **state)
{
    size_t begun[3] = {0};
    (void)state;
    struct share *interactive = join(0, 0, 1), *batch = join(1, 1, 1);
    share_ready(&shares, batch);
    start(100, 100, begun);
    assert_int_equal(begun[1], 100);
    share_ready(&shares, interactive);
    memset(begun, 0, sizeof(begun));
    start(10000, 100, begun);
    assert_in_range(begun[1], 950, 1050);
    share_unready(&shares, interactive);
    start(100, 100, begun);
    assert_in_range(begun[1], 1050, 1150);
}

static void idle_ones_are_forgotten_in_their_order(void **state)
{
    (void)state;
    struct share *first = join(0, 0, 1), *second = join(1, 0, 1);
    share_idle(&shares, first, 1000);
    share_idle(&shares, second, 2000);
    share_idle(&shares, first, 3000); /* again: its place stays, its time does not */
    assert_null(shares_forgettable(&shares, 999));
    assert_null(shares_forgettable(&shares, 2500));
    share_busy(&shares, first);
    assert_ptr_equal(shares_forgettable(&shares, 2500), second);
    assert_ptr_equal(shares_find(&shares, 0, STR("t1")), second);
    share_leave(&shares, second);
    assert_null(shares_find(&shares, 0, STR("t1")));
}

static void a_thousand_tenants_each_have_their_turn(void **state)
{
    static size_t begun[1000];
    (void)state;
    for (size_t i = 0; i < 1000; i++)
        share_ready(&shares, join(i, 0, 1));
    memset(begun, 0, sizeof(begun));
    start(10000, 5000, begun);
    for (size_t i = 0; i < 1000; i++)
        assert_in_range(begun[i], 9, 11);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(busy_tenants_get_the_same_tokens_whatever_was_estimated),
        TEST(a_weight_of_three_is_three_times_as_much),
        TEST(weights_show_within_two_hundred_small_requests),
        TEST(who_comes_with_tokens_left_waits_for_one_start_of_each_other),
        TEST(what_was_overdrawn_is_paid_off_before_the_next_start),
        TEST(what_is_given_back_counts_at_once),
        TEST(who_was_away_has_no_more_than_one_round),
        TEST(alone_one_has_everything),
        TEST(who_is_not_ready_is_passed_and_nobody_is_left),
        TEST(the_last_places_are_for_those_with_few),
        TEST(batch_has_its_floor_and_all_that_is_left),
        TEST(idle_ones_are_forgotten_in_their_order),
        TEST(a_thousand_tenants_each_have_their_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
