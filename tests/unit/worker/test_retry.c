/*
 * Goal: a provider is tried again only when it is worth it, never past the deadline, and not all at
 * once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/call/retry.h"

static const struct retry_rule rule = {.base_ms = 100, .cap_ms = 1000, .attempts_max = 6};

static struct err error(enum err_retry retry, int64_t retry_after_ms)
{
    return (struct err){
        .code = ERR_PROVIDER_DOWN, .retry = retry, .retry_after_ms = retry_after_ms};
}

static void only_later_is_tried_again(void **state)
{
    (void)state;
    struct rand rand;
    int64_t pause;
    rand_init(&rand, 1);
    struct err later = error(RETRY_LATER, 0), never = error(RETRY_NEVER, 0),
               elsewhere = error(RETRY_ELSEWHERE, 0);
    assert_true(retry_pause(&rule, &later, 1, 0, 100000, &rand, &pause));
    assert_false(retry_pause(&rule, &never, 1, 0, 100000, &rand, &pause));
    assert_false(retry_pause(&rule, &elsewhere, 1, 0, 100000, &rand, &pause));
}

static void attempts_end(void **state)
{
    (void)state;
    struct rand rand;
    int64_t pause;
    rand_init(&rand, 1);
    struct err later = error(RETRY_LATER, 0);
    assert_true(retry_pause(&rule, &later, 5, 0, 100000, &rand, &pause));
    assert_false(retry_pause(&rule, &later, 6, 0, 100000, &rand, &pause));
}

/* The ceiling doubles up to the cap, and every pause below it is as likely as another. */
static void pauses_are_drawn_below_a_growing_ceiling(void **state)
{
    (void)state;
    static const int64_t ceilings[] = {100, 200, 400, 800, 1000};
    struct rand rand;
    rand_init(&rand, 7);
    struct err later = error(RETRY_LATER, 0);
    for (unsigned attempt = 1; attempt <= 5; attempt++) {
        int64_t sum = 0, largest = 0, pause = 0;
        for (int i = 0; i < 2000; i++) {
            assert_true(retry_pause(&rule, &later, attempt, 0, 100000, &rand, &pause));
            assert_true(pause >= 0 && pause <= ceilings[attempt - 1]);
            largest = pause > largest ? pause : largest;
            sum += pause;
        }
        int64_t mean = sum / 2000;
        assert_true(largest > ceilings[attempt - 1] * 9 / 10);
        assert_true(mean > ceilings[attempt - 1] * 4 / 10 && mean < ceilings[attempt - 1] * 6 / 10);
    }
}

static void what_the_provider_asks_for_is_the_least_pause(void **state)
{
    (void)state;
    struct rand rand;
    rand_init(&rand, 3);
    struct err later = error(RETRY_LATER, 5000);
    for (int i = 0; i < 200; i++) {
        int64_t pause;
        assert_true(retry_pause(&rule, &later, 1, 0, 100000, &rand, &pause));
        assert_true(pause >= 5000 && pause <= 5025);
    }
}

static void nothing_begins_past_the_deadline(void **state)
{
    (void)state;
    struct rand rand;
    int64_t pause = -1;
    rand_init(&rand, 3);
    struct err later = error(RETRY_LATER, 5000);
    assert_false(retry_pause(&rule, &later, 1, 1000, 6000, &rand, &pause));
    assert_int_equal(pause, -1);
    assert_true(retry_pause(&rule, &later, 1, 1000, 6026, &rand, &pause));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_later_is_tried_again),
        cmocka_unit_test(attempts_end),
        cmocka_unit_test(pauses_are_drawn_below_a_growing_ceiling),
        cmocka_unit_test(what_the_provider_asks_for_is_the_least_pause),
        cmocka_unit_test(nothing_begins_past_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
