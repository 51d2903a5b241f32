/*
 * policy.h -- how the answers of several models become one.
 *
 * A merge policy is a row with one pure function: given the parts that are there, it says whether
 * the request is final, and how. It opens nothing, reads no clock and keeps no state. It is asked
 * after every part and once when the deadline strikes; after the deadline it must decide.
 *
 * To add a policy: <name>.c with one `const struct merge_policy`, its line in merge.c, and its name
 * in schemas/request.def.
 */
#ifndef QUERN_AGGREGATOR_MERGE_POLICY_H
#define QUERN_AGGREGATOR_MERGE_POLICY_H

#include "aggregator/group.h"

struct merge_question {
    const struct result *const *parts; /* by slot; NULL: not there */
    unsigned slots;
    unsigned quorum;
    bool deadline; /* it struck: go on with what is there */
    bool expired;  /* the request's own deadline passed, too */
};

/* What the parts come to; merge.c counts it once for all policies. */
struct merge_count {
    unsigned there, ok, expired, cancelled;
    int first_ok; /* lowest slot with an answer; -1: none */
};

struct merge_policy {
    const char *name;
    /* Fills `ret` and returns true when the request is final. */
    bool (*decide)(const struct merge_question *question, const struct merge_count *count,
                   struct final *ret);
};

extern const struct merge_policy merge_all, merge_first;

/* What policies have in common. */
void merge_done(const struct merge_question *question, int winner, struct final *ret);
void merge_failed(const struct merge_question *question, const struct merge_count *count,
                  struct final *ret);

#endif
