/*
 * seen.h -- how often a 64-bit key was met: a fixed table with open addressing.
 *
 * The room is reserved once for `keys_max` keys and never grows, so memory is bounded and no call
 * pays for a rehash. Whoever fills it decides what to give up: the ledger drops the keys of records
 * it forgets, the attempt counter starts over.
 *
 * An entry's address is valid until the next seen_drop() or seen_clear().
 */
#ifndef FAKE_SEEN_H
#define FAKE_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seen_entry {
    uint64_t key; /* 0 = free */
    uint32_t count;
    uint32_t answered;
};

struct seen {
    struct seen_entry *entries;
    size_t mask;
    size_t used;
    size_t keys_max;
};

void seen_init(struct seen *seen, size_t keys_max);
void seen_done(struct seen *seen);

/* The entry of `key`, or NULL. */
struct seen_entry *seen_find(struct seen *seen, uint64_t key);

/* The entry of `key`, made with zero counts if absent; NULL when the table is full. */
struct seen_entry *seen_put(struct seen *seen, uint64_t key);

void seen_drop(struct seen *seen, uint64_t key);
void seen_clear(struct seen *seen);

#endif
