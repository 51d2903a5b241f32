/*
 * arena.c -- bump allocation out of recycled blocks.
 *
 * An arena cuts pieces off its current block. A piece that does not fit takes a fresh block of the
 * pool's size, or one of its own when it does not fit into that either. Whichever of the two blocks
 * has more left then is the current one, so that one large piece does not waste what is left of
 * another. Blocks of the pool's size go back to the pool, the others back to malloc.
 *
 *   struct arena_block | piece | piece | piece | ... free ... |
 *                      ^ 16-byte aligned        ^ at          ^ end
 *
 * The ceiling and the reserve: a piece that passes max_bytes is handed out all the same and sets
 * the mark. The reserve is as large as the ceiling (at least RESERVE_MIN). Only when the reserve is
 * used up as well is the next piece a mistake of ours and aborts: no step may allocate that much
 * without looking at the mark, and an arena never holds more than ceiling + reserve + one piece.
 *
 * With ASan each piece is a malloc of its own with its list node aside, so that both ends are
 * guarded; sizes are counted in the same way as without, so ceilings behave the same.
 */
#include "common/base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"

#if defined(__SANITIZE_ADDRESS__)
#define PIECE_BY_PIECE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PIECE_BY_PIECE 1
#endif
#endif
#ifndef PIECE_BY_PIECE
#define PIECE_BY_PIECE 0
#endif

#define ALIGN         16u
#define BLOCK_DEFAULT ((size_t)16 * 1024) /* for arenas without a pool */
#define RESERVE_MIN   ((size_t)64 * 1024)

struct arena_block {
    struct arena_block *next;
    size_t bytes; /* with this header */
    void *piece;  /* ASan only: the memory, which is elsewhere */
    size_t padding;
};

_Static_assert(sizeof(struct arena_block) % ALIGN == 0, "pieces behind the header are aligned");

struct arena_pool {
    struct arena_block *free;
    size_t block_bytes;
    size_t free_count;
    size_t keep_max;
    size_t bytes;
};

struct arena_deferred {
    struct arena_deferred *next;
    arena_release *release;
    void *object;
};

static size_t round_up(size_t bytes)
{
    must(bytes <= SIZE_MAX / 2);
    return (bytes + (ALIGN - 1)) & ~(size_t)(ALIGN - 1);
}

static size_t add_capped(size_t a, size_t b)
{
    size_t sum;
    return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}

struct arena_pool *arena_pool_new(size_t block_bytes, size_t keep_max)
{
    must(block_bytes >= 4 * sizeof(struct arena_block));
    struct arena_pool *pool = xzalloc(sizeof(*pool));
    pool->block_bytes = round_up(block_bytes);
    pool->keep_max = keep_max;
    return pool;
}

void arena_pool_free(struct arena_pool *pool)
{
    if (!pool)
        return;
    while (pool->free) {
        struct arena_block *block = pool->free;
        pool->free = block->next;
        pool->bytes -= block->bytes;
        free(block);
    }
    must(pool->bytes == 0 && "an arena of this pool is still in use");
    free(pool);
}

size_t arena_pool_bytes(const struct arena_pool *pool)
{
    return pool->bytes;
}

/* A block of `bytes` in all, from the pool's stock when it has that size. */
static struct arena_block *block_take(struct arena_pool *pool, size_t bytes)
{
    struct arena_block *block;
    if (pool && pool->free && bytes == pool->block_bytes) {
        block = pool->free;
        pool->free = block->next;
        pool->free_count--;
        return block;
    }
    block = xrealloc(NULL, PIECE_BY_PIECE ? sizeof(*block) : bytes);
    block->bytes = bytes;
    block->piece = NULL;
    if (pool)
        pool->bytes += bytes;
    return block;
}

static void block_give(struct arena_pool *pool, struct arena_block *block)
{
    free(block->piece);
    block->piece = NULL;
    if (pool && !PIECE_BY_PIECE && block->bytes == pool->block_bytes &&
        pool->free_count < pool->keep_max) {
        block->next = pool->free;
        pool->free = block;
        pool->free_count++;
        return;
    }
    if (pool)
        pool->bytes -= block->bytes;
    free(block);
}

void arena_init(struct arena *arena, struct arena_pool *pool, size_t max_bytes)
{
    must(max_bytes > 0);
    *arena = (struct arena){.pool = pool, .max_bytes = max_bytes};
}

void arena_done(struct arena *arena)
{
    arena_reset(arena);
}

void arena_reset(struct arena *arena)
{
    /* Foreign objects first: their release functions may look at pieces of this arena. */
    while (arena->deferred) {
        struct arena_deferred *deferred = arena->deferred;
        arena->deferred = deferred->next;
        deferred->release(deferred->object);
    }
    while (arena->blocks) {
        struct arena_block *block = arena->blocks;
        arena->blocks = block->next;
        block_give(arena->pool, block);
    }
    arena->at = arena->end = NULL;
    arena->used_bytes = 0;
    arena->overflowed = false;
}

