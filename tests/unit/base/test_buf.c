/*
 * Goal: a buffer holds what was added, up to its maximum and not a byte beyond it.
 */
#include "tests/unit/base/test.h"

#include "common/base/buf.h"

static void pieces_are_joined_and_end_in_nul(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 1000);
    assert_str(buf_str(&buf), "");
    assert_non_null(buf_str(&buf).data);
    buf_add(&buf, "ab", 2);
    buf_add_str(&buf, STR("cd"));
    buf_add_char(&buf, 'e');
    buf_printf(&buf, "%d-%s", 12, "x");
    buf_add(&buf, NULL, 0);
    assert_str(buf_str(&buf), "abcde12-x");
    assert_int_equal(buf.data[buf.len], '\0');
    buf_drop_front(&buf, 5);
    assert_str(buf_str(&buf), "12-x");
    assert_int_equal(buf.data[buf.len], '\0');
    buf_drop_front(&buf, 4);
    assert_str(buf_str(&buf), "");
    buf_done(&buf);
}

static void growing_keeps_everything(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 100000);
    for (int i = 0; i < 10000; i++)
        buf_printf(&buf, "%05d", i);
    assert_int_equal(buf.len, 50000);
    assert_memory_equal(buf.data + 5 * 1234, "01234", 5);
    assert_true(buf.cap <= buf.max + 1);
    assert_false(buf.overflowed);
    buf_done(&buf);
}

static void the_maximum_is_reached_and_not_passed(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 10);
    buf_add(&buf, "0123456789", 10);
    assert_false(buf.overflowed);
    assert_int_equal(buf.cap, 11);
    buf_add_char(&buf, 'x');
    assert_true(buf.overflowed);
    assert_str(buf_str(&buf), "0123456789");
    buf_clear(&buf);
    assert_false(buf.overflowed);
    assert_str(buf_str(&buf), "");
    buf_add(&buf, "again", 5);
    assert_str(buf_str(&buf), "again");
    buf_done(&buf);
}

static void what_follows_a_dropped_piece_is_dropped_too(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 10);
    buf_add(&buf, "begin", 5);
    buf_add(&buf, "too long", 8);
    buf_add(&buf, "x", 1);
    assert_str(buf_str(&buf), "begin");
    assert_true(buf.overflowed);
    buf_done(&buf);
}

static void formatted_text_obeys_the_same_maximum(void **state)
{
    (void)state;
    for (int len = 0; len <= 40; len++) {
        struct buf buf;
        buf_init(&buf, 20);
        buf_add(&buf, "ab", 2);
        buf_printf(&buf, "%0*d", len, 0);
        bool fits = (len ? len : 1) <= 18;
        assert_int_equal(buf.overflowed, !fits);
        assert_int_equal(buf.len, fits ? 2 + (len ? len : 1) : 2);
        assert_int_equal(buf.data[buf.len], '\0');
        buf_done(&buf);
    }
    struct buf none;
    buf_init(&none, 0);
    buf_printf(&none, "%s", "");
    assert_false(none.overflowed);
    buf_printf(&none, "%s", "x");
    assert_true(none.overflowed);
    assert_str(buf_str(&none), "");
    buf_done(&none);
}

static void strings_become_json(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        const char *json;
    } cases[] = {
        {{NULL, 0}, "\"\""},
        {{"plain", 5}, "\"plain\""},
        {{"a\"b\\c/", 6}, "\"a\\\"b\\\\c/\""},
        {{"\n\r\t\b\f", 5}, "\"\\n\\r\\t\\b\\f\""},
        {{"\0\x01\x1f\x7f", 4}, "\"\\u0000\\u0001\\u001f\\u007f\""},
        {{"\xc3\xa4\xe2\x82\xac", 5}, "\"\xc3\xa4\xe2\x82\xac\""},
        {{"a\xff"
          "b",
          3},
         "\"a\xef\xbf\xbd"
         "b\""},
        {{"\xc3", 1}, "\"\xef\xbf\xbd\""},
        {{"\xed\xa0\x80", 3}, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf buf;
        buf_init(&buf, 1000);
        buf_add_json_str(&buf, cases[i].text);
        assert_str(buf_str(&buf), cases[i].json);
        buf_done(&buf);
    }
}

/* Long texts are looked at eight bytes at a time: what a byte becomes does not depend on where it
 * stands nor on what stands beside it. */
static void a_byte_becomes_the_same_anywhere(void **state)
{
    (void)state;
    static const char around[] = "a!#[]~ 0a!#[]~ 0a";
    for (int byte = 0; byte < 256; byte++) {
        struct buf alone;
        buf_init(&alone, 1000);
        buf_add_json_str(&alone, (struct str){(char[]){(char)byte}, 1});
        struct str json = str_slice(buf_str(&alone), 1, alone.len - 1);
        for (size_t at = 0; at < sizeof(around) - 1; at++) {
            struct buf expected, among;
            char text[sizeof(around)];
            memcpy(text, around, sizeof(around));
            text[at] = (char)byte;
            buf_init(&expected, 1000);
            buf_init(&among, 1000);
            buf_printf(&expected, "\"%.*s%.*s%s\"", (int)at, around, (int)json.len, json.data,
                       around + at + 1);
            buf_add_json_str(&among, (struct str){text, sizeof(text) - 1});
            assert_str(buf_str(&among), expected.data);
            buf_done(&expected);
            buf_done(&among);
        }
        buf_done(&alone);
    }
}

static void drop_more_than_there_is(void)
{
    struct buf buf;
    buf_init(&buf, 10);
    buf_add(&buf, "abc", 3);
    buf_drop_front(&buf, 4);
}

static void dropping_more_than_there_is_aborts(void **state)
{
    (void)state;
    struct last_words said;
    assert_true(dies(drop_more_than_there_is, &said));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_joined_and_end_in_nul),
        cmocka_unit_test(growing_keeps_everything),
        cmocka_unit_test(the_maximum_is_reached_and_not_passed),
        cmocka_unit_test(what_follows_a_dropped_piece_is_dropped_too),
        cmocka_unit_test(formatted_text_obeys_the_same_maximum),
        cmocka_unit_test(strings_become_json),
        cmocka_unit_test(a_byte_becomes_the_same_anywhere),
        cmocka_unit_test(dropping_more_than_there_is_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
