/*
 * inside.h -- what the two files of this room share: store.c (the queue, making a transaction) and
 * ended.c (what became of it).
 */
#ifndef QUERN_AGGREGATOR_STORE_INSIDE_H
#define QUERN_AGGREGATOR_STORE_INSIDE_H

#include "aggregator/store/extras.h"
#include "aggregator/store/rows.h"

#define STORE_NO_LIMIT SIZE_MAX

/* What the transaction on the wire moves in one partition. */
struct range {
    int32_t partition;
    int64_t epoch, from, to;
};

struct store {
    struct aggregator *aggregator;
    struct list queue;
    size_t queue_bytes;
    bool holding; /* reading is held back */

    struct list wire;  /* entries of the transaction that is being tried */
    bool busy;         /* it is on the wire, or we look what became of it */
    bool resend;       /* it is to be sent again as it was */
    bool telling;      /* it tells those whose id has another's result */
    bool outbox_taken; /* it carries news about the outbox */
    bool dropped;      /* its partitions were given up meanwhile */
    struct range *ranges;
    size_t range_count, range_cap;
    int64_t sent_us;
    int64_t retry_at_ms;
    unsigned tries;
    size_t suspects; /* entries at the head of the queue, one of which is guilty */
    size_t take_max; /* smaller than usual while a guilty entry is searched */
    int store_at;    /* number of quern_store in the transaction; -1: not in it */
    bool look_again; /* a repeat or a dead letter went to the outbox */

    struct rows rows;
    struct map sessions; /* of the final rows in the transaction being made */
    struct buf partitions, epochs, froms, tos;
    struct extras extras;
    struct buf sent, failed, errors;
    char pause[24];
};

void store_free_entries(struct list *list);
/* postgres_batch()'s callback for the transaction on the wire; context is the store. */
void store_ended(const struct postgres_result *result, const struct err *err, void *context);

#endif