#if PIECE_BY_PIECE

static void *cut(struct arena *arena, size_t bytes)
{
    struct arena_block *block =
        block_take(arena->pool, add_capped(sizeof(*block), round_up(bytes)));
    block->piece = xrealloc(NULL, bytes);
    block->next = arena->blocks;
    arena->blocks = block;
    return block->piece;
}

#else

static size_t block_bytes_of(const struct arena *arena)
{
    return arena->pool ? arena->pool->block_bytes : BLOCK_DEFAULT;
}

/* A block for this piece alone, put behind the current one. */
static void *cut_alone(struct arena *arena, size_t rounded)
{
    struct arena_block *block = block_take(arena->pool, sizeof(*block) + rounded);
    if (arena->blocks) {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    } else {
        block->next = NULL;
        arena->blocks = block;
    }
    return block + 1;
}

/* Out of a fresh block, which becomes the current one if it has more left. */
static void *cut_fresh(struct arena *arena, size_t rounded)
{
    size_t block_bytes = block_bytes_of(arena);
    struct arena_block *block = block_take(arena->pool, block_bytes);
    block->next = arena->blocks;
    arena->blocks = block;
    char *piece = (char *)(block + 1), *end = (char *)block + block_bytes;
    if (end - (piece + rounded) > arena->end - arena->at) {
        arena->at = piece + rounded;
        arena->end = end;
    }
    return piece;
}

static void *cut(struct arena *arena, size_t bytes)
{
    size_t rounded = round_up(bytes);
    if ((size_t)(arena->end - arena->at) < rounded)
        return rounded > block_bytes_of(arena) - sizeof(struct arena_block)
                   ? cut_alone(arena, rounded)
                   : cut_fresh(arena, rounded);
    void *piece = arena->at;
    arena->at += rounded;
    return piece;
}

#endif

void *arena_alloc(struct arena *arena, size_t bytes)
{
    if (bytes == 0)
        bytes = 1; /* each piece has an address of its own */
    size_t reserve = arena->max_bytes > RESERVE_MIN ? arena->max_bytes : RESERVE_MIN;
    must(arena->used_bytes <= add_capped(arena->max_bytes, reserve) &&
         "the arena's reserve is used up: its owner did not look at the mark");
    arena->used_bytes += round_up(bytes);
    if (arena->used_bytes > arena->max_bytes)
        arena->overflowed = true;
    return cut(arena, bytes);
}

void *arena_zalloc(struct arena *arena, size_t bytes)
{
    void *piece = arena_alloc(arena, bytes);
    memset(piece, 0, bytes);
    return piece;
}

void *arena_calloc(struct arena *arena, size_t count, size_t bytes)
{
    size_t product;
    must(!__builtin_mul_overflow(count, bytes, &product));
    return arena_zalloc(arena, product);
}

void *arena_try(struct arena *arena, size_t bytes)
{
    size_t left = arena->used_bytes < arena->max_bytes ? arena->max_bytes - arena->used_bytes : 0;
    if (bytes > left || round_up(bytes) > left)
        return NULL;
    return arena_alloc(arena, bytes);
}

bool arena_overflowed(const struct arena *arena)
{
    return arena->overflowed;
}

struct str arena_str(struct arena *arena, struct str s)
{
    if (!s.data)
        return s;
    return (struct str){arena_cstr(arena, s), s.len};
}

char *arena_cstr(struct arena *arena, struct str s)
{
    char *copy = arena_alloc(arena, add_capped(s.len, 1));
    if (s.len)
        memcpy(copy, s.data, s.len);
    copy[s.len] = '\0';
    return copy;
}

struct str arena_join(struct arena *arena, const struct str *parts, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len = add_capped(len, parts[i].len);
    char *text = arena_alloc(arena, add_capped(len, 1)), *at = text;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len)
            memcpy(at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    *at = '\0';
    return str_from(text, len);
}

struct str arena_i64(struct arena *arena, int64_t n)
{
    char digits[STR_I64_MAX];
    return arena_str(arena, str_i64(n, digits));
}

struct str arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct str text = arena_vprintf(arena, format, args);
    va_end(args);
    return text;
}

struct str arena_vprintf(struct arena *arena, const char *format, va_list args)
{
    must(format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    must(len >= 0);
    char *text = arena_alloc(arena, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return (struct str){text, (size_t)len};
}

/* The record lives in the arena; it is read before the memory goes. */
void arena_defer(struct arena *arena, arena_release *release, void *object)
{
    struct arena_deferred *deferred = arena_alloc(arena, sizeof(*deferred));
    *deferred = (struct arena_deferred){arena->deferred, release, object};
    arena->deferred = deferred;
}
