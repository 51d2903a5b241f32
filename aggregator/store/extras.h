/*
 * extras.h -- what a transaction brings besides quern_store(): stored answers to be sent once more,
 * and records for the dead letters. Both become rows of the outbox.
 */
#ifndef QUERN_AGGREGATOR_STORE_EXTRAS_H
#define QUERN_AGGREGATOR_STORE_EXTRAS_H

#include "aggregator/aggregator.h"

enum { REPEAT_COLUMNS = 5, BURY_COLUMNS = 8, EXTRAS_QUERIES_MAX = 2 };

struct extras {
    const struct aggregator *aggregator;
    struct buf repeats[REPEAT_COLUMNS], burials[BURY_COLUMNS];
    struct str repeat_params[REPEAT_COLUMNS], bury_params[BURY_COLUMNS];
    struct buf scratch;
    size_t repeat_count, bury_count;
};

void extras_init(struct extras *extras, const struct aggregator *aggregator);
void extras_done(struct extras *extras);
void extras_begin(struct extras *extras);
void extras_add(struct extras *extras, const struct entry *entry);
/* Adds at most EXTRAS_QUERIES_MAX queries; their parameters are valid until extras_begin(). */
size_t extras_queries(struct extras *extras, struct postgres_query *ret);

#endif
