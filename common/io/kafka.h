/*
 * kafka.h -- the Kafka door (librdkafka inside): a consumer that never blocks, a producer that says
 * when a record is safe, and administration for the command line.
 *
 * Consumer. librdkafka's event fd fires only when its queue goes from empty to non-empty, so "Kafka
 * has more" is state: the door keeps collecting, at most `records_per_turn` each turn, until the
 * queue is empty, and asks the loop for another turn while it is not. Back-pressure is
 * kafka_pause(): polling goes on, fetching does not. Assignment is eager. The door looks up
 * committed offsets and watermarks in a helper thread, so that the loop is never blocked, and
 * reports through the callbacks below; nothing is read from a partition before kafka_start() was
 * called for it, and nothing of it is reported after kafka_release().
 *
 * A static member whose place is taken by another process is told on_fatal. One that the library
 * takes for that, after an outage longer than the session, is joined anew by the door: it hears
 * on_revoked(lost), and on_assigned as after any other loss.
 *
 * on_revoked: stop starting, drain a little, kafka_commit() what is finished, then kafka_release()
 * within `revoke_ms_max`, after which the door releases by itself. lost = true: commit nothing;
 * release at once.
 *
 * Producer. Idempotent, acks=all, partitioner murmur2_random. A record is safe when its callback
 * says ok. Key, value and headers are copied. kafka_produce() returns false when the local queue is
 * full: keep the record and try again at the next turn.
 *
 * A fatal error of the library makes the door build its producer anew: records that were not
 * acknowledged are answered with ERR_TIMEOUT, and kafka_produce() returns false until the new one
 * is there, a turn later or, if it happened just before, a second or two. Such records may be
 * written twice, and arrive behind later ones: readers know records by their ids. When that did not
 * help, on_fatal is told once: the program must exit.
 *
 * Every record handed to on_record is valid until the arena it is attached to is reset: the
 * consumer calls on_record(record), the receiver either copies or takes ownership with
 * kafka_record_keep(record, arena).
 */
#ifndef QUERN_COMMON_IO_KAFKA_H
#define QUERN_COMMON_IO_KAFKA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/data/conf.h"
#include "common/loop/loop.h"

#define KAFKA_HEADERS_MAX 32

struct kafka_header {
    struct str name, value;
};

struct kafka_record {
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;
    struct str key, value; /* absent when null */
    size_t header_count;   /* at most KAFKA_HEADERS_MAX are seen */
    struct kafka_header headers[KAFKA_HEADERS_MAX];
    void *handle; /* the library's message */
};

/* The last header of this name (case-sensitive), else absent. */
struct str kafka_record_header(const struct kafka_record *record, const char *name);
/* Of key, value and headers. */
static inline size_t kafka_record_bytes(const struct kafka_record *record)
{
    size_t bytes = record->key.len + record->value.len;
    for (size_t i = 0; i < record->header_count; i++)
        bytes += record->headers[i].name.len + record->headers[i].value.len;
    return bytes;
}
/* Of the struct, up to the last header it has. */
static inline size_t kafka_record_head_bytes(const struct kafka_record *record)
{
    return offsetof(struct kafka_record, headers) +
           record->header_count * sizeof(struct kafka_header);
}
/* Key, value and headers stay valid until `arena` is reset. Call at most once per record. */
void kafka_record_keep(struct kafka_record *record, struct arena *arena);

struct kafka_partition {
    const char *topic; /* lives as long as the consumer */
    int32_t partition;
    int64_t committed; /* -1: none */
    int64_t low, high; /* watermarks at assignment; high = next offset to be written */
};

struct kafka_offset {
    const char *topic;
    int32_t partition;
    int64_t offset; /* the next one to read */
};

struct kafka_consumer;

