/*
 * Goal: an error carries its row's advice and a text that is always whole, valid UTF-8.
 */
#include "tests/unit/base/test.h"

#include "common/base/err.h"

static void an_error_takes_retry_from_its_row(void **state)
{
    (void)state;
    struct err err = {.retry_after_ms = 99};
    err_set(&err, ERR_PROVIDER_RATE, "model '%s' is busy", "alpha");
    assert_int_equal(err.code, ERR_PROVIDER_RATE);
    assert_int_equal(err.retry, RETRY_LATER);
    assert_true(err.retry_after_ms == 0);
    assert_string_equal(err.text, "model 'alpha' is busy");
    err_clear(&err);
    assert_int_equal(err.code, ERR_NONE);
    assert_string_equal(err.text, "");
}

static void nobody_has_to_listen(void **state)
{
    (void)state;
    err_set(NULL, ERR_INTERNAL, "x");
    err_prefix(NULL, "x");
    err_clear(NULL);
}

static void a_prefix_is_put_in_front(void **state)
{
    (void)state;
    struct err err;
    err_set(&err, ERR_CONFIG, "line %d", 7);
    err.retry_after_ms = 5;
    err_prefix(&err, "file '%s'", "a.yaml");
    assert_string_equal(err.text, "file 'a.yaml': line 7");
    assert_int_equal(err.code, ERR_CONFIG);
    assert_true(err.retry_after_ms == 5);
}

static void a_text_may_be_made_of_itself(void **state)
{
    (void)state;
    struct err err;
    err_set(&err, ERR_CONFIG, "inner");
    err_set(&err, ERR_INTERNAL, "outer (%s, %s)", err.text, err.text);
    assert_string_equal(err.text, "outer (inner, inner)");
    err_prefix(&err, "%s", err.text);
    assert_string_equal(err.text, "outer (inner, inner): outer (inner, inner)");
}

/* A three-byte letter at every distance from the end, by both ways in. */
static void long_texts_are_cut_between_code_points(void **state)
{
    (void)state;
    for (int before = 0; before < 8; before++) {
        char text[2000] = "";
        size_t len = 0;
        for (; len < (size_t)before; len++)
            text[len] = 'a';
        for (int i = 0; i < 400; i++, len += 3)
            memcpy(text + len, "\xe2\x82\xac", 4);
        struct err err;
        err_set(&err, ERR_INTERNAL, "%s", text);
        assert_true(str_utf8_valid(str_of(err.text)));
        assert_in_range(strlen(err.text), 317, 319);
        err_set(&err, ERR_INTERNAL, "tail");
        err_prefix(&err, "%s", text);
        assert_true(str_utf8_valid(str_of(err.text)));
        assert_in_range(strlen(err.text), 317, 319);
    }
}

static void every_code_has_a_name_of_its_own_and_a_sentence(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ERR_CODE_COUNT; i++) {
        enum err_code code = (enum err_code)i;
        assert_int_equal(err_by_name(str_of(err_name(code))), code);
        assert_true(strlen(err_sentence(code)) > 3);
        assert_in_range(err_http(code), 200, 599);
        assert_in_range(err_retry_of(code), RETRY_NEVER, RETRY_ELSEWHERE);
    }
    assert_string_equal(err_name(ERR_QUORUM), "quorum_not_reached");
    assert_int_equal(err_http(ERR_QUORUM), 502);
    assert_int_equal(err_retry_of(ERR_PROVIDER_AUTH), RETRY_ELSEWHERE);
    assert_int_equal(err_by_name(STR("no such code")), ERR_INTERNAL);
    assert_int_equal(err_by_name((struct str){NULL, 0}), ERR_INTERNAL);
    assert_string_equal(err_retry_name(RETRY_NEVER), "never");
    assert_string_equal(err_retry_name(RETRY_LATER), "later");
    assert_string_equal(err_retry_name(RETRY_ELSEWHERE), "elsewhere");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_takes_retry_from_its_row),
        cmocka_unit_test(nobody_has_to_listen),
        cmocka_unit_test(a_prefix_is_put_in_front),
        cmocka_unit_test(a_text_may_be_made_of_itself),
        cmocka_unit_test(long_texts_are_cut_between_code_points),
        cmocka_unit_test(every_code_has_a_name_of_its_own_and_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
