/*
 * Goal: Server-Sent Events are read as the WHATWG text says, however their bytes arrive.
 * Method: a table of bodies and their events, each fed whole, byte by byte, in two pieces cut at
 * every place and in random pieces; every piece lies in memory of its own that is gone once it was
 * read. Random bytes are read in pieces as they are read whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/xalloc.h"
#include "common/data/sse.h"

enum { EVENT_MAX = 64, OUT_MAX = 1 << 14, ROUNDS = 50 };

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

/* Appends each event as "type/data/id|"; "!" when one is too big. */
static void feed(struct sse *sse, struct str piece, struct buf *ret)
{
    char *own = xrealloc(NULL, piece.len + 1);
    struct sse_event event;
    enum sse_next next;
    memcpy(own, piece.data, piece.len);
    sse_feed(sse, str_from(own, piece.len));
    while ((next = sse_next(sse, &event)) == SSE_EVENT) {
        buf_add_str(ret, event.type);
        buf_add_char(ret, '/');
        buf_add_str(ret, event.data);
        buf_add_char(ret, '/');
        buf_add_str(ret, event.id);
        buf_add_char(ret, '|');
    }
    if (next == SSE_TOO_BIG)
        buf_add_char(ret, '!');
    free(own);
}

/* How long the next piece is, of `left` bytes. */
typedef size_t next_piece(size_t at, size_t left, size_t number);

static size_t in_one(size_t at, size_t left, size_t number)
{
    (void)at;
    (void)number;
    return left;
}

static size_t by_bytes(size_t at, size_t left, size_t number)
{
    (void)at;
    (void)left;
    (void)number;
    return 1;
}

static size_t in_two(size_t at, size_t left, size_t number)
{
    return at == 0 && number > 0 && number < left ? number : left;
}

static size_t by_chance(size_t at, size_t left, size_t number)
{
    (void)at;
    (void)number;
    return 1 + draw((uint32_t)left);
}

static void read_in(struct str text, next_piece *piece, size_t number, struct buf *ret)
{
    struct sse sse;
    sse_init(&sse, EVENT_MAX);
    buf_clear(ret);
    for (size_t at = 0; at < text.len && !sse.too_big;) {
        size_t len = piece(at, text.len - at, number);
        feed(&sse, str_slice(text, at, at + len), ret);
        at += len;
    }
    assert_true(sse.data.cap <= EVENT_MAX + 1 && sse.lines.held.cap <= EVENT_MAX + 1);
    sse_done(&sse);
}

static void expect(const struct buf *is, struct str text, struct str want)
{
    if (!str_eq(buf_str(is), want))
        fail_msg("of '" STR_FMT "': wanted '" STR_FMT "', got '" STR_FMT "'", STR_ARG(text),
                 STR_ARG(want), STR_ARG(buf_str(is)));
}

static void check(struct str text, struct str want)
{
    struct buf out;
    buf_init(&out, OUT_MAX);
    read_in(text, in_one, 0, &out);
    expect(&out, text, want);
    read_in(text, by_bytes, 0, &out);
    expect(&out, text, want);
    for (size_t cut = 1; cut < text.len; cut++) {
        read_in(text, in_two, cut, &out);
        expect(&out, text, want);
    }
    for (int i = 0; i < ROUNDS; i++) {
        read_in(text, by_chance, 0, &out);
        expect(&out, text, want);
    }
    buf_done(&out);
}

struct event_case {
    struct str text, events;
};

#define TEN   "1234567890"
#define FIFTY TEN TEN TEN TEN TEN

