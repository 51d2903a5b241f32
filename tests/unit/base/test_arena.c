/*
 * Goal: pieces are apart, aligned and alive until the reset; ceilings are told; blocks are reused;
 * foreign objects are released in reverse order while the memory is still there.
 */
#include "tests/unit/base/test.h"

#include "common/base/arena.h"
#include "common/base/rand.h"

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifndef UNDER_ASAN
#define UNDER_ASAN 0
#endif

#define KIB ((size_t)1024)

static void pieces_are_aligned_apart_and_stay_as_written(void **state)
{
    (void)state;
    struct arena_pool *pool = arena_pool_new(1 * KIB, 4);
    struct arena arena;
    struct rand rand;
    unsigned char *pieces[500];
    size_t sizes[500];
    arena_init(&arena, pool, 1024 * KIB);
    rand_init(&rand, 3);
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        sizes[i] = rand_below(&rand, i % 10 == 0 ? 3000 : 100); /* some larger than a block */
        pieces[i] = arena_alloc(&arena, sizes[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)(i & 0xff), sizes[i]);
    }
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        for (size_t at = 0; at < sizes[i]; at++)
            assert_int_equal(pieces[i][at], i & 0xff);
    }
    arena_done(&arena);
    arena_pool_free(pool);
}

static void empty_pieces_have_addresses_of_their_own(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 1 * KIB);
    char *a = arena_alloc(&arena, 0);
    char *b = arena_alloc(&arena, 0);
    assert_non_null(a);
    assert_ptr_not_equal(a, b);
    arena_done(&arena);
}

static void cleared_pieces_are_zero_also_in_used_blocks(void **state)
{
    (void)state;
    static const unsigned char zeros[200];
    struct arena_pool *pool = arena_pool_new(1 * KIB, 4);
    struct arena arena;
    arena_init(&arena, pool, 64 * KIB);
    memset(arena_alloc(&arena, 200), 0xff, 200);
    arena_reset(&arena);
    assert_memory_equal(arena_zalloc(&arena, 200), zeros, 200);
    assert_memory_equal(arena_array(&arena, uint64_t, 25), zeros, 200);
    assert_memory_equal(arena_new(&arena, struct arena), zeros, sizeof(struct arena));
    arena_done(&arena);
    arena_pool_free(pool);
}

static void the_mark_is_set_beyond_the_ceiling_and_not_before(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 160);
    for (int i = 0; i < 10; i++)
        arena_alloc(&arena, 16);
    assert_false(arena_overflowed(&arena));
    char *piece = arena_alloc(&arena, 1);
    assert_true(arena_overflowed(&arena));
    *piece = 'x'; /* what comes from the reserve is as good as the rest */
    arena_reset(&arena);
    assert_false(arena_overflowed(&arena));
    arena_alloc(&arena, 100 * KIB); /* one piece may be of any size */
    assert_true(arena_overflowed(&arena));
    arena_done(&arena);
}

static void trying_gives_nothing_beyond_the_ceiling_and_sets_no_mark(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 160);
    assert_null(arena_try(&arena, 161));
    assert_null(arena_try(&arena, SIZE_MAX));
    assert_non_null(arena_try(&arena, 100)); /* counts as 112 */
    assert_null(arena_try(&arena, 49));
    assert_non_null(arena_try(&arena, 48));
    assert_null(arena_try(&arena, 1));
    assert_false(arena_overflowed(&arena));
    arena_done(&arena);
}

static void use_up_the_reserve(void)
{
    struct arena arena;
    arena_init(&arena, NULL, 64 * KIB);
    for (int i = 0; i < 128; i++)
        arena_alloc(&arena, 1 * KIB); /* twice the ceiling */
    arena_alloc(&arena, 1 * KIB);     /* and one piece */
    if (write(STDERR_FILENO, "still here\n", 11) == 11)
        arena_alloc(&arena, 16);
}

static void an_owner_who_never_looks_at_the_mark_aborts(void **state)
{
    (void)state;
    struct last_words said;
    assert_true(dies(use_up_the_reserve, &said));
    assert_memory_equal(said.text, "still here\n", 11);
    assert_non_null(strstr(said.text, "did not look at the mark"));
}

static void use_an_overflowing_product(void)
{
    struct arena arena;
    arena_init(&arena, NULL, 64 * KIB);
    arena_array(&arena, uint64_t, SIZE_MAX / 4);
}

static void a_product_that_overflows_aborts(void **state)
{
    (void)state;
    struct last_words said;
    assert_true(dies(use_an_overflowing_product, &said));
}

static void blocks_are_reused_up_to_the_number_kept(void **state)
{
    (void)state;
    if (UNDER_ASAN)
        skip(); /* no blocks there: each piece is a malloc of its own */
    struct arena_pool *pool = arena_pool_new(1 * KIB, 3);
    struct arena arena;
    arena_init(&arena, pool, 1024 * KIB);
    assert_int_equal(arena_pool_bytes(pool), 0);
    for (int i = 0; i < 40; i++)
        arena_alloc(&arena, 240); /* four to a block, without its header */
    assert_int_equal(arena_pool_bytes(pool), 10 * KIB);
    arena_alloc(&arena, 5 * KIB);
    assert_in_range(arena_pool_bytes(pool), 15 * KIB, 15 * KIB + 64);
    arena_reset(&arena);
    assert_int_equal(arena_pool_bytes(pool), 3 * KIB);
    void *first = arena_alloc(&arena, 240);
    arena_reset(&arena);
    assert_ptr_equal(arena_alloc(&arena, 240), first);
    assert_int_equal(arena_pool_bytes(pool), 3 * KIB);
    arena_done(&arena);
    arena_pool_free(pool);
}

