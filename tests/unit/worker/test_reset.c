/*
 * Goal: what providers say of their rate limits is read in each vendor's form, and nothing absurd
 * is believed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker/call/reset.h"

enum { NOW_S = 1700000000 }; /* 2023-11-14T22:13:20Z */

static void a_reset_is_read_in_each_form(void **state)
{
    static const struct {
        const char *headers;
        int64_t ms;
    } cases[] = {
        {"x-ratelimit-reset-requests: 1s\n", 1000},
        {"X-RateLimit-Reset-Tokens: 20ms\n", 20},
        {"x-ratelimit-reset-requests: 6m0s\n", RESET_MS_MAX},
        {"x-ratelimit-reset-requests: 0m7.66s\n", 7660},
        {"x-ratelimit-reset-requests: 12\n", 12000},
        {"x-ratelimit-reset-requests: soon\n", 0},
        {"x-ratelimit-reset-requests: 1s2\n", 0},
        {"x-ratelimit-reset-requests: -5s\n", 0},
        {"x-ratelimit-reset-requests: nan\n", 0},
        {"x-ratelimit-reset-requests: 0s\n", 0},
        {"x-ratelimit-reset-requests: 99999999999999999999h\n", RESET_MS_MAX},
        {"anthropic-ratelimit-requests-reset: 2023-11-14T22:13:27Z\n", 7000},
        {"anthropic-ratelimit-tokens-reset: 2023-11-14T23:13:25.5+01:00\n", 5000},
        {"anthropic-ratelimit-tokens-reset: 2023-11-14T22:13:00Z\n", 0},
        {"anthropic-ratelimit-tokens-reset: 2023-11-14\n", 0},
        {"retry-after: 3\n", 0},
        {"", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (rate_reset_ms(str_of(cases[i].headers), NOW_S * 1000LL) != cases[i].ms)
            fail_msg("%s: %lld", cases[i].headers,
                     (long long)rate_reset_ms(str_of(cases[i].headers), NOW_S * 1000LL));
}

static void what_is_used_up_counts_more_than_what_is_not(void **state)
{
    (void)state;
    assert_int_equal(rate_reset_ms(STR("x-ratelimit-remaining-requests: 0\n"
                                       "x-ratelimit-reset-requests: 9s\n"
                                       "x-ratelimit-remaining-tokens: 500\n"
                                       "x-ratelimit-reset-tokens: 30s\n"),
                                   0),
                     9000);
    assert_int_equal(rate_reset_ms(STR("x-ratelimit-remaining-requests: 10\n"
                                       "x-ratelimit-reset-requests: 9s\n"
                                       "x-ratelimit-remaining-tokens: 500\n"
                                       "x-ratelimit-reset-tokens: 2s\n"),
                                   0),
                     2000);
}

static void only_lines_about_rates_are_kept_and_not_too_many(void **state)
{
    static char many[20000];
    struct arena arena;
    (void)state;
    arena_init(&arena, NULL, 1 << 20);
    struct str kept = rate_headers_keep(STR("HTTP/1.1 429\r\nSet-Cookie: secret\r\n"
                                            "X-RateLimit-Limit-Requests: 60\r\n"
                                            "Content-Type: a\r\n\r\n"),
                                        &arena);
    assert_true(str_is(kept, "X-RateLimit-Limit-Requests: 60\n"));
    assert_true(str_is(rate_header(kept, "x-ratelimit-limit-requests"), "60"));
    assert_false(rate_header(kept, "x-ratelimit-limit-tokens").data);
    assert_false(rate_headers_keep(STR("a: b\r\n"), &arena).data);
    for (size_t at = 0; at + 40 < sizeof(many); at += 27)
        memcpy(many + at, "x-ratelimit-limit-n: 12345\n", 27);
    kept = rate_headers_keep(str_of(many), &arena);
    assert_in_range(kept.len, 1000, RATE_HEADERS_BYTES_MAX);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reset_is_read_in_each_form),
        cmocka_unit_test(what_is_used_up_counts_more_than_what_is_not),
        cmocka_unit_test(only_lines_about_rates_are_kept_and_not_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
