/*
 * period.h -- days and months in UTC, for budgets. Pure.
 */
#ifndef QUERN_WORKER_CALL_PERIOD_H
#define QUERN_WORKER_CALL_PERIOD_H

#include <stdint.h>

enum period_kind { PERIOD_DAY, PERIOD_MONTH, PERIOD_KINDS };

struct period {
    char first[11], next[11];   /* "2026-11-21": its first day, and the first one behind it */
    int64_t begins_ms, ends_ms; /* Unix time */
};

/* The day or the month that the moment is in; of moments from 1970 to 9999. */
void period_of(enum period_kind kind, int64_t wall_ms, struct period *ret);

#endif
