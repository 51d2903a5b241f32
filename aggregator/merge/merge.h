/*
 * merge.h -- asks a group's merge policy whether the request is final.
 */
#ifndef QUERN_AGGREGATOR_MERGE_MERGE_H
#define QUERN_AGGREGATOR_MERGE_MERGE_H

#include "aggregator/merge/policy.h"

/* An unknown name: `all`. */
const struct merge_policy *merge_policy_find(struct str name);
/* True: group->final is filled. deadline_struck: at wall time now_ms it must be decided. */
bool merge_decide(struct group *group, bool deadline_struck, int64_t now_ms);

#endif
