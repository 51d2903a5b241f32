/*
 * rows.h -- entries become columns: the arrays that quern_store() takes.
 *
 * rows_add() is called for every entry of a transaction in order, after rows_mark() was called for
 * all of them: of a group only its last entry stands for the request's row, because a request may
 * open and become final in one transaction. Pure but for the message ids.
 */
#ifndef QUERN_AGGREGATOR_STORE_ROWS_H
#define QUERN_AGGREGATOR_STORE_ROWS_H

#include "aggregator/aggregator.h"
#include "common/base/rand.h"

#define COLUMN(name) COLUMN_##name,
enum column {
#include "aggregator/store/columns.def"
    COLUMN_COUNT
};
#undef COLUMN

struct rows {
    const struct aggregator *aggregator;
    struct buf columns[COLUMN_COUNT];
    struct buf scratch;
    int32_t ord; /* rows of requests so far */
};

void rows_init(struct rows *rows, const struct aggregator *aggregator);
void rows_done(struct rows *rows);
void rows_begin(struct rows *rows);
void rows_mark(struct entry *entry);
void rows_add(struct rows *rows, struct entry *entry);
/* The parameters; valid until rows_begin(). False: a column is too large. */
bool rows_params(struct rows *rows, struct str ret[COLUMN_COUNT]);

#endif
