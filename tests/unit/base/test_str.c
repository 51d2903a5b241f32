/*
 * Goal: views of bytes can be compared, cut, read as numbers, hashed and checked as UTF-8, with the
 * absent string and both ends of every bound among the cases.
 */
#include "tests/unit/base/test.h"

#include "common/base/rand.h"

static const struct str absent = {NULL, 0};

static void comparison_is_bytewise_and_shorter_is_first(void **state)
{
    (void)state;
    static const struct {
        struct str a, b;
        int order;
    } cases[] = {
        {{"", 0}, {"", 0}, 0},    {{NULL, 0}, {"", 0}, 0},       {{"a", 1}, {"b", 1}, -1},
        {{"a", 1}, {"", 0}, 1},   {{"ab", 2}, {"a", 1}, 1},      {{"a", 1}, {"ab", 2}, -1},
        {{"B", 1}, {"a", 1}, -1}, {{"\xff", 1}, {"\x01", 1}, 1}, {{"a\0b", 3}, {"a\0c", 3}, -1},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(str_cmp(cases[i].a, cases[i].b), cases[i].order);
}

static void case_is_ignored_for_ascii_letters_only(void **state)
{
    (void)state;
    assert_true(str_eq_nocase(STR("Content-Type"), STR("content-tYPE")));
    assert_true(str_eq_nocase(absent, STR("")));
    assert_false(str_eq_nocase(STR("ab"), STR("abc")));
    assert_false(str_eq_nocase(STR("@"), STR("`"))); /* 0x40 and 0x60 differ in the case bit */
    assert_false(str_eq_nocase(STR("\xc3\x84"), STR("\xc3\xa4")));
}

static void beginnings_and_ends_are_found(void **state)
{
    (void)state;
    assert_true(str_starts(STR("quern.replies"), STR("quern.")));
    assert_true(str_starts(STR("x"), STR("")));
    assert_true(str_starts(absent, absent));
    assert_false(str_starts(STR("qu"), STR("quern")));
    assert_true(str_ends(STR("a.yaml"), STR(".yaml")));
    assert_false(str_ends(STR("yaml"), STR(".yaml")));
    assert_false(str_ends(absent, STR("x")));
    assert_int_equal(str_index(STR("a=b=c"), '='), 1);
    assert_int_equal(str_index(STR("abc"), '='), 3);
    assert_int_equal(str_index(absent, '='), 0);
}

static void slices_stay_within_the_string(void **state)
{
    (void)state;
    struct str s = STR("hello");
    assert_str(str_slice(s, 1, 3), "el");
    assert_str(str_slice(s, 0, 99), "hello");
    assert_str(str_slice(s, 4, 2), "");
    assert_str(str_slice(s, 9, 99), "");
    assert_null(str_slice(absent, 0, 5).data);
    assert_str(str_trim(STR(" \t\r\n a b \v\f")), "a b");
    assert_str(str_trim(STR(" \n ")), "");
    assert_null(str_trim(absent).data);
}

static void splitting_gives_every_part_and_then_ends(void **state)
{
    (void)state;
    static const struct {
        struct str whole;
        const char *parts[5];
    } cases[] = {
        {{"a,b,c", 5}, {"a", "b", "c"}},
        {{"abc", 3}, {"abc"}},
        {{"", 0}, {""}},
        {{",", 1}, {"", ""}},
        {{"a,", 2}, {"a", ""}},
        {{NULL, 0}, {NULL}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str rest = cases[i].whole;
        struct str part;
        size_t n = 0;
        for (; str_split(&rest, ',', &part); n++) {
            assert_non_null(cases[i].parts[n]);
            assert_str(part, cases[i].parts[n]);
        }
        assert_null(cases[i].parts[n]);
        assert_null(rest.data);
    }
}

static void whole_numbers_are_read_within_their_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t min, max, value;
        bool ok;
    } cases[] = {
        {"0", 0, 9, 0, true},
        {"007", 0, 9, 7, true},
        {"-5", -9, 9, -5, true},
        {"9223372036854775807", INT64_MIN, INT64_MAX, INT64_MAX, true},
        {"-9223372036854775808", INT64_MIN, INT64_MAX, INT64_MIN, true},
        {"9223372036854775808", INT64_MIN, INT64_MAX, 0, false},
        {"-9223372036854775809", INT64_MIN, INT64_MAX, 0, false},
        {"99999999999999999999999", INT64_MIN, INT64_MAX, 0, false},
        {"10", 0, 9, 0, false},
        {"-1", 0, 9, 0, false},
        {"9", 0, 9, 9, true},
        {"", 0, 9, 0, false},
        {"-", -9, 9, 0, false},
        {"+1", 0, 9, 0, false},
        {" 1", 0, 9, 0, false},
        {"1 ", 0, 9, 0, false},
        {"1x", 0, 9, 0, false},
        {"--1", -9, 9, 0, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t value = 4711;
        bool ok = str_to_i64(str_of(cases[i].text), cases[i].min, cases[i].max, &value);
        assert_int_equal(ok, cases[i].ok);
        assert_true(value == (ok ? cases[i].value : 4711));
    }
    int64_t value = 4711;
    assert_false(str_to_i64(absent, 0, 9, &value));
}

static void real_numbers_are_read_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {
        {"0", 0}, {"-1.5", -1.5}, {"0.25", 0.25}, {"1e3", 1000}, {"25E-2", 0.25}, {"1e-999", 0},
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        double value = 4711;
        assert_true(str_to_f64(str_of(good[i].text), &value));
        assert_true(value == good[i].value);
    }
    static const char *const bad[] = {"",    "-",  ".5", "5.", "1e",    "1e+", "0x10", "nan",
                                      "inf", "+1", " 1", "1 ", "1e999", "1,5", "1.5.2"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        double value = 4711;
        assert_false(str_to_f64(str_of(bad[i]), &value));
        assert_true(value == 4711);
    }
    assert_false(str_to_f64(absent, &(double){0}));
    char long_number[200];
    memset(long_number, '1', sizeof(long_number));
    assert_true(str_to_f64(str_from(long_number, 127), &(double){0}));
    assert_false(str_to_f64(str_from(long_number, 128), &(double){0}));
    /* The string need not end where the number's memory ends. */
    double part;
    assert_true(str_to_f64(str_from("12345", 2), &part));
    assert_true(part == 12);
}

