/*
 * candidates.h -- the models that one slot may ask, best first, and the one it asks now.
 *
 * A slot without a route has one. The list is made when the messages are known (call_choose, in the
 * step "prompt") and kept: what failed stays out, whatever becomes better meanwhile.
 */
#ifndef QUERN_WORKER_CALL_CANDIDATES_H
#define QUERN_WORKER_CALL_CANDIDATES_H

#include "worker/call/model.h"
#include "worker/job.h"

/* All calls of a slot since it began are rows of its result. */
#define SLOT_ATTEMPTS_MAX 64

/* How many rows it needs that may make `room` calls in all; one more is for a hedge. */
static inline size_t candidate_rows(const struct slot *slot, unsigned room)
{
    return room - slot->calls_before + 1;
}

struct candidate {
    const struct model *model;
    enum route_part part;
    unsigned attempts; /* calls that count */
    unsigned probes;   /* .. of which these only told that the provider is still away */
    bool out;          /* it will not be asked any more */
    bool named_time;   /* .. before not_before_ms: the provider itself has said so */
    bool needs_token;  /* the next call is a retry that nobody asked for */
    enum err_code why; /* of its last call */
    int64_t not_before_ms;
    struct provider_request *request; /* NULL: not encoded yet */
};

/* The one that is asked now. */
struct candidate *candidate_now(const struct slot *slot);
/* Belongs to the part of the route that is asked now, and may still be. */
bool candidate_usable(const struct slot *slot, const struct candidate *candidate);
/* Makes it the one that is asked, with that key. False: the prompt cannot be said in its form, it
 * is out, and *err says why. */
bool candidate_take(struct slot *slot, struct candidate *candidate, int key, struct err *err);
/* Calls that count against attempts_max. */
static inline unsigned candidate_tries(const struct candidate *candidate)
{
    return candidate->attempts - candidate->probes;
}
/* Its call failed as the one that tried, for all who wait, whether the provider is back: that is
 * not held against it. Where its rows become too many for a result they are told by themselves. */
void candidate_probed(struct slot *slot, struct candidate *candidate);
/* How long it waits at least for its next try, after one that told only that the provider is still
 * away: who has tried often, because few others wait, tries less often. */
int64_t candidate_probe_pause_ms(const struct candidate *candidate);
/* What its candidates are known to have probed before its first call gets the same room. */
void candidate_probed_before(struct slot *slot);

#endif
