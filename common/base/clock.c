/*
 * clock.c -- the system's clocks.
 */
#include "common/base/clock.h"

#include <stdio.h>
#include <time.h>

#include "common/base/must.h"

/* The years that RFC 3339 can write: 0000-01-01 to 9999-12-31. */
#define WALL_MS_MIN INT64_C(-62167219200000)
#define WALL_MS_MAX INT64_C(253402300799999)

int64_t clock_monotonic_us(void)
{
    struct timespec now;
    must(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_wall_ms(void)
{
    struct timespec now;
    must(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void clock_format(int64_t wall_ms, char ret[25])
{
    if (wall_ms < WALL_MS_MIN)
        wall_ms = WALL_MS_MIN;
    if (wall_ms > WALL_MS_MAX)
        wall_ms = WALL_MS_MAX;
    int64_t ms = wall_ms % 1000;
    int64_t seconds = wall_ms / 1000;
    if (ms < 0) { /* division rounds towards zero, the calendar does not */
        ms += 1000;
        seconds--;
    }

    struct tm tm;
    time_t when = (time_t)seconds;
    must(gmtime_r(&when, &tm));
    /* Wider than needed: the compiler cannot see that every part is in its calendar's bounds. */
    char text[96];
    int len = snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
                       tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)ms);
    must(len == 24);
    for (int i = 0; i <= len; i++)
        ret[i] = text[i];
}
