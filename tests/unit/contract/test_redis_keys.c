/*
 * test_redis_keys.c -- keys of Redis: what they look like, and that parts cannot be confused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/contract/redis_keys.h"

static void assert_key(struct str key, const char *expected)
{
    assert_string_equal(key.data, expected);
    assert_int_equal(key.len, strlen(expected));
}

static void every_key_follows_its_pattern(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 65536);
    struct str p = STR("quern:"), t = STR("acme"), id = STR("0190-1");
    assert_key(redis_key_conversation(&a, p, t, STR("s1")), "quern:conversation:{acme:s1}");
    assert_key(redis_key_claim(&a, p, t, id, 3), "quern:call:{acme:0190-1}:3");
    assert_key(redis_key_kept(&a, p, t, id, 15), "quern:call:{acme:0190-1}:15:kept");
    assert_key(redis_key_done(&a, p, t, id), "quern:done:{acme:0190-1}");
    assert_key(redis_key_alive(&a, p, STR("host-1")), "quern:alive:{host-1}");
    assert_key(redis_key_alive(&a, (struct str){0}, (struct str){0}), "alive:{}");
    arena_done(&a);
}

static void separators_in_a_part_are_escaped(void **state)
{
    (void)state;
    static const struct {
        struct str tenant, id;
        const char *expected;
    } cases[] = {
        {STR("a:b"), STR("c"), "done:{a%3Ab:c}"},
        {STR("a"), STR("b:c"), "done:{a:b%3Ac}"},
        {STR("{x}"), STR("}{"), "done:{%7Bx%7D:%7D%7B}"},
        {STR("%3A"), STR("ID"), "done:{%253A:ID}"},
        {STR("a\nb"), STR("\x7f\x01"), "done:{a%0Ab:%7F%01}"},
        {STR("\xc3\xa9"), STR("\xe7\x99\xbe"), "done:{\xc3\xa9:\xe7\x99\xbe}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena a;
        arena_init(&a, NULL, 65536);
        assert_key(redis_key_done(&a, (struct str){0}, cases[i].tenant, cases[i].id),
                   cases[i].expected);
        arena_done(&a);
    }
}

static void scripts_are_whole(void **state)
{
    (void)state;
    assert_non_null(strstr(lua_claim, "return {'claimed', ended, cancelled}\n"));
    assert_non_null(strstr(lua_conversation, "'^{\"turn\":(%d+)'"));
    assert_non_null(strstr(lua_settled, "for i = 2, #KEYS do"));
    assert_non_null(strstr(lua_steal, "ARGV[4]"));
    assert_non_null(strstr(lua_release, "return 1\n"));
}

static void lifetimes_come_from_the_rows(void **state)
{
    (void)state;
    assert_int_equal(redis_key_lifetime_s(REDIS_KEY_CONVERSATION), 86400);
    assert_int_equal(redis_key_lifetime_s(REDIS_KEY_CLAIM), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_follows_its_pattern),
        cmocka_unit_test(separators_in_a_part_are_escaped),
        cmocka_unit_test(scripts_are_whole),
        cmocka_unit_test(lifetimes_come_from_the_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
