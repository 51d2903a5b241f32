/*
 * deliver.h -- producing one record for a walk, until Kafka has it.
 *
 * A full local queue and a failed or ambiguous produce are tried again with the same bytes (whoever
 * reads them deduplicates by id); only a record that can never fit is given up, and one that is
 * refused too often where that was said to be the end of it. The walk is asked once at
 * deliver_start() and answered when the record is written or given up.
 */
#ifndef QUERN_WORKER_DELIVER_H
#define QUERN_WORKER_DELIVER_H

#include <stdbool.h>

#include "common/base/err.h"
#include "common/flow/flow.h"
#include "common/io/kafka.h"

struct delivery {
    struct kafka_producer *producer;
    struct loop *loop;
    struct walk *walk;
    struct kafka_produce record;
    struct timer timer;
    unsigned tries, refusals, refusals_max;
    bool done, too_big, refused;
};

/* `delivery` and all that `record` points to must live until the walk is answered. */
void deliver_start(struct delivery *delivery, struct loop *loop, struct kafka_producer *producer,
                   struct walk *walk, const struct kafka_produce *record);
/* For topics that are not ours: given up (`refused`) when Kafka has said no so often, because there
 * is no such topic, say. Time-outs do not count. To be said right behind deliver_start(). */
void deliver_give_up(struct delivery *delivery, unsigned refusals_max);

#endif
