/*
 * arena.h -- one desk of memory per request: bump allocation, freed all at once, with a ceiling.
 *
 * Blocks come from a shared pool of recycled blocks (struct arena_pool) so that a busy process does
 * not touch malloc per request. Beyond the ceiling arena_alloc() still succeeds from a reserve
 * but sets the overflow mark, which the owner checks once per step (arena_overflowed) and turns
 * into ERR_TOO_BIG: no allocation site needs a NULL check. The reserve is as large as the ceiling
 * (at least 64 KiB); an arena whose reserve is used up too aborts at the next piece. Whoever
 * allocates in proportion to input from outside therefore uses arena_try() or looks at the mark as
 * it goes. A single piece larger than the ceiling is refused only through arena_try().
 *
 * Foreign objects (a PGresult, a Kafka message) are attached once with arena_defer() and released
 * in reverse order when the arena is reset or done.
 *
 * Under ASan every piece has its own malloc, so overflows stay visible. Not thread-safe.
 */
#ifndef QUERN_COMMON_BASE_ARENA_H
#define QUERN_COMMON_BASE_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/str.h"

struct arena_pool; /* recycled blocks of one size, shared by the arenas of one thread */
struct arena_block;
struct arena_deferred;

struct arena {
    struct arena_pool *pool;
    struct arena_block *blocks; /* newest first */
    struct arena_deferred *deferred;
    char *at;
    char *end;
    size_t used_bytes;
    size_t max_bytes;
    bool overflowed;
};

/* block_bytes: size of a recycled block; keep_max: how many free blocks are kept for reuse. */
struct arena_pool *arena_pool_new(size_t block_bytes, size_t keep_max);
void arena_pool_free(struct arena_pool *pool); /* takes NULL; all arenas must be done */
/* Bytes held by the pool: in use by arenas and kept free. */
size_t arena_pool_bytes(const struct arena_pool *pool);

/* pool may be NULL: then blocks are malloc'ed. */
void arena_init(struct arena *arena, struct arena_pool *pool, size_t max_bytes);
void arena_done(struct arena *arena);
/* Frees everything, runs the deferred functions; the arena can be used again. */
void arena_reset(struct arena *arena);

/* Never NULL; 16-byte aligned; not cleared. Malloc failure aborts. */
void *arena_alloc(struct arena *arena, size_t bytes);
void *arena_zalloc(struct arena *arena, size_t bytes);
void *arena_calloc(struct arena *arena, size_t count, size_t bytes); /* checks the product */
/* NULL when the piece does not fit below the ceiling; the mark is not set. For outside input. */
void *arena_try(struct arena *arena, size_t bytes);
#define arena_new(arena, type)      ((type *)arena_zalloc((arena), sizeof(type)))
#define arena_array(arena, type, n) ((type *)arena_calloc((arena), (n), sizeof(type)))

/* A copy, NUL-terminated; absent stays absent. */
struct str arena_str(struct arena *arena, struct str s);
/* The same as a C string; "" for absent. */
char *arena_cstr(struct arena *arena, struct str s);
/* One behind the other, in one piece; for what is made for every request, where printf is felt. */
struct str arena_join(struct arena *arena, const struct str *parts, size_t count);
#define ARENA_JOIN(arena, ...)                                                                     \
    arena_join((arena), (const struct str[]){__VA_ARGS__},                                         \
               sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str))
struct str arena_i64(struct arena *arena, int64_t n); /* in decimal */
struct str arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct str arena_vprintf(struct arena *arena, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

typedef void arena_release(void *object);
void arena_defer(struct arena *arena, arena_release *release, void *object);

bool arena_overflowed(const struct arena *arena);

#endif
