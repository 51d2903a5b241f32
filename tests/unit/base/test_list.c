/*
 * Goal: a node is in at most one list, the count is true, and walking survives removal.
 */
#include "tests/unit/base/test.h"

#include "common/base/list.h"

struct item {
    int magic;
    struct list_node node;
    char name;
};

/* The names in order, forwards; checks that the way back is the same. */
static const char *names(const struct list *list)
{
    static char text[16];
    size_t len = 0;
    for (struct list_node *at = list_first(list); at; at = list_next(list, at)) {
        assert_ptr_equal(at->prev->next, at);
        assert_ptr_equal(at->next->prev, at);
        text[len++] = container_of(at, struct item, node)->name;
    }
    text[len] = '\0';
    assert_int_equal(len, list->count);
    assert_int_equal(list_empty(list), len == 0);
    return text;
}

static void nodes_join_at_both_ends_and_leave_from_anywhere(void **state)
{
    (void)state;
    struct list list;
    struct item a = {.name = 'a'}, b = {.name = 'b'}, c = {.name = 'c'};
    list_init(&list);
    assert_string_equal(names(&list), "");
    assert_null(list_first(&list));
    list_append(&list, &b.node);
    list_append(&list, &c.node);
    list_prepend(&list, &a.node);
    assert_string_equal(names(&list), "abc");
    list_remove(&list, &b.node);
    assert_string_equal(names(&list), "ac");
    assert_false(list_linked(&b.node));
    assert_true(list_linked(&a.node));
    assert_ptr_equal(list_pop(&list), &a.node);
    assert_ptr_equal(list_pop(&list), &c.node);
    assert_null(list_pop(&list));
    assert_string_equal(names(&list), "");
}

static void removing_what_is_in_no_list_does_nothing(void **state)
{
    (void)state;
    struct list list;
    struct item a = {.name = 'a'}, stranger = {.name = 's'};
    list_init(&list);
    list_append(&list, &a.node);
    list_remove(&list, &stranger.node);
    assert_string_equal(names(&list), "a");
    list_remove(&list, &a.node);
    list_remove(&list, &a.node);
    assert_string_equal(names(&list), "");
}

static void a_walk_may_remove_the_node_it_stands_on(void **state)
{
    (void)state;
    struct list list;
    struct item items[5];
    list_init(&list);
    for (int i = 0; i < 5; i++) {
        items[i] = (struct item){.name = (char)('a' + i)};
        list_append(&list, &items[i].node);
    }
    int visited = 0;
    LIST_EACH(&list, node)
    {
        visited++;
        struct item *item = container_of(node, struct item, node);
        if (item->name != 'c') {
            list_remove(&list, node);
            memset(item, 0xee, sizeof(*item));
        }
    }
    assert_int_equal(visited, 5);
    assert_string_equal(names(&list), "c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_join_at_both_ends_and_leave_from_anywhere),
        cmocka_unit_test(removing_what_is_in_no_list_does_nothing),
        cmocka_unit_test(a_walk_may_remove_the_node_it_stands_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
