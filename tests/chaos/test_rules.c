/*
 * test_rules.c -- words become rules, and wrong words change nothing.
 */
#include "tests/unit/base/test.h"

#include "tests/chaos/proxy/rules.h"

static struct rules after(const char *first, const char *second)
{
    struct rules rules;
    struct err err;
    rules_clear(&rules);
    assert_true(rules_apply(&rules, str_of(first), &err));
    assert_true(!second || rules_apply(&rules, str_of(second), &err));
    return rules;
}

static void without_rules_everything_passes(void **state)
{
    (void)state;
    struct rules rules = after("clear", NULL);
    assert_false(rules.down || rules_hold(&rules, WAY_UP) || rules_hold(&rules, WAY_DOWN));
    assert_int_equal(rules.latency_ms + rules.rate_bytes + rules.chance_millionths, 0);
    assert_int_equal(rules.cut_bytes, -1);
}

static void rules_add_up_until_they_are_cleared(void **state)
{
    (void)state;
    struct rules rules = after("latency 50", "rate 1 100");
    assert_int_equal(rules.latency_ms, 50);
    assert_int_equal(rules.rate_bytes, 1);
    assert_int_equal(rules.rate_ms, 100);
    rules = after("cut 0", "chance 1000000");
    assert_int_equal(rules.cut_bytes, 0);
    assert_int_equal(rules.chance_millionths, 1000000);
    rules = after("down", "clear");
    assert_false(rules.down);
}

static void a_direction_is_held_alone_and_a_black_hole_holds_both(void **state)
{
    (void)state;
    struct rules rules = after("hold up", NULL);
    assert_true(rules_hold(&rules, WAY_UP));
    assert_false(rules_hold(&rules, WAY_DOWN));
    rules = after("hold down", NULL);
    assert_true(rules_hold(&rules, WAY_DOWN));
    assert_false(rules_hold(&rules, WAY_UP));
    rules = after("blackhole", NULL);
    assert_true(rules_hold(&rules, WAY_UP) && rules_hold(&rules, WAY_DOWN));
}

static void wrong_words_are_told_and_change_nothing(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",       "downs",    "hold",       "hold sideways",
                                        "down 1", "latency",  "latency -1", "latency 1 2",
                                        "rate 5", "rate 0 1", "latency x",  "latency 600001"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct rules rules = after("latency 7", NULL);
        struct err err = {0};
        assert_false(rules_apply(&rules, str_of(wrong[i]), &err));
        assert_int_equal(err.code, ERR_USAGE);
        assert_int_equal(rules.latency_ms, 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_rules_everything_passes),
        cmocka_unit_test(rules_add_up_until_they_are_cleared),
        cmocka_unit_test(a_direction_is_held_alone_and_a_black_hole_holds_both),
        cmocka_unit_test(wrong_words_are_told_and_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
