/*
 * Goal: what was added is found until it is removed, whatever the table's size.
 */
#include "tests/unit/base/test.h"

#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/rand.h"

#define ITEMS 1000

struct item {
    char name[24];
    struct map_node node;
};

static struct item items[ITEMS];

static struct str name_of(size_t i)
{
    snprintf(items[i].name, sizeof(items[i].name), "item-%zu", i);
    return str_of(items[i].name);
}

static void add_all(struct map *map)
{
    memset(items, 0, sizeof(items));
    for (size_t i = 0; i < ITEMS; i++)
        map_add(map, &items[i].node, name_of(i));
}

static void what_is_in_the_map_is_found_and_nothing_else(void **state)
{
    (void)state;
    struct map map;
    map_init(&map);
    assert_null(map_find(&map, STR("item-1")));
    add_all(&map);
    assert_int_equal(map.count, ITEMS);
    for (size_t i = 0; i < ITEMS; i++) {
        char name[24];
        snprintf(name, sizeof(name), "item-%zu", i);
        struct map_node *found = map_find(&map, str_of(name));
        assert_ptr_equal(container_of(found, struct item, node), &items[i]);
    }
    assert_null(map_find(&map, STR("item-1000")));
    assert_null(map_find(&map, STR("item-1x")));
    map_done(&map);
}

static void keys_may_hold_any_bytes(void **state)
{
    (void)state;
    struct map map;
    struct map_node a = {0}, b = {0}, empty = {0};
    map_init(&map);
    map_add(&map, &a, STR("k\0a"));
    map_add(&map, &b, STR("k\0b"));
    map_add(&map, &empty, STR(""));
    assert_ptr_equal(map_find(&map, STR("k\0a")), &a);
    assert_ptr_equal(map_find(&map, STR("k\0b")), &b);
    assert_ptr_equal(map_find(&map, (struct str){NULL, 0}), &empty);
    map_done(&map);
}

static void random_moves_agree_with_the_nodes_own_mark(void **state)
{
    (void)state;
    struct map map;
    struct rand rand;
    map_init(&map);
    rand_init(&rand, 5);
    memset(items, 0, sizeof(items));
    size_t count = 0;
    for (int move = 0; move < 20000; move++) {
        size_t i = rand_below(&rand, ITEMS);
        bool there = items[i].node.linked;
        struct str name = name_of(i);
        assert_ptr_equal(map_find(&map, name), there ? &items[i].node : NULL);
        if (there)
            map_remove(&map, &items[i].node);
        else
            map_add(&map, &items[i].node, name);
        count += there ? (size_t)-1 : 1;
        assert_int_equal(map.count, count);
    }
    map_done(&map);
}

static void removing_what_is_in_no_map_does_nothing(void **state)
{
    (void)state;
    struct map map;
    struct map_node a = {0};
    map_init(&map);
    map_remove(&map, &a);
    map_add(&map, &a, STR("a"));
    map_remove(&map, &a);
    map_remove(&map, &a);
    assert_int_equal(map.count, 0);
    map_done(&map);
}

static void any_empties_a_map(void **state)
{
    (void)state;
    struct map map;
    map_init(&map);
    assert_null(map_any(&map));
    add_all(&map);
    size_t removed = 0;
    for (struct map_node *node; (node = map_any(&map)); removed++)
        map_remove(&map, node);
    assert_int_equal(removed, ITEMS);
    /* An emptied map can be filled again, also in the buckets that were passed. */
    add_all(&map);
    for (removed = 0; map_any(&map); removed++)
        map_remove(&map, map_any(&map));
    assert_int_equal(removed, ITEMS);
    map_done(&map);
}

static void remove_every_other(struct map_node *node, void *context)
{
    size_t *visits = context;
    struct map *map = *(struct map **)(visits + 1);
    if (++visits[0] % 2 == 0)
        map_remove(map, node);
}

static void a_visit_may_remove_its_own_node(void **state)
{
    (void)state;
    struct map map;
    map_init(&map);
    add_all(&map);
    struct {
        size_t visits;
        struct map *map;
    } context = {0, &map};
    map_each(&map, remove_every_other, &context);
    assert_int_equal(context.visits, ITEMS);
    assert_int_equal(map.count, ITEMS / 2);
    map_done(&map);
}

static void add_the_same_key_twice(void)
{
    struct map map;
    struct map_node a = {0}, b = {0};
    map_init(&map);
    map_add(&map, &a, STR("key"));
    map_add(&map, &b, STR("key"));
}

static void adding_a_key_twice_aborts(void **state)
{
    (void)state;
    struct last_words said;
    assert_true(dies(add_the_same_key_twice, &said));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_the_map_is_found_and_nothing_else),
        cmocka_unit_test(keys_may_hold_any_bytes),
        cmocka_unit_test(random_moves_agree_with_the_nodes_own_mark),
        cmocka_unit_test(removing_what_is_in_no_map_does_nothing),
        cmocka_unit_test(any_empties_a_map),
        cmocka_unit_test(a_visit_may_remove_its_own_node),
        cmocka_unit_test(adding_a_key_twice_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
