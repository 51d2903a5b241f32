/*
 * Goal: second calls begin when a call is slow by what was seen lately, and are a share of the
 * first ones at any time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/call/hedging.h"

static const struct hedge_rule rule = {.on = true, .floor_ms = 10, .percent = 5};

static void see(struct hedging *hedging, int count, int64_t ms)
{
    for (int i = 0; i < count; i++)
        hedging_note(hedging, ms);
}

static unsigned take_all(struct hedging *hedging)
{
    unsigned taken = 0;
    for (; hedging_may(hedging); taken++)
        hedging_take(hedging);
    return taken;
}

static void nothing_is_slow_before_many_were_seen(void **state)
{
    struct hedging hedging;
    (void)state;
    hedging_init(&hedging);
    see(&hedging, HEDGING_SEEN_MIN - 1, 100);
    assert_true(hedging_slow_ms(&hedging, &rule) == INT64_MAX);
    see(&hedging, 1, 100);
    assert_in_range((uintmax_t)hedging_slow_ms(&hedging, &rule), 100, 120);
}

static void slow_is_what_five_in_a_hundred_are(void **state)
{
    struct hedging hedging;
    (void)state;
    hedging_init(&hedging);
    see(&hedging, 96, 100);
    see(&hedging, 4, 60000);
    assert_in_range((uintmax_t)hedging_slow_ms(&hedging, &rule), 100, 120);
    see(&hedging, 10, 60000);
    assert_in_range((uintmax_t)hedging_slow_ms(&hedging, &rule), 60000, 72000);
}

/* After a thousand calls it is the last thousand or two that count. */
static void what_was_usual_long_ago_is_forgotten(void **state)
{
    struct hedging hedging;
    (void)state;
    hedging_init(&hedging);
    see(&hedging, 5000, 100);
    see(&hedging, 1500, 2000);
    assert_in_range((uintmax_t)hedging_slow_ms(&hedging, &rule), 2000, 2400);
    see(&hedging, 20000, 100);
    assert_in_range((uintmax_t)hedging_slow_ms(&hedging, &rule), 100, 120);
}

static void nothing_is_slow_before_the_floor(void **state)
{
    const struct hedge_rule late = {.on = true, .floor_ms = 500, .percent = 5};
    struct hedging hedging;
    (void)state;
    hedging_init(&hedging);
    see(&hedging, 100, 3);
    assert_int_equal(hedging_slow_ms(&hedging, &late), 500);
    assert_int_equal(hedging_slow_ms(&hedging, &rule), 10);
}

static void a_share_of_the_first_calls_may_be_made_twice(void **state)
{
    static const struct {
        unsigned percent, calls, tokens;
    } cases[] = {{5, 0, 0}, {5, 19, 0}, {5, 20, 1}, {5, 100, 5}, {100, 4, 4}, {1, 100, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct hedge_rule share = {.on = true, .percent = cases[i].percent};
        struct hedging hedging;
        hedging_init(&hedging);
        for (unsigned n = 0; n < cases[i].calls; n++)
            hedging_first_call(&hedging, &share);
        assert_int_equal(take_all(&hedging), cases[i].tokens);
    }
}

/* At any time, however the calls come, and what was saved is bounded. */
static void they_never_are_more_than_the_share(void **state)
{
    struct hedging hedging;
    unsigned first = 0, second = 0;
    (void)state;
    hedging_init(&hedging);
    for (unsigned n = 0; n < 10000; n++) {
        hedging_first_call(&hedging, &rule);
        first++;
        if (n % 7 == 0)
            second += take_all(&hedging);
        assert_true(second * 100 <= first * rule.percent);
    }
    assert_true(second >= first / 21);
    for (unsigned n = 0; n < 10000; n++)
        hedging_first_call(&hedging, &rule);
    assert_int_equal(take_all(&hedging), HEDGING_TOKENS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_slow_before_many_were_seen),
        cmocka_unit_test(slow_is_what_five_in_a_hundred_are),
        cmocka_unit_test(what_was_usual_long_ago_is_forgotten),
        cmocka_unit_test(nothing_is_slow_before_the_floor),
        cmocka_unit_test(a_share_of_the_first_calls_may_be_made_twice),
        cmocka_unit_test(they_never_are_more_than_the_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
