/*
 * kafka_outage.h -- is Kafka away? One opinion made of what several handles find; pure.
 *
 * A process has several librdkafka handles to the same brokers (consumer, producer, fetcher), and
 * each finds out by itself that nobody answers, and later that somebody does. The operator wants to
 * hear of it once. So each handle is a witness here:
 *
 * - The first that finds nobody makes it an outage: KAFKA_NEWS_AWAY, once.
 * - It ends when every witness has found somebody: KAFKA_NEWS_THERE, once. One whose connection
 *   broke and who has not asked since is not sure, so the outage waits for it too. Else a handle
 *   that is slower than the others would begin the same outage a second time.
 * - A question asked before the end may fail after it: that is no news.
 * - At the start nobody has asked. The first that finds somebody makes it news then as well.
 *
 * When the last witness has left, everything is forgotten. Times are the loop's milliseconds.
 */
#ifndef QUERN_COMMON_IO_KAFKA_OUTAGE_H
#define QUERN_COMMON_IO_KAFKA_OUTAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kafka_news { KAFKA_NEWS_NONE, KAFKA_NEWS_AWAY, KAFKA_NEWS_THERE };

struct kafka_outage {
    unsigned fresh, unsure, found, lost; /* witnesses; fresh: never asked */
    enum kafka_news told;
    int64_t since_ms; /* of the outage, or of the start */
    int64_t there_ms; /* when it was told last that Kafka is there */
};

/* One handle's view. Zeroed: it has not entered. */
struct kafka_witness {
    unsigned *among; /* counter of the outage it stands in */
};

/* A handle is made; nothing happens when it has entered already. */
void kafka_outage_enter(struct kafka_outage *outage, struct kafka_witness *witness, int64_t now_ms);
/* Its connection broke, or it was made anew: it has to ask before anybody believes it again. */
void kafka_outage_doubt(struct kafka_outage *outage, struct kafka_witness *witness);
/* It asked at `asked_ms`, and somebody answered or nobody did. */
enum kafka_news kafka_outage_asked(struct kafka_outage *outage, struct kafka_witness *witness,
                                   bool answered, int64_t asked_ms, int64_t now_ms);
/* A handle is closed; what it thought does not count any more. */
enum kafka_news kafka_outage_leave(struct kafka_outage *outage, struct kafka_witness *witness,
                                   int64_t now_ms);

/* The library's words for a failed connection, without its remarks on how often and how long. */
void kafka_outage_reason(const char *text, char *ret, size_t size);

/* What the operator can do about the library's reason: one sentence. */
const char *kafka_outage_hint(const char *reason);

#endif
