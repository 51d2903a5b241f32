/*
 * Goal: JSON from outside becomes a tree or a clear error, and what is written reads back the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>

#include "common/base/rand.h"
#include "common/data/json.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define UNDER_ASAN 1
#endif

/* How often this program, libraries included, has asked for memory. The sanitizer has its own
 * malloc, there the count stays at zero and the test that needs it is skipped. */
static size_t allocations;

#ifndef UNDER_ASAN
void *__libc_malloc(size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);

void *malloc(size_t bytes)
{
    allocations++;
    return __libc_malloc(bytes);
}

void *realloc(void *old, size_t bytes)
{
    allocations++;
    return __libc_realloc(old, bytes);
}

void *calloc(size_t count, size_t bytes)
{
    allocations++;
    return __libc_calloc(count, bytes);
}
#endif

#define ARENA_MAX ((size_t)256 * 1024 * 1024)

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, NULL, ARENA_MAX);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static void assert_written(const struct value *value, const char *expected)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    json_write(value, &out);
    assert_false(out.overflowed);
    assert_string_equal(out.data, expected);
    buf_done(&out);
}

static void good_documents_read_and_write_back(void **state)
{
    (void)state;
    static const struct {
        const char *text, *written; /* NULL: as it was */
    } cases[] = {
        {"{}", NULL},
        {"[]", NULL},
        {"null", NULL},
        {"true", NULL},
        {" [ 1 , 2 ] \n", "[1,2]"},
        {"{\"a\":{\"b\":[{},[],null,true,false,\"\"]},\"c\":1}", NULL},
        {"[[[1],[2,[3]]],{\"k\":[4]}]", NULL},
        {"9223372036854775807", NULL},
        {"-9223372036854775808", NULL},
        {"9223372036854775808", "9223372036854776000.0"},
        {"18446744073709551615", "18446744073709552000.0"},
        {"123456789012345678901234567890", "1.2345678901234568e29"},
        {"[0,-0,0.1,1e2,-1.5e-7,3.0]", "[0,0,0.1,100.0,-1.5e-7,3.0]"},
        {"\"\\u00e9\\ud83d\\ude00\\n\\\"\\\\\\/\"", "\"\xc3\xa9\xf0\x9f\x98\x80\\n\\\"\\\\/\""},
        {"\"a\\u0000b\"", NULL},
        {"{\"\":1}", NULL},
        {"{\"a\":{\"b\":{\"x\":1,\"x\":2}}}", NULL}, /* the third level is not looked at */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct value value;
        struct err err = {0};
        if (!json_read(str_of(cases[i].text), &arena, &value, &err))
            fail_msg("%s: %s", cases[i].text, err.text);
        assert_written(&value, cases[i].written ? cases[i].written : cases[i].text);
    }
}

static void bad_documents_are_refused_with_place_and_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err_code code;
        const char *said; /* must be part of the error's text */
    } cases[] = {
        {"", ERR_INVALID_ENCODING, "byte 0"},
        {"   ", ERR_INVALID_ENCODING, "not valid JSON"},
        {"{", ERR_INVALID_ENCODING, "end of data"},
        {"{\"a\":1", ERR_INVALID_ENCODING, "byte 6"},
        {"[1,]", ERR_INVALID_ENCODING, "byte 2"},
        {"[1] x", ERR_INVALID_ENCODING, "byte 4"},
        {"{}{}", ERR_INVALID_ENCODING, "byte 2"},
        {"{'a':1}", ERR_INVALID_ENCODING, "byte 1"},
        {"{a:1}", ERR_INVALID_ENCODING, "byte 1"},
        {"// hello\n1", ERR_INVALID_ENCODING, "byte 0"},
        {"NaN", ERR_INVALID_ENCODING, "byte 0"},
        {"[Infinity]", ERR_INVALID_ENCODING, "byte 1"},
        {"1e999", ERR_INVALID_ENCODING, "byte 0"},
        {"01", ERR_INVALID_ENCODING, "byte"},
        {"+1", ERR_INVALID_ENCODING, "byte 0"},
        {"\"\\x\"", ERR_INVALID_ENCODING, "byte"},
        {"\"tab\there\"", ERR_INVALID_ENCODING, "byte 4"},
        {"\"\\ud800\"", ERR_INVALID_ENCODING, "surrogate"},
        {"\"\\udc00\"", ERR_INVALID_ENCODING, "surrogate"},
        {"\"\xed\xa0\x80\"", ERR_INVALID_ENCODING, "UTF-8"},
        {"\"\xc0\xaf\"", ERR_INVALID_ENCODING, "UTF-8"},
        {"\"\xff\"", ERR_INVALID_ENCODING, "UTF-8"},
        {"\"\xf4\x90\x80\x80\"", ERR_INVALID_ENCODING, "UTF-8"},
        {"\"\xc3\"", ERR_INVALID_ENCODING, "byte"},
        {"\xef\xbb\xbf{}", ERR_INVALID_ENCODING, "byte order mark"},
        {"{\"id\":1,\"b\":2,\"id\":3}", ERR_INVALID_ENCODING, "key 'id' appears twice"},
        {"{\"a\":{\"b\":2,\"b\":3}}", ERR_INVALID_ENCODING, "key 'b' appears twice"},
        {"{\"a\":1,\"\\u0061\":2}", ERR_INVALID_ENCODING, "key 'a' appears twice"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct value value;
        struct err err = {0};
        if (json_read(str_of(cases[i].text), &arena, &value, &err))
            fail_msg("'%s' was read", cases[i].text);
        assert_int_equal(err.code, cases[i].code);
        if (!strstr(err.text, cases[i].said))
            fail_msg("'%s': %s", cases[i].text, err.text);
    }
}

