/*
 * Goal: as many calls at once as a provider bears, never more than the highest number.
 * Method: a provider of a few lines that bears so many at once; the clock is a number.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/call/concurrency.h"

static const struct concurrency_rule rule = {.min = 2, .max = 64};

/* Rounds of as many calls as may begin; beyond `bears` they end so, each after took_ms. */
static void play(struct concurrency *c, int rounds, int64_t bears, enum concurrency_news beyond,
                 int64_t took_ms, int64_t *now_ms)
{
    for (int round = 0; round < rounds; round++) {
        int64_t count = (int64_t)concurrency_room(c, &rule), began_ms = *now_ms;
        assert_in_range(count, rule.min, rule.max);
        for (int64_t i = 0; i < count; i++)
            concurrency_began(c);
        assert_int_equal(concurrency_room(c, &rule), 0);
        *now_ms += took_ms;
        for (int64_t i = 0; i < count; i++)
            concurrency_ended(c, &rule, i < bears ? CONCURRENCY_WELL : beyond, began_ms, took_ms,
                              *now_ms);
    }
}

static void it_begins_at_the_highest_number_and_stays_there(void **state)
{
    (void)state;
    struct concurrency c = {0};
    int64_t now_ms = 1000;
    assert_int_equal(concurrency_room(&c, &rule), 64);
    play(&c, 50, 1000, CONCURRENCY_OVERLOADED, 100, &now_ms);
    assert_int_equal(concurrency_limit(&c, &rule), 64);
}

static void it_comes_down_to_what_the_provider_bears_and_stays_near(void **state)
{
    (void)state;
    struct concurrency c = {0};
    int64_t now_ms = 1000, sum = 0;
    play(&c, 30, 20, CONCURRENCY_OVERLOADED, 100, &now_ms);
    for (int i = 0; i < 100; i++) {
        play(&c, 1, 20, CONCURRENCY_OVERLOADED, 100, &now_ms);
        assert_in_range(concurrency_limit(&c, &rule), 12, 22);
        sum += concurrency_limit(&c, &rule);
    }
    assert_true(sum / 100 >= 15);
}

static void one_crowd_lowers_it_once(void **state)
{
    (void)state;
    struct concurrency c = {0};
    int64_t now_ms = 1000;
    play(&c, 1, 0, CONCURRENCY_OVERLOADED, 100, &now_ms);
    assert_int_equal(concurrency_limit(&c, &rule), 44);
}

static void it_is_never_below_the_lowest_number_and_rises_again(void **state)
{
    (void)state;
    struct concurrency c = {0};
    int64_t now_ms = 1000;
    play(&c, 100, 0, CONCURRENCY_OVERLOADED, 100, &now_ms);
    assert_int_equal(concurrency_limit(&c, &rule), 2);
    play(&c, 10, 1000, CONCURRENCY_OVERLOADED, 100, &now_ms);
    assert_in_range(concurrency_limit(&c, &rule), 5, 14);
}

static void answers_that_take_twice_as_long_lower_it(void **state)
{
    (void)state;
    struct concurrency c = {0};
    int64_t now_ms = 1000;
    play(&c, 5, 1000, CONCURRENCY_WELL, 100, &now_ms);
    play(&c, 20, 1000, CONCURRENCY_WELL, 350, &now_ms);
    assert_in_range(concurrency_limit(&c, &rule), 2, 30);
    play(&c, 60, 1000, CONCURRENCY_WELL, 100, &now_ms);
    assert_in_range(concurrency_limit(&c, &rule), 40, 64);
}

static void what_says_nothing_changes_nothing(void **state)
{
    (void)state;
    struct concurrency c = {0};
    int64_t now_ms = 1000;
    play(&c, 5, 0, CONCURRENCY_NOTHING, 100, &now_ms);
    assert_int_equal(concurrency_limit(&c, &rule), 64);
}

static void without_a_highest_number_there_is_always_room(void **state)
{
    (void)state;
    struct concurrency c = {0};
    const struct concurrency_rule none = {.min = 1};
    for (int i = 0; i < 1000; i++)
        concurrency_began(&c);
    assert_true(concurrency_room(&c, &none) > 0);
    concurrency_ended(&c, &none, CONCURRENCY_OVERLOADED, 0, 1, 1);
    assert_true(concurrency_room(&c, &none) > 0);
    assert_int_equal(c.inside, 999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_begins_at_the_highest_number_and_stays_there),
        cmocka_unit_test(it_comes_down_to_what_the_provider_bears_and_stays_near),
        cmocka_unit_test(one_crowd_lowers_it_once),
        cmocka_unit_test(it_is_never_below_the_lowest_number_and_rises_again),
        cmocka_unit_test(answers_that_take_twice_as_long_lower_it),
        cmocka_unit_test(what_says_nothing_changes_nothing),
        cmocka_unit_test(without_a_highest_number_there_is_always_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
