/*
 * period.c -- see period.h. The calendar is Gregorian for ever; a year begins in March here, so
 * that the day which not every year has is its last.
 */
#include "worker/call/period.h"

#include <stdio.h>

enum { DAY_MS = 86400000, ERA_DAYS = 146097, ERA_YEARS = 400, SINCE_MARCH_0 = 719468 };

static int64_t day_number(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = y / ERA_YEARS, of_era = y % ERA_YEARS;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - SINCE_MARCH_0;
}

static void date_of(int64_t number, int64_t *ret_year, int *ret_month, int *ret_day)
{
    int64_t n = number + SINCE_MARCH_0, era = n / ERA_DAYS, day = n % ERA_DAYS;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t of_year = day - (365 * year + year / 4 - year / 100);
    int month = (int)((5 * of_year + 2) / 153);
    *ret_day = (int)(of_year - (153 * month + 2) / 5 + 1);
    *ret_month = month < 10 ? month + 3 : month - 9;
    *ret_year = year + era * ERA_YEARS + (*ret_month <= 2);
}

static void write_day(int64_t number, char ret[11])
{
    int64_t year;
    int month, day;
    date_of(number, &year, &month, &day);
    snprintf(ret, 11, "%04u-%02u-%02u", (unsigned)year % 10000, (unsigned)month % 100,
             (unsigned)day % 100);
}

void period_of(enum period_kind kind, int64_t wall_ms, struct period *ret)
{
    int64_t first = wall_ms / DAY_MS, next = first + 1, year;
    int month, day;
    date_of(first, &year, &month, &day);
    if (kind == PERIOD_MONTH) {
        first = day_number(year, month, 1);
        next = month == 12 ? day_number(year + 1, 1, 1) : day_number(year, month + 1, 1);
    }
    write_day(first, ret->first);
    write_day(next, ret->next);
    ret->begins_ms = first * DAY_MS;
    ret->ends_ms = next * DAY_MS;
}
