/*
 * map.c -- chained hash map over a power of two of buckets.
 *
 * The hash is kept in the node, so growing touches no key and a lookup compares bytes only when all
 * 64 bits agree. The table never shrinks: a map that was once large will be again. `scan` is a
 * lower bound of the first bucket in use, which keeps emptying a map through map_any() linear.
 */
#include "common/base/map.h"

#include <stdlib.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"

#define BUCKETS_FIRST 16

static size_t bucket_of(const struct map *map, uint64_t hash)
{
    return (size_t)hash & (map->bucket_count - 1);
}

static void link_node(struct map *map, struct map_node *node)
{
    size_t bucket = bucket_of(map, node->hash);
    node->next = map->buckets[bucket];
    map->buckets[bucket] = node;
    if (bucket < map->scan)
        map->scan = bucket;
}

static void grow(struct map *map)
{
    struct map_node **old = map->buckets;
    size_t old_count = map->bucket_count;
    map->bucket_count = old_count ? old_count * 2 : BUCKETS_FIRST;
    map->buckets = xcalloc(map->bucket_count, sizeof(struct map_node *));
    map->scan = map->bucket_count;
    for (size_t i = 0; i < old_count; i++) {
        for (struct map_node *node = old[i], *next; node; node = next) {
            next = node->next;
            link_node(map, node);
        }
    }
    free(old);
}

void map_init(struct map *map)
{
    *map = (struct map){0};
}

void map_done(struct map *map)
{
    free(map->buckets);
    *map = (struct map){0};
}

struct map_node *map_find(const struct map *map, struct str key)
{
    if (map->count == 0)
        return NULL;
    uint64_t hash = str_hash(key);
    struct map_node *node = map->buckets[bucket_of(map, hash)];
    while (node && !(node->hash == hash && str_eq(node->key, key)))
        node = node->next;
    return node;
}

void map_add(struct map *map, struct map_node *node, struct str key)
{
    must(!node->linked);
    must(!map_find(map, key));
    if (map->count == map->bucket_count)
        grow(map);
    node->key = key;
    node->hash = str_hash(key);
    node->linked = true;
    link_node(map, node);
    map->count++;
}

void map_remove(struct map *map, struct map_node *node)
{
    if (!node->linked)
        return;
    struct map_node **at = &map->buckets[bucket_of(map, node->hash)];
    while (*at != node) {
        must(*at && "the node is in another map");
        at = &(*at)->next;
    }
    *at = node->next;
    *node = (struct map_node){0};
    map->count--;
}

struct map_node *map_any(struct map *map)
{
    if (map->count == 0)
        return NULL;
    while (!map->buckets[map->scan])
        map->scan++;
    return map->buckets[map->scan];
}

void map_each(struct map *map, void (*visit)(struct map_node *node, void *context), void *context)
{
    for (size_t i = 0; i < map->bucket_count; i++) {
        for (struct map_node *node = map->buckets[i], *next; node; node = next) {
            next = node->next;
            visit(node, context);
        }
    }
}