static const struct event_case cases[] = {
    {STR(""), STR("")},
    {STR("data: a\n\n"), STR("/a/|")},
    {STR("data: a\r\n\r\n"), STR("/a/|")},
    {STR("data: a\r\r"), STR("/a/|")},
    {STR("data: a\r\n\n"), STR("/a/|")},
    {STR("data: a\n\r\ndata: b\r\n\r"), STR("/a/|/b/|")},
    {STR("data:a\n\ndata: b\n\ndata:  c\n\n"), STR("/a/|/b/|/ c/|")},
    /* several data lines, empty ones too */
    {STR("data: a\ndata: b\n\n"), STR("/a\nb/|")},
    {STR("data:\ndata:\n\n"), STR("/\n/|")},
    {STR("data\n\n"), STR("//|")},
    {STR("data: a\ndata\ndata: c\n\n"), STR("/a\n\nc/|")},
    {STR("data: a\r\ndata: b\rdata: c\n\r"), STR("/a\nb\nc/|")},
    /* names and ids */
    {STR("event: ping\ndata: {}\n\n"), STR("ping/{}/|")},
    {STR("data: {}\nevent: late\n\n"), STR("late/{}/|")},
    {STR("event: a\nevent: b\ndata: 1\n\ndata: 2\n\n"), STR("b/1/|/2/|")},
    {STR("event: lost\n\ndata: 1\n\n"), STR("/1/|")},
    {STR("id: 7\ndata: 1\n\ndata: 2\n\nid\ndata: 3\n\n"), STR("/1/7|/2/7|/3/|")},
    {STR("id: 7\n\ndata: 1\n\n"), STR("/1/7|")},
    {STR("id: a\0b\ndata: 1\n\n"), STR("/1/|")},
    {STR("retry: 10\ndata: 1\n\n"), STR("/1/|")},
    /* what is no field of ours */
    {STR(": hello\n\ndata: 1\n: between\ndata: 2\n\n"), STR("/1\n2/|")},
    {STR(":\n\n:\n\n"), STR("")},
    {STR("Data: a\ndata : b\n data: c\nnonsense\n\n"), STR("")},
    {STR("data: a:b: c\n\n"), STR("/a:b: c/|")},
    {STR("\n\n\n\r\n\rdata: a\n\n\n\n"), STR("/a/|")},
    /* the byte order mark counts once, and in front */
    {STR("\xef\xbb\xbf"
         "data: a\n\n"),
     STR("/a/|")},
    {STR("\xef\xbb\xbf\xef\xbb\xbf"
         "data: a\n\ndata: b\n\n"),
     STR("/b/|")},
    {STR("\n\xef\xbb\xbf"
         "data: a\n\n"),
     STR("")},
    {STR("\xef\xbb\xbf\ndata: a\n\n"), STR("/a/|")},
    /* an event that is cut at the end is none */
    {STR("data: a\n\ndata: b"), STR("/a/|")},
    {STR("data: a\n\ndata: b\n"), STR("/a/|")},
    {STR("data: a\n\ndata: b\r\n"), STR("/a/|")},
    /* any bytes are data */
    {STR("data: \xff\xfe\0\x80\n\n"), STR("/\xff\xfe\0\x80/|")},
    {STR("data: \xe2\x82\xac\n\n"), STR("/\xe2\x82\xac/|")},
    /* 64 bytes: the limit of an event, comments aside */
    {STR("data: " FIFTY "12345678\n\n"), STR("/" FIFTY "12345678/|")},
    {STR("data: " FIFTY "123456789\n\n"), STR("!")},
    {STR("data: " FIFTY "123456789"), STR("!")},
    {STR("data: a\n\ndata: " FIFTY "\ndata: 123\n\n"), STR("/a/|!")},
    {STR(": " FIFTY "\n: " FIFTY "\n: " FIFTY "\ndata: a\n\n"), STR("/a/|")},
    {STR("data: " FIFTY "\n\ndata: " FIFTY "\n\n"), STR("/" FIFTY "/|/" FIFTY "/|")},
    {STR("x: " FIFTY "\nx: " FIFTY "\n\n"), STR("!")},
};

static void events_are_the_same_in_any_pieces(void **state)
{
    (void)state;
    seed = 1;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check(cases[i].text, cases[i].events);
}

/* Bytes that often mean something, so that the rare ways are gone too. */
static char odd_byte(void)
{
    static const char often[] = "\r\n\r\n\n:: daten\0\xef\xbb\xbf";
    return draw(4) ? often[draw(sizeof(often) - 1)] : (char)draw(256);
}

static void random_bytes_are_read_in_pieces_as_they_are_whole(void **state)
{
    (void)state;
    struct buf whole, pieces;
    char bytes[400];
    buf_init(&whole, OUT_MAX);
    buf_init(&pieces, OUT_MAX);
    seed = 2;
    for (int round = 0; round < 2000; round++) {
        size_t len = 1 + draw(sizeof(bytes));
        for (size_t i = 0; i < len; i++)
            bytes[i] = odd_byte();
        read_in(str_from(bytes, len), in_one, 0, &whole);
        read_in(str_from(bytes, len), by_chance, 0, &pieces);
        expect(&pieces, str_from(bytes, len), buf_str(&whole));
    }
    buf_done(&whole);
    buf_done(&pieces);
}

static void an_event_that_came_whole_is_not_copied(void **state)
{
    (void)state;
    const struct str text = STR("event: x\ndata: here\n\n");
    struct sse sse;
    struct sse_event event;
    sse_init(&sse, EVENT_MAX);
    sse_feed(&sse, text);
    assert_int_equal(sse_next(&sse, &event), SSE_EVENT);
    assert_ptr_equal(event.data.data, text.data + strlen("event: x\ndata: "));
    assert_true(str_is(event.data, "here"));
    sse_done(&sse);
}

static void the_time_until_another_try_is_digits_only(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want;
    } retries[] = {
        {"data: a\n\n", -1},          {"retry: 1500\n", 1500},
        {"retry: 15x\n", -1},         {"retry:\n", -1},
        {"retry: -1\n", -1},          {"retry: 7\nretry: 9\n", 9},
        {"retry: 7\nretry: no\n", 7}, {"retry: 99999999999999999999\n", 86400000},
    };
    for (size_t i = 0; i < sizeof(retries) / sizeof(retries[0]); i++) {
        struct sse sse;
        struct sse_event event;
        sse_init(&sse, EVENT_MAX);
        sse_feed(&sse, str_of(retries[i].text));
        while (sse_next(&sse, &event) == SSE_EVENT)
            ;
        assert_int_equal(sse.retry_ms, retries[i].want);
        sse_done(&sse);
    }
}

static void what_was_too_big_stays_so(void **state)
{
    (void)state;
    struct sse sse;
    struct sse_event event;
    sse_init(&sse, EVENT_MAX);
    sse_feed(&sse, STR("data: " FIFTY FIFTY));
    assert_int_equal(sse_next(&sse, &event), SSE_TOO_BIG);
    sse_feed(&sse, STR("\n\ndata: a\n\n"));
    assert_int_equal(sse_next(&sse, &event), SSE_TOO_BIG);
    sse_done(&sse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_the_same_in_any_pieces),
        cmocka_unit_test(random_bytes_are_read_in_pieces_as_they_are_whole),
        cmocka_unit_test(an_event_that_came_whole_is_not_copied),
        cmocka_unit_test(the_time_until_another_try_is_digits_only),
        cmocka_unit_test(what_was_too_big_stays_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
