/*
 * Goal: every form of the URL is understood, every other is refused without repeating a password.
 * Method: tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/io/redis_url.h"

static void good_urls_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        struct redis_url want;
    } cases[] = {
        {"redis://localhost", {.host = "localhost", .port = 6379}},
        {"redis://", {.host = "localhost", .port = 6379}},
        {"redis://10.0.0.1:7000", {.host = "10.0.0.1", .port = 7000}},
        {"redis://h:1/", {.host = "h", .port = 1}},
        {"redis://h/3", {.host = "h", .port = 6379, .db = 3}},
        {"redis://h?db=4", {.host = "h", .port = 6379, .db = 4}},
        {"redis://:pw@h:2/0", {.host = "h", .port = 2, .password = "pw"}},
        {"redis://u:pw@h", {.host = "h", .port = 6379, .user = "u", .password = "pw"}},
        {"redis://u@h", {.host = "h", .port = 6379, .user = "u"}},
        {"redis://u:p@w@h", {.host = "h", .port = 6379, .user = "u", .password = "p@w"}},
        {"redis://u:p%40%2f%3A@h", {.host = "h", .port = 6379, .user = "u", .password = "p@/:"}},
        {"redis://[::1]:7/2", {.host = "::1", .port = 7, .db = 2}},
        {"redis://[::1]", {.host = "::1", .port = 6379}},
        {"unix:///run/redis.sock", {.path = "/run/redis.sock"}},
        {"unix://:pw@/run/r?db=5", {.path = "/run/r", .password = "pw", .db = 5}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct redis_url got;
        struct err err;
        if (!redis_url_parse(str_of(cases[i].url), &got, &err))
            fail_msg("%s: %s", cases[i].url, err.text);
        assert_string_equal(got.host, cases[i].want.host);
        assert_string_equal(got.path, cases[i].want.path);
        assert_string_equal(got.user, cases[i].want.user);
        assert_string_equal(got.password, cases[i].want.password);
        assert_int_equal(got.port, cases[i].want.port);
        assert_int_equal(got.db, cases[i].want.db);
    }
}

static void bad_urls_are_refused_and_keep_the_password_secret(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "localhost:6379",
        "http://u:hunter2@h",
        "rediss://u:hunter2@h",
        "redis://u:hunter2@h:port",
        "redis://u:hunter2@h:0",
        "redis://u:hunter2@h:65536",
        "redis://u:hunter2@h/db",
        "redis://u:hunter2@h/-1",
        "redis://u:hunter2@h?foo=1",
        "redis://u:hunter2%4@h",
        "redis://u:hunter2%zz@h",
        "redis://u:hunter2%00@h",
        "redis://u:hunter2@[::1",
        "redis://u:hunter2@[::1]x",
        "unix://u:hunter2@",
        "unix:///"
        "0123456789012345678901234567890123456789012345678901234567890123456789"
        "0123456789012345678901234567890123456789",
    };
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct redis_url got;
        struct err err = {0};
        if (redis_url_parse(str_of(urls[i]), &got, &err))
            fail_msg("taken: %s", urls[i]);
        assert_int_equal(err.code, ERR_CONFIG);
        assert_null(strstr(err.text, "hunter2"));
    }
}

static void a_password_given_apart_wins(void **state)
{
    (void)state;
    struct redis_url url;
    struct err err;
    assert_true(redis_url_parse(STR("redis://u:old@h"), &url, &err));
    assert_true(redis_url_password(&url, (struct str){NULL, 0}, &err));
    assert_string_equal(url.password, "old");
    assert_true(redis_url_password(&url, STR("new%20"), &err));
    assert_string_equal(url.password, "new%20");
    assert_false(redis_url_password(&url, str_from("a\0b", 3), &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_urls_are_taken_apart),
        cmocka_unit_test(bad_urls_are_refused_and_keep_the_password_secret),
        cmocka_unit_test(a_password_given_apart_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
