/*
 * Goal: array literals say exactly what was put in, whatever characters it is made of.
 * Method: a table of items and the literal they must give.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/io/postgres.h"

static void text_items_are_quoted_and_escaped(void **state)
{
    (void)state;
    static const struct {
        struct str items[3];
        size_t count;
        const char *literal;
    } cases[] = {
        {{{NULL, 0}}, 0, "{}"},
        {{{"a", 1}}, 1, "{\"a\"}"},
        {{{"a", 1}, {"", 0}, {NULL, 0}}, 3, "{\"a\",\"\",NULL}"},
        {{{NULL, 0}, {"NULL", 4}}, 2, "{NULL,\"NULL\"}"},
        {{{"say \"hi\"", 8}}, 1, "{\"say \\\"hi\\\"\"}"},
        {{{"\\", 1}, {"\\\\\"", 3}}, 2, "{\"\\\\\",\"\\\\\\\\\\\"\"}"},
        {{{"{", 1}, {"}", 1}, {",", 1}}, 3, "{\"{\",\"}\",\",\"}"},
        {{{"{x", 1}, {" x ", 3}, {"\n", 1}}, 3, "{\"{\",\" x \",\"\n\"}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf array;
        buf_init(&array, 1000);
        postgres_array_begin(&array);
        for (size_t k = 0; k < cases[i].count; k++)
            postgres_array_add(&array, cases[i].items[k]);
        postgres_array_end(&array);
        assert_string_equal(buf_str(&array).data, cases[i].literal);
        buf_done(&array);
    }
}

static void numbers_keep_their_value_and_no_number_is_null(void **state)
{
    (void)state;
    struct buf array;
    buf_init(&array, 1000);
    postgres_array_begin(&array);
    postgres_array_add_i64(&array, INT64_MIN);
    postgres_array_add_i64(&array, 0);
    postgres_array_add_i64(&array, INT64_MAX);
    postgres_array_add_f64(&array, 0.1);
    postgres_array_add_f64(&array, 1e300);
    postgres_array_add_f64(&array, (double)NAN);
    postgres_array_add_f64(&array, -(double)INFINITY);
    postgres_array_end(&array);
    assert_string_equal(buf_str(&array).data, "{-9223372036854775808,0,9223372036854775807,"
                                              "0.10000000000000001,1.0000000000000001e+300,"
                                              "NULL,NULL}");
    buf_done(&array);
}

static void an_array_beyond_its_maximum_is_marked(void **state)
{
    (void)state;
    struct buf array;
    buf_init(&array, 4);
    postgres_array_begin(&array);
    postgres_array_add(&array, STR("abcdef"));
    postgres_array_end(&array);
    assert_true(array.overflowed);
    buf_done(&array);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_items_are_quoted_and_escaped),
        cmocka_unit_test(numbers_keep_their_value_and_no_number_is_null),
        cmocka_unit_test(an_array_beyond_its_maximum_is_marked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
