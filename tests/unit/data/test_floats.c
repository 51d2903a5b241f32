/*
 * Goal: floats become text and come back bit for bit, and nothing else is taken for them.
 * Method: known texts, numbers of all sizes, and every way in which base64 can be wrong.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/rand.h"
#include "common/data/floats.h"

static struct arena arena;

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 8 << 20);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static void known_numbers_have_known_texts(void **state)
{
    (void)state;
    static const struct {
        float numbers[3];
        size_t count;
        const char *text, *json;
    } cases[] = {
        {{1}, 1, "AACAPw==", "[1.0]"},
        {{1, -0.5F}, 2, "AACAPwAAAL8=", "[1.0,-0.5]"},
        {{0.1F, 0, -0.0023064255F}, 3, "zczMPQAAAABmJxe7", "[0.1,0.0,-0.0023064255]"},
        {{3.4028235e38F, 1e-45F, 16777216}, 3, "//9/fwEAAAAAAIBL", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf json;
        struct str text = floats_text(cases[i].numbers, cases[i].count, &arena);
        assert_string_equal(text.data, cases[i].text);
        assert_int_equal(text.len, floats_text_len(cases[i].count));
        assert_int_equal(floats_count(text), cases[i].count);
        buf_init(&json, 4096);
        struct json_writer w = {.out = &json};
        floats_json(text, &w);
        buf_add_char(&json, '\0');
        if (cases[i].json)
            assert_string_equal(json.data, cases[i].json);
        buf_done(&json);
    }
}

/* As a reader of the JSON gets them. */
static void numbers_written_out_read_back_the_same(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    struct rand rand;
    rand_init(&rand, 7);
    float *numbers = arena_array(&arena, float, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        do {
            uint32_t bits = (uint32_t)rand_u64(&rand);
            memcpy(&numbers[i], &bits, sizeof(bits));
        } while (!isfinite(numbers[i]));
    }
    struct buf json;
    struct value list;
    struct err err;
    buf_init(&json, 4 << 20);
    struct json_writer w = {.out = &json};
    struct str text = floats_text(numbers, COUNT, &arena);
    assert_int_equal(floats_count(text), COUNT);
    floats_json(text, &w);
    assert_true(json_read(buf_str(&json), &arena, &list, &err));
    assert_int_equal(list.count, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(list.items[i].kind, VALUE_REAL);
        assert_true((float)list.items[i].real == numbers[i]);
    }
    buf_done(&json);
}

static void what_is_no_text_of_floats_counts_none(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "AACAPw",       /* without padding */
        "AACAPw=",      /* with half of it */
        "AACAPwAAAL8",  /* .. */
        "AACA",         /* three bytes */
        "AACAPwA=",     /* five */
        "AACAPwAAAL9=", /* bits behind the last byte */
        "AACAPx==",     /* .. */
        "AA=APw==",     /* padding in the midst */
        "AACAPw==AACAPw==",
        "AACA Pw==",
        "AACAPw==\n",
        "AACA-_==",
        "====",
        "AAAA====",
        "AADAfw==", /* NaN */
        "AACAfw==", /* infinite */
        "AACA/w==",
        "AACAPwAAwP8=",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (floats_count(str_of(wrong[i])) != 0)
            fail_msg("'%s' is taken for %zu numbers", wrong[i], floats_count(str_of(wrong[i])));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(known_numbers_have_known_texts),
        TEST(numbers_written_out_read_back_the_same),
        TEST(what_is_no_text_of_floats_counts_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
