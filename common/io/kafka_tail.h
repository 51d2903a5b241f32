/*
 * kafka_tail.h -- reading partitions from given offsets on, in no group: for those who wait for
 * answers that others write (the command line). Nothing is committed and nobody is told.
 *
 * Records come through on_record in the loop's thread, as with kafka.h; on_end says that a
 * partition has no more for now. Of the events only on_record, on_end, on_fatal and context count.
 */
#ifndef QUERN_COMMON_IO_KAFKA_TAIL_H
#define QUERN_COMMON_IO_KAFKA_TAIL_H

#include "common/io/kafka.h"

struct kafka_tail;

/* `starts` says where each partition is read from; the names are copied. */
struct kafka_tail *kafka_tail_new(struct loop *loop, const struct kafka_conf *conf,
                                  const struct kafka_offset *starts, size_t count,
                                  const struct kafka_consumer_events *events, struct err *err);
void kafka_tail_free(struct kafka_tail *tail); /* takes NULL; waits at most a second */
/* True while at least one broker is reachable. */
bool kafka_tail_up(const struct kafka_tail *tail);

#endif
