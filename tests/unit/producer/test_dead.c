/*
 * Goal: a retried dead letter has the headers of its original and none of the letter's; its fate is
 * told with what to do; places are read strictly.
 * Method: records and errors by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "producer/cli/dead.h"

static const struct kafka_record letter = {
    .header_count = 6,
    .headers = {{STR("quern-dead-code"), STR("unknown_model")},
                {STR("content-type"), STR("application/cloudevents+json")},
                {STR("ce_id"), STR("i")},
                {STR("traceparent"), STR("00-1-2-01")},
                {STR("quern-dead-topic"), STR("quern.requests")},
                {STR("x-own"), STR("kept")}},
};

static void check_headers(const char *type, const char *const *names)
{
    struct kafka_header headers[KAFKA_HEADERS_MAX + 1];
    size_t count = dead_headers(&letter, type, headers);
    for (size_t i = 0; i < count; i++) {
        assert_non_null(names[i]);
        assert_true(str_is(headers[i].name, names[i]));
    }
    assert_null(names[count]);
    if (type)
        assert_true(str_is(headers[0].value, type));
}

static void headers_are_those_of_the_original(void **state)
{
    (void)state;
    check_headers(NULL,
                  (const char *const[]){"content-type", "ce_id", "traceparent", "x-own", NULL});
}

/* The document is written anew, without its envelope; the old id must not stand in for the new. */
static void under_a_new_id_nothing_tells_the_old_one(void **state)
{
    (void)state;
    check_headers("application/json",
                  (const char *const[]){"content-type", "traceparent", "x-own", NULL});
}

static void a_fate_is_told_with_what_to_do(void **state)
{
    (void)state;
    const char *why;
    struct err err;
    assert_string_equal(dead_fate(NULL, true, &why), "published");
    assert_string_equal(why, "");
    err_set(&err, ERR_TOO_BIG, "larger than the topic takes");
    assert_string_equal(dead_fate(&err, true, &why), "not published");
    assert_string_equal(why, "larger than the topic takes");
    err_set(&err, ERR_TIMEOUT, "timed out");
    assert_string_equal(dead_fate(&err, true, &why), "unknown");
    assert_non_null(strstr(why, "once more is harmless"));
    assert_string_equal(dead_fate(&err, false, &why), "unknown");
    assert_non_null(strstr(why, "may ask twice"));
}

static void places_are_two_numbers(void **state)
{
    (void)state;
    struct dead_place place;
    struct err err;
    assert_true(dead_place("2:4711", &place, &err));
    assert_int_equal(place.partition, 2);
    assert_int_equal(place.offset, 4711);
    static const char *const wrong[] = {"",     "2",    "2:",    ":1",  "2:x",
                                        "-1:1", "1:-1", "1:2:3", "all", "2147483648:0"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (dead_place(wrong[i], &place, &err))
            fail_msg("'%s' is taken for a place", wrong[i]);
        assert_int_equal(err.code, ERR_USAGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_those_of_the_original),
        cmocka_unit_test(under_a_new_id_nothing_tells_the_old_one),
        cmocka_unit_test(a_fate_is_told_with_what_to_do),
        cmocka_unit_test(places_are_two_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
