/*
 * redis_pending.h -- what redis.c remembers of commands that are not answered: rings of who asked,
 * and the words of scripts' commands. Both are recycled, so a warm door allocates nothing.
 */
#ifndef QUERN_COMMON_IO_REDIS_PENDING_H
#define QUERN_COMMON_IO_REDIS_PENDING_H

#include "common/base/buf.h"
#include "common/io/redis.h"

/* The words of a script's command, encoded, from the number of keys on. */
struct redis_kept {
    struct redis_kept *next; /* while it is free */
    struct buf words;
    size_t count;
    unsigned script;
};

struct redis_entry {
    redis_done *done; /* NULL: nobody listens (any more) */
    void *context;
    int64_t deadline_ms;
    struct redis_kept *kept;
};

/* Indices run freely and are masked; cap is a power of two. */
struct redis_ring {
    struct redis_entry *entries;
    size_t cap, head, tail;
};

/* A zeroed ring is an empty one. Pushing makes room; popping an empty ring is not allowed. */
static inline struct redis_entry *redis_ring_at(const struct redis_ring *ring, size_t index)
{
    return &ring->entries[index & (ring->cap - 1)];
}

static inline size_t redis_ring_count(const struct redis_ring *ring)
{
    return ring->tail - ring->head;
}

static inline struct redis_entry redis_ring_pop(struct redis_ring *ring)
{
    return *redis_ring_at(ring, ring->head++);
}

void redis_ring_push(struct redis_ring *ring, struct redis_entry entry);
void redis_ring_done(struct redis_ring *ring);

/* A zeroed pool is an empty one. Taken words are empty; NULL may be given back. */
struct redis_kept_pool {
    struct redis_kept *free;
    size_t count;
};
struct redis_kept *redis_kept_take(struct redis_kept_pool *pool);
void redis_kept_give(struct redis_kept_pool *pool, struct redis_kept *kept);
void redis_kept_done(struct redis_kept_pool *pool);

#endif
