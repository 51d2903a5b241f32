/*
 * trouble.h -- the models that behave strangely: from a name to a plan.
 *
 * A name is looked up without its "VENDOR/". Each row has the plan it makes and, when the name ends
 * in numbers, a function that puts them in.
 *
 * To add a trouble: a row in `troubles` (trouble.c) and a line in README.md.
 */
#ifndef FAKE_TROUBLE_H
#define FAKE_TROUBLE_H

#include "tests/fake/plan.h"

#define LATENCY_MS_MAX   (3600 * 1000)
#define TROUBLE_NAME_MAX 63

struct trouble;

/* What the end of the name said. */
struct trouble_numbers {
    unsigned n, m;
};

/* NULL when the name is none of ours. */
const struct trouble *trouble_find(struct slice model, struct trouble_numbers *ret);

/* Whether it matters how often the same was asked. */
bool trouble_counts(const struct trouble *trouble);

/* Changes `plan`, whose delay is the general one, for attempt number `attempt`. */
void trouble_plan(const struct trouble *trouble, const struct trouble_numbers *numbers,
                  uint32_t attempt, struct plan *plan);

/* The names that stand for themselves, one after the other; NULL after the last. */
const char *trouble_name(size_t i);

#endif
