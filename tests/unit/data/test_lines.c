/*
 * Goal: lines are the same however their bytes arrive, and none is longer than allowed.
 * Method: a table of texts and their lines, each fed whole, byte by byte and cut in two at every
 * place; every piece lies in memory of its own that is gone once it was read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/xalloc.h"
#include "common/data/lines.h"

enum { LINE_MAX_HERE = 64, OUT_MAX = 1 << 12 };

/* Appends each line and a '|'; "!" when one is too long. */
static void feed(struct lines *lines, struct str piece, struct buf *ret)
{
    char *own = xrealloc(NULL, piece.len + 1);
    struct str line;
    enum lines_next next;
    memcpy(own, piece.data, piece.len);
    lines_feed(lines, str_from(own, piece.len));
    while ((next = lines_next(lines, &line)) == LINES_LINE) {
        buf_add_str(ret, line);
        buf_add_char(ret, '|');
    }
    if (next == LINES_TOO_LONG)
        buf_add_char(ret, '!');
    free(own);
}

/* What is left without an end stands behind the last '|'. */
static void read_in_two(enum lines_kind kind, struct str text, size_t cut, struct buf *ret)
{
    struct lines lines;
    lines_init(&lines, kind, LINE_MAX_HERE);
    feed(&lines, str_slice(text, 0, cut), ret);
    if (!lines.too_long)
        feed(&lines, str_slice(text, cut, text.len), ret);
    buf_add_str(ret, lines.too_long ? STR("") : lines_rest(&lines));
    assert_true(lines.held.cap <= LINE_MAX_HERE + 1);
    lines_done(&lines);
}

static void read_in_bytes(enum lines_kind kind, struct str text, struct buf *ret)
{
    struct lines lines;
    lines_init(&lines, kind, LINE_MAX_HERE);
    for (size_t i = 0; i < text.len && !lines.too_long; i++)
        feed(&lines, str_slice(text, i, i + 1), ret);
    buf_add_str(ret, lines.too_long ? STR("") : lines_rest(&lines));
    lines_done(&lines);
}

static void expect(const struct buf *is, struct str want)
{
    if (!str_eq(buf_str(is), want))
        fail_msg("wanted '" STR_FMT "', got '" STR_FMT "'", STR_ARG(want), STR_ARG(buf_str(is)));
}

static void check(enum lines_kind kind, struct str text, struct str want)
{
    struct buf out;
    buf_init(&out, OUT_MAX);
    for (size_t cut = 0; cut <= text.len; cut++) {
        buf_clear(&out);
        read_in_two(kind, text, cut, &out);
        expect(&out, want);
    }
    buf_clear(&out);
    read_in_bytes(kind, text, &out);
    expect(&out, want);
    buf_done(&out);
}

struct line_case {
    struct str text, lf, any;
};

#define SIXTY "123456789012345678901234567890123456789012345678901234567890"

static const struct line_case cases[] = {
    {STR(""), STR(""), STR("")},
    {STR("a"), STR("a"), STR("a")},
    {STR("a\n"), STR("a|"), STR("a|")},
    {STR("a\nb\n"), STR("a|b|"), STR("a|b|")},
    {STR("a\r\nb\r\n"), STR("a|b|"), STR("a|b|")},
    {STR("a\rb\n"), STR("a\rb|"), STR("a|b|")},
    {STR("\n\n"), STR("||"), STR("||")},
    {STR("\r\n\r\n"), STR("||"), STR("||")},
    {STR("\n\r"), STR("|\r"), STR("||")},
    {STR("a\r\r\nb"), STR("a\r|b"), STR("a||b")},
    {STR("a\0b\n\xff\xfe\n"), STR("a\0b|\xff\xfe|"), STR("a\0b|\xff\xfe|")},
    {STR(SIXTY "1234\n"), STR(SIXTY "1234|"), STR(SIXTY "1234|")},
    {STR("x\n" SIXTY "12345\n"), STR("x|!"), STR("x|!")},
    {STR("x\n" SIXTY "12345"), STR("x|!"), STR("x|!")},
};

static void lines_are_the_same_in_any_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check(LINES_LF, cases[i].text, cases[i].lf);
        check(LINES_ANY, cases[i].text, cases[i].any);
    }
}

static void a_line_that_came_whole_is_not_copied(void **state)
{
    (void)state;
    const struct str text = STR("one\ntw");
    struct lines lines;
    struct str line;
    lines_init(&lines, LINES_LF, LINE_MAX_HERE);
    lines_feed(&lines, text);
    assert_int_equal(lines_next(&lines, &line), LINES_LINE);
    assert_ptr_equal(line.data, text.data);
    assert_true(lines_is_in_place(&lines));
    assert_int_equal(lines_next(&lines, &line), LINES_MORE);
    lines_feed(&lines, STR("o\n"));
    assert_int_equal(lines_next(&lines, &line), LINES_LINE);
    assert_true(str_is(line, "two"));
    assert_false(lines_is_in_place(&lines));
    lines_done(&lines);
}

static void a_line_that_never_ends_is_refused_and_stays_so(void **state)
{
    (void)state;
    struct lines lines;
    struct str line;
    lines_init(&lines, LINES_ANY, LINE_MAX_HERE);
    for (int i = 0; i < LINE_MAX_HERE; i++) {
        lines_feed(&lines, STR("x"));
        assert_int_equal(lines_next(&lines, &line), LINES_MORE);
    }
    lines_feed(&lines, STR("x"));
    assert_int_equal(lines_next(&lines, &line), LINES_TOO_LONG);
    lines_feed(&lines, STR("\nshort\n"));
    assert_int_equal(lines_next(&lines, &line), LINES_TOO_LONG);
    lines_done(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_the_same_in_any_pieces),
        cmocka_unit_test(a_line_that_came_whole_is_not_copied),
        cmocka_unit_test(a_line_that_never_ends_is_refused_and_stays_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