static void an_error_may_go_unheard(void **state)
{
    (void)state;
    struct value value;
    assert_false(json_read(STR("{"), &arena, &value, NULL));
    assert_false(json_read(STR("{\"a\":1,\"a\":1}"), &arena, &value, NULL));
}

/* `levels` lists inside each other. */
static struct str nested(size_t levels)
{
    char *text = arena_alloc(&arena, 2 * levels);
    memset(text, '[', levels);
    memset(text + levels, ']', levels);
    return str_from(text, 2 * levels);
}

static void sixty_four_levels_are_read_and_one_more_is_too_deep(void **state)
{
    (void)state;
    struct value value;
    struct err err = {0};
    assert_true(json_read(nested(VALUE_DEPTH_MAX), &arena, &value, &err));
    assert_int_equal(value_measure(&value).depth, VALUE_DEPTH_MAX);
    assert_false(json_read(nested(VALUE_DEPTH_MAX + 1), &arena, &value, &err));
    assert_int_equal(err.code, ERR_TOO_DEEP);
}

static void a_hundred_thousand_brackets_are_too_deep(void **state)
{
    (void)state;
    struct value value;
    struct err err = {0};
    assert_false(json_read(nested(100000), &arena, &value, &err));
    assert_int_equal(err.code, ERR_TOO_DEEP);
}

/* "[1,1,..]" with `items` ones. */
static struct str ones(size_t items)
{
    char *text = arena_alloc(&arena, 2 * items + 1);
    for (size_t i = 0; i < items; i++) {
        text[2 * i] = ',';
        text[2 * i + 1] = '1';
    }
    text[0] = '[';
    text[2 * items] = ']';
    return str_from(text, 2 * items + 1);
}

static void the_number_of_values_is_bounded(void **state)
{
    (void)state;
    struct value value;
    struct err err = {0};
    assert_true(json_read(ones(VALUE_NODES_MAX - 1), &arena, &value, &err));
    assert_int_equal(value.count, VALUE_NODES_MAX - 1);
    assert_false(json_read(ones(VALUE_NODES_MAX), &arena, &value, &err));
    assert_int_equal(err.code, ERR_TOO_BIG);
    assert_false(json_read(ones(3 * VALUE_NODES_MAX), &arena, &value, &err));
    assert_int_equal(err.code, ERR_TOO_BIG);
}

static void a_document_beyond_the_arena_is_too_big(void **state)
{
    (void)state;
    struct str text = ones(1000);
    for (size_t max = 100; max < 20000; max += 2500) {
        struct arena small;
        arena_init(&small, NULL, max);
        struct value value;
        struct err err = {0};
        assert_false(json_read(text, &small, &value, &err));
        assert_int_equal(err.code, ERR_TOO_BIG);
        assert_false(arena_overflowed(&small));
        arena_done(&small);
    }
}

/* {"k0":0,..,"k<n-1>":0} and, if wanted, "k0" once more at the end. */
static struct str many_keys(size_t n, bool twice)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < n; i++)
        buf_printf(&text, "%c\"k%zu\":0", i == 0 ? '{' : ',', i);
    buf_add_str(&text, twice ? STR(",\"k0\":0}") : STR("}"));
    struct str copy = arena_str(&arena, buf_str(&text));
    buf_done(&text);
    return copy;
}

static void duplicate_keys_are_found_in_small_and_large_maps(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 23, 24, 25, 31, 32, 33, 5000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct value value;
        struct err err = {0};
        assert_true(json_read(many_keys(sizes[i], false), &arena, &value, &err));
        assert_false(json_read(many_keys(sizes[i], true), &arena, &value, &err));
        assert_string_equal(err.text, "key 'k0' appears twice");
    }
}