static const struct {
    struct str text;
    bool valid;
} utf8_cases[] = {
    {{NULL, 0}, true},
    {{"", 0}, true},
    {{"plain", 5}, true},
    {{"nul\0nul", 7}, true},
    {{"\xc2\x80", 2}, true},          /* U+0080, the first of two bytes */
    {{"\xdf\xbf", 2}, true},          /* U+07FF */
    {{"\xe0\xa0\x80", 3}, true},      /* U+0800 */
    {{"\xed\x9f\xbf", 3}, true},      /* U+D7FF, before the surrogates */
    {{"\xee\x80\x80", 3}, true},      /* U+E000, after them */
    {{"\xef\xbf\xbf", 3}, true},      /* U+FFFF */
    {{"\xf0\x90\x80\x80", 4}, true},  /* U+10000 */
    {{"\xf4\x8f\xbf\xbf", 4}, true},  /* U+10FFFF, the last */
    {{"\x80", 1}, false},             /* a continuation alone */
    {{"\xc0\x80", 2}, false},         /* overlong NUL */
    {{"\xc1\xbf", 2}, false},         /* overlong */
    {{"\xe0\x9f\xbf", 3}, false},     /* overlong */
    {{"\xf0\x8f\xbf\xbf", 4}, false}, /* overlong */
    {{"\xed\xa0\x80", 3}, false},     /* U+D800, a surrogate */
    {{"\xed\xbf\xbf", 3}, false},     /* U+DFFF, a surrogate */
    {{"\xf4\x90\x80\x80", 4}, false}, /* U+110000 */
    {{"\xf5\x80\x80\x80", 4}, false},
    {{"\xff", 1}, false},
    {{"\xc3", 1}, false},         /* cut after one byte of two */
    {{"\xe2\x82", 2}, false},     /* two of three */
    {{"\xf0\x9f\x98", 3}, false}, /* three of four */
    {{"\xe2\x28\xa1", 3}, false}, /* no continuation */
    {{"\xe2\x82\x28", 3}, false},
    {{"\xf0\x9f\x98\x28", 4}, false},
};

/* The same sequence at every distance from the word border, because ASCII goes by eight. */
static void utf8_is_told_from_other_bytes_at_every_offset(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(utf8_cases); i++) {
        for (size_t before = 0; before < 18; before++) {
            for (size_t after = 0; after < 10; after += 3) {
                char text[40];
                struct str s = utf8_cases[i].text;
                memset(text, 'a', sizeof(text));
                if (s.len)
                    memcpy(text + before, s.data, s.len);
                bool valid = str_utf8_valid(str_from(text, before + s.len + after));
                assert_int_equal(valid, utf8_cases[i].valid);
            }
        }
    }
    assert_int_equal(str_utf8_step(STR("\xe2\x82\xac!")), 3);
    assert_int_equal(str_utf8_step(STR("\xe2\x82")), 0);
    assert_int_equal(str_utf8_step(absent), 0);
}

