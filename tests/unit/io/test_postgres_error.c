/*
 * Goal: each SQLSTATE gets the right code and fate, and no value of ours gets into a text.
 * Method: tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/io/postgres_error.h"

static void sqlstates_decide_code_and_fate_of_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *sqlstate, *severity;
        enum err_code code;
        bool lost;
    } cases[] = {
        {"QF001", "ERROR", ERR_FENCED, false},      {"40001", "ERROR", ERR_UNAVAILABLE, false},
        {"40P01", "ERROR", ERR_UNAVAILABLE, false}, {"55P03", "ERROR", ERR_UNAVAILABLE, false},
        {"57014", "ERROR", ERR_TIMEOUT, false},     {"57P01", "FATAL", ERR_UNAVAILABLE, true},
        {"57P03", "FATAL", ERR_UNAVAILABLE, true},  {"53100", "ERROR", ERR_UNAVAILABLE, false},
        {"53300", "FATAL", ERR_UNAVAILABLE, true},  {"08006", NULL, ERR_UNAVAILABLE, true},
        {"25P03", "FATAL", ERR_UNAVAILABLE, true},  {"25006", "ERROR", ERR_UNAVAILABLE, true},
        {"26000", "ERROR", ERR_UNAVAILABLE, true},  {"23505", "ERROR", ERR_INTERNAL, false},
        {"42P01", "ERROR", ERR_INTERNAL, false},    {"22P02", "ERROR", ERR_INTERNAL, false},
        {"P0001", "ERROR", ERR_INTERNAL, false},    {"28P01", "FATAL", ERR_UNAVAILABLE, true},
        {"XX000", "PANIC", ERR_UNAVAILABLE, true},  {NULL, NULL, ERR_INTERNAL, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err;
        bool lost = postgres_error(cases[i].sqlstate, cases[i].severity, "m", &err);
        if (lost != cases[i].lost || err.code != cases[i].code)
            fail_msg("%s: code %s, lost %d", cases[i].sqlstate ? cases[i].sqlstate : "none",
                     err_name(err.code), lost);
        assert_int_equal(err.retry, err_retry_of(err.code));
    }
}

static void a_server_that_is_there_and_does_not_want_us_is_not_away(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool refuses;
    } cases[] = {
        {"connect: FATAL:  password authentication failed for user \"quern\"", true},
        {"connect: fe_sendauth: no password supplied", true},
        {"connect: FATAL:  database \"quern\" does not exist", true},
        {"connect: FATAL:  role \"quern\" does not exist", true},
        {"connect: FATAL:  no pg_hba.conf entry for host \"10.0.0.1\"", true},
        {"connect: FATAL:  the database system is starting up", false},
        {"connect: FATAL:  sorry, too many clients already", false},
        {"connect: connection to server at \"127.0.0.1\", port 1 failed: Connection refused",
         false},
        {"connect: could not connect to server: socket \"/x\" does not exist", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (postgres_error_refuses(cases[i].text) != cases[i].refuses)
            fail_msg("%s", cases[i].text);
}

static void messages_are_passed_on_without_values(void **state)
{
    (void)state;
    static const struct {
        const char *sqlstate, *message, *text;
    } cases[] = {
        {"23505", "duplicate key value violates unique constraint \"requests_pkey\"",
         "postgresql: duplicate key value violates unique constraint \"requests_pkey\" (23505)"},
        {"22P02", "invalid input syntax for type bigint: \"my secret\"",
         "postgresql: invalid input syntax for type bigint: *** (22P02)"},
        {"22P02", "invalid input syntax for type bigint: \"a\"b\"c\"",
         "postgresql: invalid input syntax for type bigint: *** (22P02)"},
        {"22003", "value \"99999999999\" is out of range for type integer",
         "postgresql: value *** is out of range for type integer (22003)"},
        {"22P02", "malformed array literal: \"{se",
         "postgresql: malformed array literal: *** (22P02)"},
        {"22012", "division by zero", "postgresql: division by zero (22012)"},
        {"P0001", "two\nlines\n", "postgresql: two lines (P0001)"},
        {"XX000", NULL, "postgresql: no message (XX000)"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err;
        postgres_error(cases[i].sqlstate, "ERROR", cases[i].message, &err);
        assert_string_equal(err.text, cases[i].text);
    }
}

static void a_long_message_is_cut_after_its_values_are_gone(void **state)
{
    (void)state;
    size_t len = 5000;
    char *message = malloc(len + 1);
    memset(message, 's', len);
    memcpy(message, "value \"", 7);
    memcpy(message + len - 9, "\" is bad", 9);
    struct err err;
    postgres_error("22003", "ERROR", message, &err);
    assert_string_equal(err.text, "postgresql: value *** is bad (22003)");

    memset(message, 'x', len - 10);
    postgres_error("P0001", "ERROR", message, &err);
    assert_true(strlen(err.text) < sizeof(err.text) - 1);
    assert_non_null(strstr(err.text, "(P0001)"));
    free(message);
}

static void scrubbing_handles_texts_at_the_edges(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},         {"\"", "*"},     {"\"\"", "**"},
        {"\"a\"", "***"}, {"x\"y", "x**"}, {"a \"b\" c", "a *** c"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[16];
        snprintf(text, sizeof(text), "%s", cases[i][0]);
        postgres_error_scrub(text);
        assert_string_equal(text, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sqlstates_decide_code_and_fate_of_the_connection),
        cmocka_unit_test(a_server_that_is_there_and_does_not_want_us_is_not_away),
        cmocka_unit_test(messages_are_passed_on_without_values),
        cmocka_unit_test(a_long_message_is_cut_after_its_values_are_gone),
        cmocka_unit_test(scrubbing_handles_texts_at_the_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