static void strings_do_not_point_into_the_text(void **state)
{
    (void)state;
    char text[] = "{\"key\":\"value\"}";
    struct value value;
    assert_true(json_read(str_of(text), &arena, &value, NULL));
    memset(text, 'x', sizeof(text) - 1);
    assert_true(str_is(value_get_str(&value, "key"), "value"));
}

static void a_small_document_costs_no_malloc(void **state)
{
    (void)state;
#ifdef UNDER_ASAN
    skip();
#endif
    struct arena_pool *pool = arena_pool_new(16384, 4);
    struct arena warm;
    arena_init(&warm, pool, ARENA_MAX);
    struct str text = many_keys(30, false);
    assert_true(text.len > 200 && text.len < 400);
    size_t before = 0;
    for (int round = 0; round < 10; round++) {
        if (round == 1)
            before = allocations;
        struct value value;
        assert_true(json_read(text, &warm, &value, NULL));
        arena_reset(&warm);
    }
    assert_true(before > 0); /* the counter works: the first round filled the scratch memory */
    assert_int_equal(allocations, before + 9); /* the hash table of a map with 30 keys */

    struct str few = STR("{\"id\":\"a\",\"input\":\"why\",\"params\":{\"temperature\":0.5}}");
    before = allocations;
    for (int round = 0; round < 10; round++) {
        struct value value;
        assert_true(json_read(few, &warm, &value, NULL));
        arena_reset(&warm);
    }
    assert_int_equal(allocations, before);
    arena_done(&warm);
    arena_pool_free(pool);
}

static void every_double_reads_back_the_same(void **state)
{
    (void)state;
    struct rand rand;
    rand_init(&rand, 20260121);
    struct buf out;
    buf_init(&out, 4096);
    for (int i = 0; i < 20000; i++) {
        union {
            uint64_t bits;
            double real;
        } number = {.bits = rand_u64(&rand)}, back;
        if (!isfinite(number.real))
            continue;
        buf_clear(&out);
        json_write(&(struct value){.kind = VALUE_REAL, .real = number.real}, &out);
        struct value value;
        assert_true(json_read(buf_str(&out), &arena, &value, NULL));
        assert_int_equal(value.kind, VALUE_REAL);
        back.real = value.real;
        assert_true(back.bits == number.bits);
        arena_reset(&arena);
    }
    buf_done(&out);
}

static void reals_are_written_short_and_odd_ones_as_null(void **state)
{
    (void)state;
    static const struct {
        double real;
        const char *text;
    } cases[] = {
        {0.1, "0.1"},     {0.7, "0.7"},  {1.0, "1.0"},       {-0.0, "-0.0"},
        {1e300, "1e300"}, {NAN, "null"}, {INFINITY, "null"}, {1.0 / 3, "0.3333333333333333"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_written(&(struct value){.kind = VALUE_REAL, .real = cases[i].real}, cases[i].text);
}

static void the_writer_puts_commas_and_indents_when_asked(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "{\"a\":[1,\"x\",null,{}],\"b\":{\"c\":true},\"d\":-9223372036854775808}",
        "{\n  \"a\": [\n    1,\n    \"x\",\n    null,\n    {}\n  ],\n  \"b\": {\n    \"c\": true\n"
        "  },\n  \"d\": -9223372036854775808\n}",
    };
    for (int pretty = 0; pretty < 2; pretty++) {
        struct buf out;
        buf_init(&out, 4096);
        struct json_writer w = {.out = &out, .pretty = pretty};
        json_open(&w, '{');
        json_key(&w, "a");
        json_open(&w, '[');
        json_int(&w, 1);
        json_str(&w, STR("x"));
        json_str(&w, (struct str){NULL, 0});
        json_open(&w, '{');
        json_close(&w, '}');
        json_close(&w, ']');
        json_key_str(&w, STR("b"));
        json_open(&w, '{');
        json_key(&w, "c");
        json_bool(&w, true);
        json_close(&w, '}');
        json_key(&w, "d");
        json_int(&w, INT64_MIN);
        json_close(&w, '}');
        assert_string_equal(out.data, expected[pretty]);
        buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(good_documents_read_and_write_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_documents_are_refused_with_place_and_reason, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_error_may_go_unheard, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sixty_four_levels_are_read_and_one_more_is_too_deep, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_hundred_thousand_brackets_are_too_deep, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_number_of_values_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_document_beyond_the_arena_is_too_big, set_up, tear_down),
        cmocka_unit_test_setup_teardown(duplicate_keys_are_found_in_small_and_large_maps, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(strings_do_not_point_into_the_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_small_document_costs_no_malloc, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_double_reads_back_the_same, set_up, tear_down),
        cmocka_unit_test(reals_are_written_short_and_odd_ones_as_null),
        cmocka_unit_test(the_writer_puts_commas_and_indents_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
