/*
 * memo.c -- see memo.h.
 */
#include "worker/call/memo.h"

#include "common/base/plant.h"
#include "worker/call/candidates.h"

static void remember_slot(const struct slot *slot, struct put_off_memo *memo, size_t *at)
{
    memo->slot[slot->number] =
        (struct put_off_slot){.calls = (uint32_t)(slot->calls_before + slot->attempt),
                              .part = (unsigned char)slot->part,
                              .reported = slot->reported};
    for (unsigned i = 0; i < slot->candidate_count; i++) {
        const struct candidate *c = &slot->candidates[i];
        memo->candidate[(*at)++] =
            (struct put_off_candidate){.model = str_hash(c->model->dialect.name),
                                       .slot = (unsigned char)slot->number,
                                       .part = (unsigned char)c->part,
                                       .attempts = (uint32_t)c->attempts,
                                       .probes = (uint32_t)c->probes,
                                       .out = c->out,
                                       .why = c->why,
                                       .named_time = c->named_time,
                                       .needs_token = c->needs_token,
                                       .not_before_ms = c->not_before_ms};
    }
}

void memo_make(struct job *job)
{
    size_t candidates = 0, at = 0;
    bool some = false;
    for (int i = 0; i < job->slot_count; i++) {
        const struct slot *slot = &job->slots[i];
        candidates += slot->candidate_count;
        some |= slot->reported || (slot->calls_before + slot->attempt > 0 && !PLANTED(70));
    }
    put_off_memo_free(job->memo);
    job->memo = some ? put_off_memo_new((size_t)job->slot_count, candidates) : NULL;
    for (int i = 0; some && i < job->slot_count; i++)
        remember_slot(&job->slots[i], job->memo, &at);
}

static void recall_candidate(struct slot *slot, const struct put_off_candidate *before)
{
    for (unsigned i = 0; i < slot->candidate_count; i++) {
        struct candidate *c = &slot->candidates[i];
        if ((unsigned char)c->part != before->part ||
            str_hash(c->model->dialect.name) != before->model)
            continue;
        c->attempts = before->attempts;
        c->probes = before->probes;
        c->out = before->out;
        c->why = before->why;
        c->named_time = before->named_time;
        c->needs_token = before->needs_token && !PLANTED(74);
        c->not_before_ms = before->not_before_ms;
        return;
    }
}

/* What is left to ask, of the part it was at; a reload may have taken all of that away, then it
 * begins anew. */
void call_recall(struct slot *slot)
{
    const struct put_off_slot *before = put_off_recall(slot);
    const struct put_off_memo *memo = slot->job->memo;
    enum route_part part = slot->part;
    bool some = false;
    if (!before)
        return;
    for (size_t i = 0; i < memo->candidates; i++)
        if (memo->candidate[i].slot == slot->number)
            recall_candidate(slot, &memo->candidate[i]);
    candidate_probed_before(slot);
    slot->part = (enum route_part)before->part;
    for (unsigned i = 0; i < slot->candidate_count; i++)
        some |= candidate_usable(slot, &slot->candidates[i]);
    slot->part = some ? slot->part : part;
    for (unsigned i = 0; i < slot->candidate_count && !some; i++)
        slot->candidates[i].out = false;
}
