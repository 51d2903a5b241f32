/*
 * kafka_rounds.h -- when a producer's records are handed over to the library: together, in rounds.
 *
 * A round is what was waiting when it began. The next one begins `linger_ms` later at the earliest,
 * and not before all of this one is acknowledged, unless that takes longer than KAFKA_ROUND_MS_MAX:
 * a broker that is slow or gone must not hold up what goes to the others for long. So the first
 * record after a pause leaves at once, and while records keep coming they leave in few, large
 * batches.
 *
 * Why not by the library's own `linger.ms`: it takes the time from each record on, so a record that
 * is alone waits in vain; and the library's thread does not sleep but polls in a tight loop in the
 * last millisecond of that time, and for as long as a batch that should leave waits for the
 * acknowledgement of the one before (librdkafka, rd_kafka_toppar_producer_serve(); 2.0.2 to 2.14).
 * That cost a third of a worker's CPU.
 *
 * Pure: no door, no clock, no log; time is an argument.
 */
#ifndef QUERN_COMMON_IO_KAFKA_ROUNDS_H
#define QUERN_COMMON_IO_KAFKA_ROUNDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KAFKA_ROUND_MS_MAX 100

struct kafka_rounds {
    int64_t linger_ms;
    uint64_t number;  /* of the newest; 0: none was */
    size_t left;      /* of its records, not acknowledged */
    int64_t began_ms; /* of it */
};

/* Whether the next may begin. */
bool kafka_rounds_open(const struct kafka_rounds *rounds, int64_t now_ms);
/* The moment when it may, should no acknowledgement come before. */
int64_t kafka_rounds_open_at(const struct kafka_rounds *rounds);
/* The next one begins; its records are added one by one. */
void kafka_rounds_begin(struct kafka_rounds *rounds, int64_t now_ms);
/* A record of the newest round; its number is to be kept with it. */
uint64_t kafka_rounds_add(struct kafka_rounds *rounds);
/* A record of this round was acknowledged, or given up. True: it was the last one of the newest. */
bool kafka_rounds_done(struct kafka_rounds *rounds, uint64_t number);

#endif
