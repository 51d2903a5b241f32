/*
 * extras.h -- what a transaction brings besides quern_store(): vectors of finals of kind embed;
 * and, as rows of the outbox, stored answers to be sent once more, records for the dead letters,
 * and word for those whose id has another's result.
 *
 * An id may have been answered for two bodies by workers that could not know of each other. The
 * body that is stored stays; who published the other one gets the error reply and the dead letter
 * that a worker would have written, by its part of slot 0. Only the store can say who has lost: an
 * aggregator may know one body while another was final before it started. So it is asked about
 * every such part: by STATEMENT_STORE when the row of its request goes along, else here, with names
 * and hashes only, because it hardly ever happens. When it does the transaction is refused, and
 * comes again with everything there is to tell, of which the store takes what concerns losers.
 */
#ifndef QUERN_AGGREGATOR_STORE_EXTRAS_H
#define QUERN_AGGREGATOR_STORE_EXTRAS_H

#include "aggregator/aggregator.h"

enum {
    VECTOR_COLUMNS = 4,
    REPEAT_COLUMNS = 5,
    BURY_COLUMNS = 9,
    BODY_COLUMNS = 3,
    EXTRAS_QUERIES_MAX = 4
};

/* How a transaction ends in which an id has another body than asked. */
#define OTHER_BODY_SQLSTATE "QF002"

struct extras {
    const struct aggregator *aggregator;
    bool telling; /* the losers are told; else it is asked whether there are any */
    struct buf vectors[VECTOR_COLUMNS];
    struct str vector_params[VECTOR_COLUMNS];
    struct buf repeats[REPEAT_COLUMNS], burials[BURY_COLUMNS], bodies[BODY_COLUMNS];
    struct str repeat_params[REPEAT_COLUMNS], bury_params[BURY_COLUMNS], body_params[BODY_COLUMNS];
    struct buf scratch, reply, list;
    size_t vector_count, repeat_count, bury_count, body_count;
};

void extras_init(struct extras *extras, const struct aggregator *aggregator);
void extras_done(struct extras *extras);
void extras_begin(struct extras *extras, bool telling);
void extras_add(struct extras *extras, const struct entry *entry);
/* Adds at most EXTRAS_QUERIES_MAX queries; their parameters are valid until extras_begin(). */
size_t extras_queries(struct extras *extras, struct postgres_query *ret);

#endif
