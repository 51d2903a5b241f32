/*
 * merge.h -- the table of merge policies; merge_decide(), which asks them, stands on the desk.
 */
#ifndef QUERN_AGGREGATOR_MERGE_MERGE_H
#define QUERN_AGGREGATOR_MERGE_MERGE_H

#include "aggregator/aggregator.h"
#include "aggregator/merge/policy.h"

/* An unknown name: `all`. */
const struct merge_policy *merge_policy_find(struct str name);
#endif
