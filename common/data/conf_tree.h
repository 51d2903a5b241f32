/*
 * conf_tree.h -- a YAML file as a small tree with line numbers; inside of conf only.
 *
 * Limits: 16 levels, 20,000 nodes, one document, no aliases, no key twice in one map.
 */
#ifndef QUERN_COMMON_DATA_CONF_TREE_H
#define QUERN_COMMON_DATA_CONF_TREE_H

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/err.h"

enum conf_node_kind { CONF_NODE_SCALAR, CONF_NODE_LIST, CONF_NODE_MAP };

struct conf_node {
    enum conf_node_kind kind;
    struct str key;  /* in its map; absent in a list */
    struct str text; /* of a scalar; absent: null (`key:` or ~) */
    unsigned line;
    struct conf_node *first, *last, *next; /* children, next sibling */
};

/* `name` is for messages. An empty file is an empty map. Fails with ERR_CONFIG. The tree keeps
 * nothing of `text`. */
bool conf_tree_read(struct str text, const char *name, struct arena *arena, struct conf_node **ret,
                    struct err *err);
struct conf_node *conf_node_child(const struct conf_node *map, struct str key); /* or NULL */
/* `key:` with nothing behind it, which stands for an empty map or list as well. */
static inline bool conf_node_is_null(const struct conf_node *node)
{
    return node->kind == CONF_NODE_SCALAR && !node->text.data;
}

#endif
