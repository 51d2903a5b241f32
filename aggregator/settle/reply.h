/*
 * reply.h -- the reply to a request: from a group that was just stored, or from its row.
 */
#ifndef QUERN_AGGREGATOR_SETTLE_REPLY_H
#define QUERN_AGGREGATOR_SETTLE_REPLY_H

#include "aggregator/aggregator.h"

/* turn 0: none. `ret` is empty and gets the JSON. */
void reply_of_group(const struct group *group, int64_t turn, struct arena *arena, struct buf *ret);
/* From a row of STATEMENT_OUTBOX_LOAD, with the rows of STATEMENT_OUTBOX_PARTS. */
void reply_of_row(const struct postgres_rows *rows, size_t row, const struct postgres_rows *parts,
                  struct arena *arena, struct buf *ret);

/* Columns of STATEMENT_OUTBOX_LOAD (statements.c). */
enum outbox_column {
    OUTBOX_ID,
    OUTBOX_TENANT,
    OUTBOX_REQUEST,
    OUTBOX_TOPIC,
    OUTBOX_KEY,
    OUTBOX_CONTENT_TYPE,
    OUTBOX_PAYLOAD,
    OUTBOX_HEADERS,
    OUTBOX_TRACEPARENT,
    OUTBOX_SESSION,
    OUTBOX_TURN,
    OUTBOX_STATUS,
    OUTBOX_TEXT,
    OUTBOX_MESSAGE,
    OUTBOX_FINISH_REASON,
    OUTBOX_SLOTS,
    OUTBOX_POLICY,
    OUTBOX_WINNER,
    OUTBOX_AGREEMENT,
    OUTBOX_INPUT,
    OUTBOX_OUTPUT,
    OUTBOX_CACHED_INPUT,
    OUTBOX_REASONING,
    OUTBOX_COST,
    OUTBOX_QUEUED,
    OUTBOX_FIRST_TOKEN,
    OUTBOX_TOTAL,
    OUTBOX_ERROR_CODE,
    OUTBOX_ERROR_MESSAGE,
    OUTBOX_METADATA,
    OUTBOX_EXTRA,
    OUTBOX_EMBEDDINGS,
    OUTBOX_TOO_BIG, /* "t": its topic has refused it for its size */
};

struct str reply_unhex(struct arena *arena, struct str hex);

#endif
