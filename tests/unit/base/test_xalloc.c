/*
 * Goal: what is asked for is there, cleared where promised; what cannot be had aborts.
 */
#include "tests/unit/base/test.h"

#include <stdlib.h>

#include "common/base/xalloc.h"

static void ask_for_an_overflowing_product(void)
{
    free(xcalloc(SIZE_MAX / 2, 3));
}

static void memory_is_cleared(void **state)
{
    (void)state;
    static const unsigned char zeros[300];
    unsigned char *one = xzalloc(sizeof(zeros));
    unsigned char *many = xcalloc(3, 100);
    assert_memory_equal(one, zeros, sizeof(zeros));
    assert_memory_equal(many, zeros, sizeof(zeros));
    free(one);
    free(many);
}

static void nothing_is_something_to_free(void **state)
{
    (void)state;
    void *pieces[] = {xzalloc(0), xcalloc(0, 8), xcalloc(8, 0), xrealloc(NULL, 0)};
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        assert_non_null(pieces[i]);
        free(pieces[i]);
    }
}

static void growing_keeps_the_content(void **state)
{
    (void)state;
    char *text = xstrdup("kept");
    text = xrealloc(text, 10000);
    assert_string_equal(text, "kept");
    free(text);
}

static void copies_end_in_nul(void **state)
{
    (void)state;
    char *part = xstrndup(str_from("hello world", 5));
    char *absent = xstrndup((struct str){NULL, 0});
    assert_string_equal(part, "hello");
    assert_string_equal(absent, "");
    assert_null(xstrdup(NULL));
    free(part);
    free(absent);
}

static void a_product_that_overflows_aborts(void **state)
{
    (void)state;
    struct last_words said;
    assert_true(dies(ask_for_an_overflowing_product, &said));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_cleared),
        cmocka_unit_test(nothing_is_something_to_free),
        cmocka_unit_test(growing_keeps_the_content),
        cmocka_unit_test(copies_end_in_nul),
        cmocka_unit_test(a_product_that_overflows_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
