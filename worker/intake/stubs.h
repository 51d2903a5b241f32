/*
 * stubs.h -- what is left of requests that were read too early to keep their bytes: a queue of 32
 * bytes each, in pieces of 8 KiB. Pure.
 */
#ifndef QUERN_WORKER_INTAKE_STUBS_H
#define QUERN_WORKER_INTAKE_STUBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct partition;

struct stub {
    struct partition *partition;
    int64_t offset;
    int64_t deadline_at; /* wall ms */
    uint32_t bytes;
    uint32_t cost; /* tokens, estimated */
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
