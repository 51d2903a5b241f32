/*
 * first.c -- merge policy `first`: the first good answer wins, the others are not waited for.
 */
#include "aggregator/merge/policy.h"

static bool decide(const struct merge_question *question, const struct merge_count *count,
                   struct final *ret)
{
    if (count->ok > 0) {
        merge_done(question, count->first_ok, ret);
        return true;
    }
    if (count->there < question->slots && !question->deadline)
        return false;
    merge_failed(question, count, ret);
    return true;
}

const struct merge_policy merge_first = {.name = "first", .decide = decide};