static void a_large_piece_does_not_waste_the_block_in_use(void **state)
{
    (void)state;
    if (UNDER_ASAN)
        skip();
    struct arena arena;
    arena_init(&arena, NULL, 1024 * KIB);
    char *a = arena_alloc(&arena, 16);
    arena_alloc(&arena, 100 * KIB);
    char *b = arena_alloc(&arena, 16);
    assert_ptr_equal(b, a + 16);
    arena_done(&arena);
}

static void the_pool_counts_what_arenas_hold(void **state)
{
    (void)state;
    struct arena_pool *pool = arena_pool_new(1 * KIB, 0);
    struct arena a, b;
    arena_init(&a, pool, 64 * KIB);
    arena_init(&b, pool, 64 * KIB);
    arena_alloc(&a, 3 * KIB);
    size_t one = arena_pool_bytes(pool);
    assert_in_range(one, 3 * KIB, 4 * KIB);
    arena_alloc(&b, 3 * KIB);
    assert_int_equal(arena_pool_bytes(pool), 2 * one);
    arena_done(&a);
    assert_int_equal(arena_pool_bytes(pool), one);
    arena_done(&b);
    assert_int_equal(arena_pool_bytes(pool), 0);
    arena_pool_free(pool);
    arena_pool_free(NULL);
}

static void texts_are_copied_and_formatted(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 64 * KIB);
    char source[] = "source";
    struct str copy = arena_str(&arena, str_from(source, 3));
    char *cstr = arena_cstr(&arena, str_from(source, 6));
    source[0] = 'X';
    assert_str(copy, "sou");
    assert_int_equal(copy.data[3], '\0');
    assert_string_equal(cstr, "source");
    assert_null(arena_str(&arena, (struct str){NULL, 0}).data);
    assert_non_null(arena_str(&arena, STR("")).data);
    assert_string_equal(arena_cstr(&arena, (struct str){NULL, 0}), "");
    assert_str(arena_printf(&arena, "%s has %d", "model", 3), "model has 3");
    struct str wide = arena_printf(&arena, "%5000d", 1);
    assert_int_equal(wide.len, 5000);
    assert_int_equal(wide.data[4999], '1');
    assert_int_equal(wide.data[5000], '\0');
    arena_done(&arena);
}

struct witness {
    struct arena *arena;
    const char *note; /* lives in the arena */
    char seen[8];
    size_t count;
};

static struct witness witness;

static void release_one(void *object)
{
    const char *name = object;
    assert_string_equal(witness.note, "still there");
    witness.seen[witness.count++] = *name;
}

/* A release may attach another object, as the free function of a nested reply does. */
static void release_and_attach(void *object)
{
    release_one(object);
    arena_defer(witness.arena, release_one, (void *)(uintptr_t) "z");
}

static void foreign_objects_are_released_in_reverse_before_the_memory_goes(void **state)
{
    (void)state;
    static char a[] = "a", b[] = "b", c[] = "c";
    struct arena arena;
    arena_init(&arena, NULL, 64 * KIB);
    witness = (struct witness){.arena = &arena, .note = arena_cstr(&arena, STR("still there"))};
    arena_defer(&arena, release_one, a);
    arena_defer(&arena, release_and_attach, b);
    arena_defer(&arena, release_one, c);
    arena_reset(&arena);
    assert_string_equal(witness.seen, "cbza");
    arena_reset(&arena); /* each of them once */
    assert_int_equal(witness.count, 4);
    witness = (struct witness){.arena = &arena, .note = arena_cstr(&arena, STR("still there"))};
    arena_defer(&arena, release_one, a);
    arena_done(&arena);
    assert_string_equal(witness.seen, "a");
}

static void free_a_pool_in_use(void)
{
    struct arena_pool *pool = arena_pool_new(1 * KIB, 4);
    struct arena arena;
    arena_init(&arena, pool, 64 * KIB);
    arena_alloc(&arena, 1);
    arena_pool_free(pool);
}

static void freeing_a_pool_in_use_aborts(void **state)
{
    (void)state;
    struct last_words said;
    assert_true(dies(free_a_pool_in_use, &said));
    assert_non_null(strstr(said.text, "still in use"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_apart_and_stay_as_written),
        cmocka_unit_test(empty_pieces_have_addresses_of_their_own),
        cmocka_unit_test(cleared_pieces_are_zero_also_in_used_blocks),
        cmocka_unit_test(the_mark_is_set_beyond_the_ceiling_and_not_before),
        cmocka_unit_test(trying_gives_nothing_beyond_the_ceiling_and_sets_no_mark),
        cmocka_unit_test(an_owner_who_never_looks_at_the_mark_aborts),
        cmocka_unit_test(a_product_that_overflows_aborts),
        cmocka_unit_test(blocks_are_reused_up_to_the_number_kept),
        cmocka_unit_test(a_large_piece_does_not_waste_the_block_in_use),
        cmocka_unit_test(the_pool_counts_what_arenas_hold),
        cmocka_unit_test(texts_are_copied_and_formatted),
        cmocka_unit_test(foreign_objects_are_released_in_reverse_before_the_memory_goes),
        cmocka_unit_test(freeing_a_pool_in_use_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
