/*
 * Goal: the first record after a pause leaves at once, others leave together, and a broker that
 * does not acknowledge holds nobody up for longer than KAFKA_ROUND_MS_MAX.
 * Method: moments and acknowledgements by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/io/kafka_rounds.h"

static struct kafka_rounds a_round_of(size_t records, int64_t now_ms)
{
    struct kafka_rounds rounds = {.linger_ms = 5};
    kafka_rounds_begin(&rounds, now_ms);
    while (records-- > 0)
        assert_int_equal(kafka_rounds_add(&rounds), 1);
    return rounds;
}

static void the_first_may_begin_at_any_time(void **state)
{
    const struct kafka_rounds rounds = {.linger_ms = 5};
    (void)state;
    assert_true(kafka_rounds_open(&rounds, 0));
    assert_true(kafka_rounds_open(&rounds, -1000000));
}

static void the_next_waits_for_the_last_acknowledgement(void **state)
{
    struct kafka_rounds rounds = a_round_of(3, 1000);
    (void)state;
    assert_false(kafka_rounds_done(&rounds, 1));
    assert_false(kafka_rounds_done(&rounds, 1));
    assert_false(kafka_rounds_open(&rounds, 1050));
    assert_true(kafka_rounds_done(&rounds, 1));
    assert_true(kafka_rounds_open(&rounds, 1050));
}

static void the_next_waits_for_the_linger_time(void **state)
{
    struct kafka_rounds rounds = a_round_of(1, 1000);
    (void)state;
    assert_true(kafka_rounds_done(&rounds, 1));
    assert_false(kafka_rounds_open(&rounds, 1004));
    assert_int_equal(kafka_rounds_open_at(&rounds), 1005);
    assert_true(kafka_rounds_open(&rounds, 1005));
}

static void a_slow_broker_holds_up_for_a_bounded_time(void **state)
{
    struct kafka_rounds rounds = a_round_of(2, 1000);
    (void)state;
    assert_int_equal(kafka_rounds_open_at(&rounds), 1000 + KAFKA_ROUND_MS_MAX);
    assert_true(kafka_rounds_open(&rounds, 1000 + KAFKA_ROUND_MS_MAX));
    kafka_rounds_begin(&rounds, 1100);
    assert_int_equal(kafka_rounds_add(&rounds), 2);
    /* What comes late, of the round before, opens nothing. */
    assert_false(kafka_rounds_done(&rounds, 1));
    assert_false(kafka_rounds_done(&rounds, 1));
    assert_false(kafka_rounds_open(&rounds, 1110));
    assert_true(kafka_rounds_done(&rounds, 2));
    assert_true(kafka_rounds_open(&rounds, 1110));
}

static void a_linger_time_beyond_the_bound_is_kept(void **state)
{
    struct kafka_rounds rounds = {.linger_ms = 500};
    (void)state;
    kafka_rounds_begin(&rounds, 0);
    kafka_rounds_add(&rounds);
    assert_int_equal(kafka_rounds_open_at(&rounds), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_may_begin_at_any_time),
        cmocka_unit_test(the_next_waits_for_the_last_acknowledgement),
        cmocka_unit_test(the_next_waits_for_the_linger_time),
        cmocka_unit_test(a_slow_broker_holds_up_for_a_bounded_time),
        cmocka_unit_test(a_linger_time_beyond_the_bound_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
