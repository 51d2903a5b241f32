/*
 * lookup.h -- asking the store what is known of a request, in bulk: the questions of one turn leave
 * as one statement at the turn's end.
 */
#ifndef QUERN_WORKER_LOOKUP_H
#define QUERN_WORKER_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"
#include "common/io/postgres.h"
#include "common/loop/loop.h"

struct lookup;

/* Valid during the callback. */
struct known {
    bool failed; /* the store could not be asked */
    bool found;
    struct str status; /* open, done, failed, expired, cancelled */
    struct str body_hash;
    struct str topic; /* origin of the request that was taken */
    int64_t partition, offset;
    unsigned slots_stored; /* bit per slot whose part is stored */
};

typedef void lookup_answer(const struct known *known, void *context);

struct lookup *lookup_new(struct loop *loop, struct postgres *pg, unsigned statement);
/* Takes NULL; open questions are not answered. PostgreSQL must not answer any more, either: free it
 * before the loop turns again. */
void lookup_free(struct lookup *lookup);
/* tenant and id must stay valid until the answer. */
void lookup_ask(struct lookup *lookup, struct str tenant, struct str id, lookup_answer *answer,
                void *context);

#endif
