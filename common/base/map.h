/*
 * map.h -- intrusive hash map from a byte string to the object that holds the node.
 *
 * The key's bytes belong to the object and must stay as they are while the node is in the map.
 * Chained buckets, grown at load 1, seeded hash (str_hash). A zeroed node is in no map.
 */
#ifndef QUERN_COMMON_BASE_MAP_H
#define QUERN_COMMON_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/str.h"

struct map_node {
    struct map_node *next;
    struct str key;
    uint64_t hash;
    bool linked;
};

struct map {
    struct map_node **buckets;
    size_t bucket_count, count;
    size_t scan; /* no node sits in a bucket below */
};

void map_init(struct map *map);
void map_done(struct map *map); /* frees the buckets, not the objects */
struct map_node *map_find(const struct map *map, struct str key);
/* The key must not be there yet. */
void map_add(struct map *map, struct map_node *node, struct str key);
void map_remove(struct map *map, struct map_node *node); /* in none: does nothing */
/* Any node, NULL when empty; for tearing down. */
struct map_node *map_any(struct map *map);
/* Visits every node; the visitor may remove the node it is given, and no other. */
void map_each(struct map *map, void (*visit)(struct map_node *node, void *context), void *context);

#endif
