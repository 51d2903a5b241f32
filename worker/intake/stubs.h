/*
 * stubs.h -- what is left of requests that were read too early: a queue of 40 bytes each, in pieces
 * of 10 KiB; and of some a copy of the record, so that it need not be fetched again. Pure.
 */
#ifndef QUERN_WORKER_INTAKE_STUBS_H
#define QUERN_WORKER_INTAKE_STUBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kafka_record;
struct partition;

struct stub {
    struct partition *partition;
    int64_t offset;
    int64_t deadline_at; /* wall ms */
    uint32_t bytes;
    uint32_t cost;             /* tokens, estimated */
    struct kafka_record *copy; /* copies.h; its owner is the queue of stubs. NULL: none */
};

struct stub_piece;

struct stubs { /* zeroed: empty */
    struct stub_piece *first, *last;
    size_t count;
};

void stubs_push(struct stubs *stubs, const struct stub *stub);
const struct stub *stubs_first(const struct stubs *stubs); /* NULL: empty */
struct stub stubs_pop(struct stubs *stubs);                /* not empty */

#endif
