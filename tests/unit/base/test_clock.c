/*
 * Goal: times are written as RFC 3339 says, on both sides of 1970 and in leap years.
 */
#include "tests/unit/base/test.h"

#include "common/base/clock.h"

static void times_are_written_in_utc_with_milliseconds(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {1769860800000, "2026-01-31T12:00:00.000Z"},
        {951782400123, "2000-02-29T00:00:00.123Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {253402300800000, "9999-12-31T23:59:59.999Z"}, /* later cannot be written */
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[25];
        clock_format(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void clocks_advance_and_agree_on_their_units(void **state)
{
    (void)state;
    int64_t before = clock_monotonic_us();
    assert_true(before > 0);
    assert_true(clock_monotonic_us() >= before);
    /* Between 2024 and 2100, which neither seconds nor microseconds would be. */
    int64_t wall = clock_wall_ms();
    assert_true(wall > 1704067200000 && wall < 4102444800000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_written_in_utc_with_milliseconds),
        cmocka_unit_test(clocks_advance_and_agree_on_their_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
