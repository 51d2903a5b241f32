/*
 * list.h -- intrusive doubly linked list; membership is state.
 *
 * A node sits in at most one list; list_remove() on a node that is in none is allowed and does
 * nothing, so "take it off whatever list it is on" needs no test. Heads and nodes start with
 * list_init() (zeroed nodes also count as "in no list").
 */
#ifndef QUERN_COMMON_BASE_LIST_H
#define QUERN_COMMON_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *prev, *next;
};

struct list {
    struct list_node head;
    size_t count;
};

#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

static inline void list_init(struct list *list)
{
    list->head.prev = list->head.next = &list->head;
    list->count = 0;
}

static inline bool list_empty(const struct list *list)
{
    return list->count == 0;
}

static inline bool list_linked(const struct list_node *node)
{
    return node->next != NULL;
}

static inline void list_insert_between(struct list *list, struct list_node *node,
                                       struct list_node *prev, struct list_node *next)
{
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
    list->count++;
}

static inline void list_append(struct list *list, struct list_node *node)
{
    list_insert_between(list, node, list->head.prev, &list->head);
}

static inline void list_prepend(struct list *list, struct list_node *node)
{
    list_insert_between(list, node, &list->head, list->head.next);
}

/* The node must be in `list` or in none. */
static inline void list_remove(struct list *list, struct list_node *node)
{
    if (!list_linked(node))
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->prev = node->next = NULL;
    list->count--;
}

static inline struct list_node *list_first(const struct list *list)
{
    return list->count ? list->head.next : NULL;
}

static inline struct list_node *list_pop(struct list *list)
{
    struct list_node *node = list_first(list);
    if (node)
        list_remove(list, node);
    return node;
}

static inline struct list_node *list_next(const struct list *list, const struct list_node *node)
{
    return node->next == &list->head ? NULL : node->next;
}

/* `next` is read before the body runs, so the body may remove or free `node`. */
#define LIST_EACH(list, node)                                                                      \
    for (struct list_node *node = (list)->head.next, *next_##node;                                 \
         node != &(list)->head && (next_##node = node->next, true); node = next_##node)

#endif