static void texts_are_cut_between_code_points(void **state)
{
    (void)state;
    struct str s = STR("a\xe2\x82\xac\xf0\x9f\x98\x80"); /* 1 + 3 + 4 bytes */
    static const size_t want[] = {0, 1, 1, 1, 4, 4, 4, 4, 8, 8};
    for (size_t max = 0; max < COUNT_OF(want); max++) {
        struct str cut = str_utf8_cut(s, max);
        assert_int_equal(cut.len, want[max]);
        assert_true(str_utf8_valid(cut));
    }
    assert_null(str_utf8_cut(absent, 0).data);
    /* What is no UTF-8 at all is cut where asked. */
    assert_int_equal(str_utf8_cut(STR("\x80\x80\x80\x80\x80\x80\x80\x80"), 6).len, 6);
}

/* The values are those of CPython 3.11, whose hash of bytes is SipHash-1-3 with this key. */
static void hashes_are_siphash_1_3(void **state)
{
    (void)state;
    str_hash_seed_set(0);
    char bytes[64];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)i;
    assert_true(str_hash(STR("a")) == UINT64_C(4644417185603328019));
    assert_true(str_hash(STR("abcdefg")) == UINT64_C(7904145750247929094));
    assert_true(str_hash(STR("abcdefgh")) == UINT64_C(4574395652268504554));
    assert_true(str_hash(STR("The quick brown fox jumps over the lazy dog")) ==
                UINT64_C(10229494255719302430));
    assert_true(str_hash(str_from(bytes, sizeof(bytes))) == UINT64_C(8493894268803903686));
    assert_true(str_hash(absent) == str_hash(STR("")));
}

static void hashes_follow_the_seed(void **state)
{
    (void)state;
    uint64_t drawn = str_hash(STR("key"));
    str_hash_seed_set(1);
    uint64_t one = str_hash(STR("key"));
    str_hash_seed_set(2);
    assert_true(str_hash(STR("key")) != one);
    str_hash_seed_set(1);
    assert_true(str_hash(STR("key")) == one);
    assert_true(drawn != one);
    str_hash_seed_set(0);
    assert_true(drawn != str_hash(STR("key"))); /* a key was drawn before main() */
}

/* Straight from the definition, to compare with. */
static unsigned naive_distance(struct str a, struct str b)
{
    if (a.len == 0 || b.len == 0)
        return (unsigned)(a.len + b.len);
    struct str a_rest = str_slice(a, 1, a.len);
    struct str b_rest = str_slice(b, 1, b.len);
    if (a.data[0] == b.data[0])
        return naive_distance(a_rest, b_rest);
    unsigned change = naive_distance(a_rest, b_rest);
    unsigned drop = naive_distance(a_rest, b);
    unsigned add = naive_distance(a, b_rest);
    unsigned best = change < drop ? change : drop;
    return 1 + (best < add ? best : add);
}

static void distance_counts_edits(void **state)
{
    (void)state;
    assert_int_equal(str_distance(STR("kitten"), STR("sitting")), 3);
    assert_int_equal(str_distance(STR("models"), STR("models")), 0);
    assert_int_equal(str_distance(absent, STR("abc")), 3);
    assert_int_equal(str_distance(STR("abc"), absent), 3);
    char a[100];
    char b[100];
    memset(a, 'a', sizeof(a));
    memset(b, 'b', sizeof(b));
    assert_int_equal(str_distance(str_from(a, 100), str_from(b, 100)), 64);

    struct rand rand;
    rand_init(&rand, 7);
    for (int round = 0; round < 300; round++) {
        struct str left = {a, rand_below(&rand, 7)};
        struct str right = {b, rand_below(&rand, 7)};
        for (size_t i = 0; i < 7; i++) {
            a[i] = (char)('x' + rand_below(&rand, 3));
            b[i] = (char)('x' + rand_below(&rand, 3));
        }
        assert_int_equal(str_distance(left, right), naive_distance(left, right));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_follow_the_seed), /* first: it wants the key of the start */
        cmocka_unit_test(hashes_are_siphash_1_3),
        cmocka_unit_test(comparison_is_bytewise_and_shorter_is_first),
        cmocka_unit_test(case_is_ignored_for_ascii_letters_only),
        cmocka_unit_test(beginnings_and_ends_are_found),
        cmocka_unit_test(slices_stay_within_the_string),
        cmocka_unit_test(splitting_gives_every_part_and_then_ends),
        cmocka_unit_test(whole_numbers_are_read_within_their_bounds),
        cmocka_unit_test(real_numbers_are_read_and_nothing_else),
        cmocka_unit_test(utf8_is_told_from_other_bytes_at_every_offset),
        cmocka_unit_test(texts_are_cut_between_code_points),
        cmocka_unit_test(distance_counts_edits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
