/*
 * Goal: retries in vain are a share of the requests, a lone request may always try again, and
 * retries that help are free.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/call/budget.h"

static size_t take_all(struct budget *budget, int64_t now_ms)
{
    size_t taken = 0;
    for (; budget_tokens(budget, now_ms); taken++)
        budget_take(budget);
    return taken;
}

static void a_share_of_the_first_calls_may_be_repeated(void **state)
{
    static const struct {
        unsigned percent, calls;
        size_t tokens;
    } cases[] = {{20, 100, 20}, {20, 4, 0}, {20, 5, 1}, {0, 100, 0}, {100, 50, 50}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct budget budget;
        budget_init(&budget);
        take_all(&budget, 0);
        for (unsigned n = 0; n < cases[i].calls; n++)
            budget_first_call(&budget, cases[i].percent);
        assert_int_equal(take_all(&budget, 0), cases[i].tokens);
    }
}

static void saved_tokens_are_bounded(void **state)
{
    struct budget budget;
    (void)state;
    budget_init(&budget);
    for (int i = 0; i < 1000000; i++)
        budget_first_call(&budget, 20);
    assert_int_equal(take_all(&budget, 0), BUDGET_MAX);
}

static void ten_a_second_come_by_themselves_and_do_not_pile_up(void **state)
{
    struct budget budget;
    (void)state;
    budget_init(&budget);
    assert_int_equal(take_all(&budget, 0), 1);
    assert_int_equal(budget_tokens(&budget, BUDGET_REFILL_MS - 1), 0);
    assert_int_equal(budget_next_ms(&budget), BUDGET_REFILL_MS);
    assert_int_equal(budget_tokens(&budget, BUDGET_REFILL_MS), 1);
    assert_int_equal(take_all(&budget, 500), 5);
    assert_int_equal(take_all(&budget, 3600000), BUDGET_FLOOR);
    size_t taken = 0;
    for (int64_t now = 3600000; now <= 3610000; now += 10)
        taken += take_all(&budget, now);
    assert_int_equal(taken, 100);
}

static void what_is_saved_above_the_floor_is_not_touched_by_the_refill(void **state)
{
    struct budget budget;
    (void)state;
    budget_init(&budget);
    for (int i = 0; i < 100; i++)
        budget_first_call(&budget, 20);
    assert_int_equal(budget_tokens(&budget, 60000), 1 + 20);
}

static void a_retry_that_helped_is_free(void **state)
{
    struct budget budget;
    (void)state;
    budget_init(&budget);
    for (int i = 0; i < 1000; i++) {
        assert_true(budget_tokens(&budget, 0) > 0);
        budget_take(&budget);
        budget_give_back(&budget);
    }
    assert_int_equal(take_all(&budget, 0), 1);
}

/* However many there are, and whenever they ask. */
static void the_rate_is_that_of_all_processes_together(void **state)
{
    static const unsigned fleets[] = {1, 3, 16, 100};
    (void)state;
    for (size_t f = 0; f < sizeof(fleets) / sizeof(fleets[0]); f++) {
        struct budget budgets[100];
        size_t taken = 0, at_once = 0;
        for (unsigned i = 0; i < fleets[f]; i++) {
            budget_init(&budgets[i]);
            budget_members(&budgets[i], fleets[f]);
        }
        for (int64_t now = 0; now <= 60000; now += 50)
            for (unsigned i = 0; i < fleets[f]; i++)
                taken += take_all(&budgets[i], now);
        assert_in_range(taken, 600, 600 + fleets[f]);
        for (unsigned i = 0; i < fleets[f]; i++)
            at_once += take_all(&budgets[i], 3600000);
        assert_in_range(at_once, fleets[f] < 10 ? 9 : fleets[f], fleets[f] < 10 ? 10 : fleets[f]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_of_the_first_calls_may_be_repeated),
        cmocka_unit_test(saved_tokens_are_bounded),
        cmocka_unit_test(ten_a_second_come_by_themselves_and_do_not_pile_up),
        cmocka_unit_test(what_is_saved_above_the_floor_is_not_touched_by_the_refill),
        cmocka_unit_test(a_retry_that_helped_is_free),
        cmocka_unit_test(the_rate_is_that_of_all_processes_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
