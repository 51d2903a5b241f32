/*
 * put_off.c -- see put_off.h; what a job that is put off must not forget.
 */
#include "worker/put_off.h"

#include <stdlib.h>

#include "common/base/xalloc.h"
#include "worker/job.h"

struct put_off_memo *put_off_memo_new(size_t slots, size_t candidates)
{
    struct put_off_memo *memo = xzalloc(sizeof(*memo));
    memo->slots = slots;
    memo->candidates = candidates;
    memo->slot = xcalloc(slots, sizeof(*memo->slot));
    memo->candidate = candidates ? xcalloc(candidates, sizeof(*memo->candidate)) : NULL;
    return memo;
}

void put_off_memo_free(struct put_off_memo *memo)
{
    if (!memo)
        return;
    free(memo->slot);
    free(memo->candidate);
    free(memo);
}

const struct put_off_slot *put_off_recall(const struct slot *slot)
{
    const struct put_off_memo *memo = slot->job->memo;
    return memo && (size_t)slot->number < memo->slots ? &memo->slot[slot->number] : NULL;
}
