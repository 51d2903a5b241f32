/*
 * Goal: days and months of the Gregorian calendar, in UTC.
 * Method: against the C library's own calendar, day by day over two centuries.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "worker/call/period.h"

enum { DAYS = 73000, DAY_S = 86400 };

static void date_of(int64_t day, char ret[11])
{
    time_t seconds = (time_t)(day * DAY_S);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(ret, 11, "%Y-%m-%d", &tm);
}

static void days_are_those_of_the_calendar(void **state)
{
    (void)state;
    char first[11], next[11];
    for (int64_t day = 0; day < DAYS; day++) {
        struct period period;
        period_of(PERIOD_DAY, day * DAY_S * 1000 + day % (DAY_S * 1000), &period);
        date_of(day, first);
        date_of(day + 1, next);
        assert_string_equal(period.first, first);
        assert_string_equal(period.next, next);
        assert_int_equal(period.begins_ms, day * DAY_S * 1000);
        assert_int_equal(period.ends_ms, (day + 1) * DAY_S * 1000);
    }
}

static void months_begin_on_their_first_day_and_end_where_the_next_begins(void **state)
{
    (void)state;
    struct period before = {.next = "1970-01-01"};
    for (int64_t day = 0; day < DAYS; day++) {
        struct period period;
        char date[11];
        period_of(PERIOD_MONTH, day * DAY_S * 1000 + DAY_S * 1000 - 1, &period);
        date_of(day, date);
        assert_memory_equal(period.first, date, 8);
        assert_string_equal(period.first + 8, "01");
        if (day * DAY_S * 1000 == period.begins_ms) {
            assert_string_equal(period.first, before.next);
            assert_int_equal(period.begins_ms, before.ends_ms);
        }
        before = period;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(days_are_those_of_the_calendar),
        cmocka_unit_test(months_begin_on_their_first_day_and_end_where_the_next_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
