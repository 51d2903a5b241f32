/*
 * Goal: the smallest key is first, equal keys leave in order of insertion, any node may leave
 * early. Method: a few cases by hand, then thousands of random moves against a naive list.
 */
#include "tests/unit/base/test.h"

#include "common/base/heap.h"
#include "common/base/rand.h"

static struct heap_node *pop(struct heap *heap)
{
    struct heap_node *node = heap_first(heap);
    if (node)
        heap_remove(heap, node);
    return node;
}

static void the_smallest_key_leaves_first(void **state)
{
    (void)state;
    static const int64_t keys[] = {5, INT64_MAX, -3, 0, INT64_MIN, 5, 2};
    static const int64_t want[] = {INT64_MIN, -3, 0, 2, 5, 5, INT64_MAX};
    struct heap heap;
    struct heap_node nodes[COUNT_OF(keys)] = {0};
    heap_init(&heap);
    assert_null(heap_first(&heap));
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        heap_add(&heap, &nodes[i], keys[i]);
    for (size_t i = 0; i < COUNT_OF(want); i++)
        assert_true(pop(&heap)->key == want[i]);
    assert_null(heap_first(&heap));
    heap_done(&heap);
}

static void equal_keys_leave_in_order_of_insertion(void **state)
{
    (void)state;
    struct heap heap;
    struct heap_node nodes[100] = {0};
    heap_init(&heap);
    for (size_t i = 0; i < 100; i++)
        heap_add(&heap, &nodes[i], (int64_t)(i % 3));
    for (size_t key = 0; key < 3; key++) {
        for (size_t i = key; i < 100; i += 3)
            assert_ptr_equal(pop(&heap), &nodes[i]);
    }
    heap_done(&heap);
}

static void removing_twice_does_nothing_and_a_node_can_come_back(void **state)
{
    (void)state;
    struct heap heap;
    struct heap_node a = {0}, b = {0};
    heap_init(&heap);
    heap_remove(&heap, &a);
    heap_add(&heap, &a, 1);
    heap_add(&heap, &b, 2);
    assert_true(heap_linked(&a));
    heap_remove(&heap, &a);
    heap_remove(&heap, &a);
    assert_false(heap_linked(&a));
    assert_int_equal(heap.count, 1);
    heap_add(&heap, &a, 3);
    assert_ptr_equal(pop(&heap), &b);
    assert_ptr_equal(pop(&heap), &a);
    heap_done(&heap);
}

static void done_takes_nodes_out(void **state)
{
    (void)state;
    struct heap heap;
    struct heap_node a = {0};
    heap_init(&heap);
    heap_add(&heap, &a, 1);
    heap_done(&heap);
    assert_false(heap_linked(&a));
}

#define NODES 200

/* The node that should be first, found the slow way. */
static struct heap_node *naive_first(struct heap_node *nodes)
{
    struct heap_node *first = NULL;
    for (size_t i = 0; i < NODES; i++) {
        struct heap_node *node = &nodes[i];
        if (heap_linked(node) && (!first || node->key < first->key ||
                                  (node->key == first->key && node->seq < first->seq)))
            first = node;
    }
    return first;
}

/* Every node comes after its parent, and knows its place. */
static void assert_is_heap(const struct heap *heap)
{
    for (size_t i = 0; i < heap->count; i++) {
        const struct heap_node *node = heap->nodes[i];
        const struct heap_node *parent = heap->nodes[i ? (i - 1) / 2 : 0];
        assert_int_equal(node->place, i + 1);
        assert_true(parent->key < node->key ||
                    (parent->key == node->key && parent->seq <= node->seq));
    }
}

static void random_moves_agree_with_a_naive_search(void **state)
{
    (void)state;
    struct heap heap;
    struct heap_node nodes[NODES] = {0};
    struct rand rand;
    heap_init(&heap);
    rand_init(&rand, 2024);
    size_t count = 0;
    for (int move = 0; move < 20000; move++) {
        struct heap_node *node = &nodes[rand_below(&rand, NODES)];
        if (heap_linked(node)) {
            heap_remove(&heap, node);
            count--;
        } else {
            heap_add(&heap, node, (int64_t)rand_below(&rand, 40));
            count++;
        }
        assert_int_equal(heap.count, count);
        assert_ptr_equal(heap_first(&heap), naive_first(nodes));
        assert_is_heap(&heap);
    }
    heap_done(&heap);
}

static void add_a_node_twice(void)
{
    struct heap heap;
    struct heap_node a = {0};
    heap_init(&heap);
    heap_add(&heap, &a, 1);
    heap_add(&heap, &a, 2);
}

static void adding_a_node_twice_aborts(void **state)
{
    (void)state;
    struct last_words said;
    assert_true(dies(add_a_node_twice, &said));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_key_leaves_first),
        cmocka_unit_test(equal_keys_leave_in_order_of_insertion),
        cmocka_unit_test(removing_twice_does_nothing_and_a_node_can_come_back),
        cmocka_unit_test(done_takes_nodes_out),
        cmocka_unit_test(random_moves_agree_with_a_naive_search),
        cmocka_unit_test(adding_a_node_twice_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
