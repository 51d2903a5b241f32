/*
 * kafka_reader.h -- the records of one assignment: which partitions, from where on, and whether
 * they may be reported just now.
 *
 * All partitions are forwarded to one queue of our own. Rebalances, commits and errors come through
 * another (the client's), so nothing of them ever waits behind records, and "everything is paused"
 * costs nothing: the record queue is left alone, full of what was read ahead. When only some
 * partitions are paused, their records are taken from the queue and held; beyond `held_bytes_max`
 * the library is told to pause the partition, and to seek when it goes on. (Its own pause throws
 * away what was fetched, and in 2.0.2 would skip it if nothing of the partition had been consumed
 * before; the explicit seek makes us independent of that.)
 *
 * What stays true: per partition, records are reported in increasing order of offset, each once
 * per assignment, from `start` on; none while the partition is paused; none after
 * kafka_reader_clear().
 *
 * Private to common/io/kafka*.c.
 */
#ifndef QUERN_COMMON_IO_KAFKA_READER_H
#define QUERN_COMMON_IO_KAFKA_READER_H

#include "common/io/kafka_client.h"

struct kafka_part {
    const char *topic;
    int32_t number;
    bool started, paused;
    bool stopped;     /* the library was told to pause it */
    int64_t fetched;  /* one past the last record taken from the queue */
    struct list held; /* of struct held, in order */
    int64_t commit;   /* highest offset asked to be committed */
    bool commit_due;  /* not sent yet */
};

struct kafka_reader {
    struct kafka_client *client;
    const struct kafka_consumer_events *events;
    rd_kafka_queue_t *records;
    struct kafka_part *parts; /* of the current assignment */
    size_t count;
    size_t unstarted, paused_count;
    bool reading;            /* every partition was started and the library knows it */
    struct kafka_part *last; /* that a record came from; they come in runs */
    size_t held_count, held_bytes, held_bytes_max;
};

void kafka_reader_init(struct kafka_reader *reader, struct kafka_client *client,
                       const struct kafka_consumer_events *events, size_t held_bytes_max);
void kafka_reader_done(struct kafka_reader *reader);

/* A new assignment; nothing is read yet. `parts` (malloc'ed) is taken over. */
void kafka_reader_set(struct kafka_reader *reader, struct kafka_part *parts, size_t count);
/* Forgets the assignment and what was read ahead for it. */
void kafka_reader_clear(struct kafka_reader *reader);
/* NULL: not assigned. */
struct kafka_part *kafka_reader_find(struct kafka_reader *reader, const char *topic,
                                     int32_t number);

void kafka_reader_start(struct kafka_reader *reader, struct kafka_part *part, int64_t offset);
/* After the last start: tells the library where to read. */
void kafka_reader_begin(struct kafka_reader *reader);
void kafka_reader_pause(struct kafka_reader *reader, struct kafka_part *part);
void kafka_reader_resume(struct kafka_reader *reader, struct kafka_part *part);
/* Reports at most `budget` records; true when there are more. */
bool kafka_reader_pull(struct kafka_reader *reader, unsigned budget);

#endif
