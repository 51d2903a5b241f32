/*
 * clock.h -- the system's clocks, read only by loop/ and by log lines; everyone else asks the loop.
 */
#ifndef QUERN_COMMON_BASE_CLOCK_H
#define QUERN_COMMON_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_monotonic_us(void);
int64_t clock_wall_ms(void); /* Unix time */
/* RFC 3339 with milliseconds, UTC: "2026-01-31T12:00:00.000Z"; 24 characters and a NUL. */
void clock_format(int64_t wall_ms, char ret[25]);

#endif
