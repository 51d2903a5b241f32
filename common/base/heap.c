/*
 * heap.c -- a binary min-heap of pointers in one array.
 *
 * Each node carries the number of its insertion, which decides between equal keys; that makes the
 * order total, hence stable. node->place is kept true by put(), the only writer of the array.
 */
#include "common/base/heap.h"

#include <stdlib.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"

#define CAP_FIRST 16

static bool before(const struct heap_node *a, const struct heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->seq < b->seq;
}

static void put(struct heap *heap, size_t index, struct heap_node *node)
{
    heap->nodes[index] = node;
    node->place = index + 1;
}

/* Moves the hole at `index` towards the root until `node` may stand there. */
static void sift_up(struct heap *heap, size_t index, struct heap_node *node)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (!before(node, heap->nodes[parent]))
            break;
        put(heap, index, heap->nodes[parent]);
        index = parent;
    }
    put(heap, index, node);
}

static void sift_down(struct heap *heap, size_t index, struct heap_node *node)
{
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && before(heap->nodes[child + 1], heap->nodes[child]))
            child++;
        if (!before(heap->nodes[child], node))
            break;
        put(heap, index, heap->nodes[child]);
        index = child;
    }
    put(heap, index, node);
}

void heap_init(struct heap *heap)
{
    *heap = (struct heap){0};
}

void heap_done(struct heap *heap)
{
    for (size_t i = 0; i < heap->count; i++)
        heap->nodes[i]->place = 0;
    free(heap->nodes);
    *heap = (struct heap){0};
}

void heap_add(struct heap *heap, struct heap_node *node, int64_t key)
{
    must(!heap_linked(node));
    if (heap->count == heap->cap) {
        heap->cap = heap->cap ? heap->cap * 2 : CAP_FIRST;
        heap->nodes = xrealloc(heap->nodes, heap->cap * sizeof(struct heap_node *));
    }
    node->key = key;
    node->seq = heap->next_seq++;
    sift_up(heap, heap->count++, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    if (!heap_linked(node))
        return;
    size_t hole = node->place - 1;
    must(hole < heap->count && heap->nodes[hole] == node);
    node->place = 0;
    struct heap_node *last = heap->nodes[--heap->count];
    if (last == node)
        return;
    /* The last leaf may come from another branch, so it can have to go either way. */
    if (hole > 0 && before(last, heap->nodes[(hole - 1) / 2]))
        sift_up(heap, hole, last);
    else
        sift_down(heap, hole, last);
}

struct heap_node *heap_first(const struct heap *heap)
{
    return heap->count ? heap->nodes[0] : NULL;
}