struct kafka_consumer_events {
    void (*on_record)(struct kafka_record *record, void *context);
    /* Answer each partition with kafka_start(), at once or later. */
    void (*on_assigned)(const struct kafka_partition *partitions, size_t count, void *context);
    void (*on_revoked)(bool lost, void *context); /* always all of them: assignment is eager */
    void (*on_committed)(const struct kafka_offset *offsets, size_t count, const struct err *err,
                         void *context); /* err NULL: done */
    /* All of the partition's records up to now have been reported; may come again. */
    void (*on_end)(const char *topic, int32_t partition, int64_t next_offset, void *context);
    void (*on_fatal)(const struct err *err, void *context);
    void *context;
};

struct kafka_conf {
    struct str bootstrap_servers;
    const struct conf_props *properties; /* librdkafka's own names, passed through untouched */
    struct str client_id;
    struct str group;         /* consumer */
    struct str instance;      /* group.instance.id; absent: dynamic membership */
    const struct str *topics; /* consumer */
    size_t topic_count;
    int64_t session_timeout_ms;  /* default 6000 */
    int64_t revoke_ms_max;       /* default 3000 */
    int64_t fetch_bytes_max;     /* read-ahead inside the library, default 16 MiB */
    int64_t fetch_wait_ms;       /* how long the broker waits for new records, default 100 */
    unsigned records_per_turn;   /* default 500 */
    int64_t message_bytes_max;   /* largest record, default 32 MiB */
    int64_t linger_ms;           /* producer; how often records leave at most, default 5 */
    int64_t delivery_timeout_ms; /* producer; default 30000 */
};

/* Whether the library knows the property and takes the value; else ERR_CONFIG, with the nearest
 * name. The text says nothing of a value that may be a password. */
bool kafka_property_check(struct str name, struct str value, struct err *err);

struct kafka_consumer *kafka_consumer_new(struct loop *loop, const struct kafka_conf *conf,
                                          const struct kafka_consumer_events *events,
                                          struct err *err);
/* Leaves the group (a static member only when `leave`), waits at most a second. Takes NULL. */
void kafka_consumer_free(struct kafka_consumer *consumer, bool leave);
/* True while at least one broker is reachable; for readiness. */
bool kafka_consumer_up(const struct kafka_consumer *consumer);
/* True while the group counts us in and has given us what is ours, be it nothing; for readiness. */
bool kafka_consumer_joined(const struct kafka_consumer *consumer);

void kafka_start(struct kafka_consumer *consumer, const char *topic, int32_t partition,
                 int64_t offset);
void kafka_pause(struct kafka_consumer *consumer, const char *topic, int32_t partition);
void kafka_resume(struct kafka_consumer *consumer, const char *topic, int32_t partition);
/* Asynchronous; answered by on_committed. Only while the partitions are assigned. */
void kafka_commit(struct kafka_consumer *consumer, const struct kafka_offset *offsets,
                  size_t count);
/* Ends the current revoke. */
void kafka_release(struct kafka_consumer *consumer);

struct kafka_producer;

struct kafka_producer *kafka_producer_new(struct loop *loop, const struct kafka_conf *conf,
                                          void (*on_fatal)(const struct err *err, void *context),
                                          void *context, struct err *err);
void kafka_producer_free(struct kafka_producer *producer, int64_t flush_ms_max); /* takes NULL */
bool kafka_producer_up(const struct kafka_producer *producer);
/* How often it was built anew; for the metrics. */
uint64_t kafka_producer_renewals(const struct kafka_producer *producer);

struct kafka_produce {
    const char *topic;
    struct str key, value; /* an absent value is a null value */
    const struct kafka_header *headers;
    size_t header_count;
    /* err NULL: written. ERR_TIMEOUT is ambiguous: it may have been written, or be written yet;
     * produce it again with the same id. ERR_TOO_BIG never fits. Called once, never from within
     * kafka_produce(). */
    void (*done)(const struct err *err, void *context);
    void *context;
};
bool kafka_produce(struct kafka_producer *producer, const struct kafka_produce *record);
size_t kafka_producer_pending(const struct kafka_producer *producer);

/* The library's version, for --version. */
const char *kafka_library_version(void);

#endif
