#include "common/io/redis_pending.h"

#include "common/base/xalloc.h"

#define KEPT_BYTES_MAX  (64u << 20)
#define KEPT_BYTES_WARM (16u << 10) /* larger pieces of memory are not recycled, */
#define KEPT_WARM_MAX   1024        /* nor more of them than this */

static void redis_ring_grow(struct redis_ring *ring)
{
    struct redis_ring grown = {.cap = ring->cap ? ring->cap * 2 : 256};
    grown.entries = xcalloc(grown.cap, sizeof(grown.entries[0]));
    grown.head = ring->head;
    grown.tail = ring->tail;
    for (size_t i = ring->head; i != ring->tail; i++)
        *redis_ring_at(&grown, i) = *redis_ring_at(ring, i);
    free(ring->entries);
    *ring = grown;
}

void redis_ring_push(struct redis_ring *ring, struct redis_entry entry)
{
    if (redis_ring_count(ring) == ring->cap)
        redis_ring_grow(ring);
    *redis_ring_at(ring, ring->tail++) = entry;
}

struct redis_kept *redis_kept_take(struct redis_kept_pool *pool)
{
    struct redis_kept *kept = pool->free;
    if (kept) {
        pool->free = kept->next;
        pool->count--;
    } else {
        kept = xzalloc(sizeof(*kept));
        buf_init(&kept->words, KEPT_BYTES_MAX);
    }
    buf_clear(&kept->words);
    return kept;
}

void redis_kept_give(struct redis_kept_pool *pool, struct redis_kept *kept)
{
    if (!kept)
        return;
    if (kept->words.cap > KEPT_BYTES_WARM || pool->count >= KEPT_WARM_MAX) {
        buf_done(&kept->words);
        free(kept);
        return;
    }
    kept->next = pool->free;
    pool->free = kept;
    pool->count++;
}

void redis_ring_done(struct redis_ring *ring)
{
    free(ring->entries);
    *ring = (struct redis_ring){0};
}

void redis_kept_done(struct redis_kept_pool *pool)
{
    for (struct redis_kept *kept; (kept = pool->free);) {
        pool->free = kept->next;
        buf_done(&kept->words);
        free(kept);
    }
    pool->count = 0;
}
