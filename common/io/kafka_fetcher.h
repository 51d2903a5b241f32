/*
 * kafka_fetcher.h -- reading single stretches of partitions once more, in no group: for those who
 * read a record before, did not keep it, and want it now. Part of the Kafka door.
 *
 * A question is a stretch of one partition, first to last offset. Its records come through
 * on_record in increasing order of offset, in the loop's thread, with gaps where there is no record
 * any more; then on_done, once. Nothing is called from within kafka_fetch(). Questions about one
 * partition are answered one after another, those about different ones side by side. What the
 * library read ahead stays in its queue, so stretches that follow one another are read in one go.
 *
 * Limits: the library reads ahead a sixteenth of fetch_bytes_max in each partition, at least a
 * mebibyte, and at most 32 partitions are open while none of more is asked for. A stretch that
 * brings nothing for `timeout_ms` ends with ERR_TIMEOUT, and may be asked for again.
 * ERR_OFFSET_LOST: Kafka does not have its first offset any more, or not yet. on_fatal: as kafka.h.
 */
#ifndef QUERN_COMMON_IO_KAFKA_FETCHER_H
#define QUERN_COMMON_IO_KAFKA_FETCHER_H

#include "common/io/kafka.h"

struct kafka_fetcher;

/* The caller's, until on_done or kafka_fetch_cancel(). */
struct kafka_fetch {
    const char *topic; /* stays meanwhile */
    int32_t partition;
    int64_t first, last; /* first moves on with what has come */
    /* the door's own */
    struct list_node node;
    struct kafka_fetch_part *part;
    int64_t since_ms;
    int trouble; /* the simulated door's */
};

struct kafka_fetcher_events {
    /* As kafka.h's: valid until it returns, or kept with kafka_record_keep(). */
    void (*on_record)(struct kafka_fetch *fetch, struct kafka_record *record, void *context);
    void (*on_done)(struct kafka_fetch *fetch, const struct err *err, void *context);
    void (*on_fatal)(const struct err *err, void *context);
    void *context;
};

/* Of `conf`: addresses, properties, client_id, fetch_bytes_max, message_bytes_max,
 * records_per_turn, and group: one that the program may ask about; it is not joined. */
struct kafka_fetcher *kafka_fetcher_new(struct loop *loop, const struct kafka_conf *conf,
                                        int64_t timeout_ms,
                                        const struct kafka_fetcher_events *events, struct err *err);
void kafka_fetcher_free(struct kafka_fetcher *fetcher); /* takes NULL */

void kafka_fetch(struct kafka_fetcher *fetcher, struct kafka_fetch *fetch);
/* Nothing more is said of it; in no queue: does nothing. */
void kafka_fetch_cancel(struct kafka_fetcher *fetcher, struct kafka_fetch *fetch);
/* Gives up what was read ahead of all partitions; their questions must have been cancelled. */
void kafka_fetcher_forget(struct kafka_fetcher *fetcher);

#endif
