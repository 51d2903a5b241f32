/*
 * heap.h -- intrusive binary min-heap on an int64 key; equal keys leave in order of insertion.
 *
 * Nodes know their place, so removal and re-keying are O(log n). A zeroed node is in no heap.
 */
#ifndef QUERN_COMMON_BASE_HEAP_H
#define QUERN_COMMON_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    int64_t key;
    uint64_t seq;
    size_t place; /* index + 1; 0 means in no heap */
};

struct heap {
    struct heap_node **nodes;
    size_t count, cap;
    uint64_t next_seq;
};

void heap_init(struct heap *heap);
void heap_done(struct heap *heap);
void heap_add(struct heap *heap, struct heap_node *node, int64_t key); /* node must be in none */
void heap_remove(struct heap *heap, struct heap_node *node);           /* in none: does nothing */
struct heap_node *heap_first(const struct heap *heap);                 /* NULL when empty */
static inline bool heap_linked(const struct heap_node *node)
{
    return node->place != 0;
}

#endif
