/*
 * Goal: looking into a tree never needs a check of kinds first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/data/json.h"

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 1 << 24);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static const struct value *tree(const char *json)
{
    struct value *value = arena_new(&arena, struct value);
    struct err err;
    if (!json_read(str_of(json), &arena, value, &err))
        fail_msg("%s: %s", json, err.text);
    return value;
}

static void looking_up_finds_what_is_there_and_nothing_else(void **state)
{
    (void)state;
    const struct value *map = tree("{\"s\":\"x\",\"i\":7,\"r\":1.5,\"l\":[1],\"m\":{\"k\":1}}");
    assert_true(str_is(value_get_str(map, "s"), "x"));
    assert_null(value_get_str(map, "i").data);
    assert_null(value_get_str(map, "none").data);
    assert_int_equal(value_get_int(map, "i", -1), 7);
    assert_int_equal(value_get_int(map, "r", -1), -1);
    assert_int_equal(value_get_int(map, "none", -1), -1);
    assert_non_null(value_get_list(map, "l"));
    assert_null(value_get_list(map, "m"));
    assert_int_equal(value_get_int(value_get_map(map, "m"), "k", -1), 1);
    assert_null(value_get_map(map, "l"));
    assert_null(value_get(NULL, STR("s")));
    assert_null(value_get(value_get_list(map, "l"), STR("s")));
}

static void equality_ignores_the_order_of_keys_only(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        {"{\"a\":1,\"b\":[{\"c\":null}]}", "{\"b\":[{\"c\":null}],\"a\":1}", true},
        {"[1,2]", "[2,1]", false},
        {"[1]", "[1,2]", false},
        {"{\"a\":1}", "{\"a\":2}", false},
        {"{\"a\":1}", "{\"b\":1}", false},
        {"{\"a\":1}", "{\"a\":1,\"b\":1}", false},
        {"1", "1.0", false},
        {"\"a\"", "\"a\"", true},
        {"\"a\"", "\"b\"", false},
        {"true", "false", false},
        {"null", "null", true},
        {"1.5", "1.5", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (value_eq(tree(cases[i].a), tree(cases[i].b)) != cases[i].equal)
            fail_msg("%s and %s", cases[i].a, cases[i].b);
    }
}

static void measuring_counts_values_levels_and_nul(void **state)
{
    (void)state;
    struct value_size size = value_measure(tree("{\"a\":[1,[2,{}]],\"b\":\"x\"}"));
    assert_int_equal(size.nodes, 9);
    assert_int_equal(size.depth, 4);
    assert_false(size.nul);
    assert_true(value_measure(tree("[[\"a\\u0000\"]]")).nul);
    assert_true(value_measure(tree("[{\"a\\u0000\":1}]")).nul);
    assert_int_equal(value_measure(tree("7")).depth, 0);
}

static void a_map_is_built_pair_by_pair(void **state)
{
    (void)state;
    struct value *map = value_map_new(&arena, 3);
    value_map_add(map, STR("a"), value_int(1));
    value_map_add(map, STR("b"), value_str(STR("x")));
    value_map_add(map, STR("c"), value_str((struct str){NULL, 0}));
    assert_true(value_eq(map, tree("{\"a\":1,\"b\":\"x\",\"c\":null}")));
}

static void every_kind_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(value_kind_name(VALUE_NULL), "null");
    assert_string_equal(value_kind_name(VALUE_STR), "str");
    assert_string_equal(value_kind_name(VALUE_MAP), "map");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(looking_up_finds_what_is_there_and_nothing_else, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(equality_ignores_the_order_of_keys_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(measuring_counts_values_levels_and_nul, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_map_is_built_pair_by_pair, set_up, tear_down),
        cmocka_unit_test(every_kind_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
