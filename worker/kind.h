/*
 * kind.h -- the kinds of work, one row each: what the steps do otherwise for one than for another.
 *
 * A step asks the row of its job and does not look at the kind's name; what a request of the kind
 * may hold is checked in common/contract/request.c, with publishers too. To add a kind: a value of
 * request.kind in schemas/request.def, its check there, a row in kind.c, and its functions in the
 * folders of the steps that call them.
 */
#ifndef QUERN_WORKER_KIND_H
#define QUERN_WORKER_KIND_H

#include "worker/job.h"

struct kind {
    const char *name;
    /* admit: the model can do it; NULL: all can. `lacks` says what others have not, `who` whose
     * models have it. */
    bool (*can)(const struct model *model);
    const char *lacks;
    void (*who)(char ret[PROVIDER_NAMES_BYTES]);
    /* prompt: what the models are given; or slot->err */
    void (*prompt)(struct slot *slot);
    /* validate: whether slot->answer is fit to be passed on, else slot->err */
    void (*validate)(struct slot *slot);
    /* What to do about answers that are too large; NULL: nothing is known. */
    const char *when_too_big;
};

/* must: the contract knows no other names. */
const struct kind *kind_find(struct str name);
/* Each of the request's models can do it, of a route one at least. Else *err says who cannot. */
bool kind_check_models(const struct job *job, struct err *err);

/* prompt/ */
void prompt_chat(struct slot *slot);
void prompt_embed(struct slot *slot);
/* validate/ */
void validate_text(struct slot *slot);
void validate_vectors(struct slot *slot);

#endif
