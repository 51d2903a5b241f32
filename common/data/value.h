/*
 * value.h -- a tree of values: what JSON and MessagePack have in common.
 *
 * Values live in an arena and are immutable once built. Strings point into the arena (or into bytes
 * that outlive it). Maps keep their order; looking up is linear, maps are small. Binary strings of
 * MessagePack become VALUE_STR when they are UTF-8, else decoding fails.
 *
 * Trees from outside are at most VALUE_DEPTH_MAX deep (the readers see to it), so functions here
 * may recurse.
 */
#ifndef QUERN_COMMON_DATA_VALUE_H
#define QUERN_COMMON_DATA_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"

enum value_kind { VALUE_NULL, VALUE_BOOL, VALUE_INT, VALUE_REAL, VALUE_STR, VALUE_LIST, VALUE_MAP };

struct value_pair;

struct value {
    enum value_kind kind;
    uint32_t count; /* of list and map */
    union {
        bool truth;
        int64_t number; /* unsigned numbers above INT64_MAX become VALUE_REAL */
        double real;
        struct str text;
        const struct value *items;
        const struct value_pair *pairs;
    };
};

struct value_pair {
    struct str key;
    struct value value;
};

/* How deep a document from outside may be, and how many values and keys it may have. */
#define VALUE_DEPTH_MAX 64
#define VALUE_NODES_MAX 1000000

/* NULL when `map` is NULL, no map, or has no such key. */
const struct value *value_get(const struct value *map, struct str key);
/* Shorthands that return an absent str / the default when the key is missing or of another kind. */
struct str value_get_str(const struct value *map, const char *key);
int64_t value_get_int(const struct value *map, const char *key, int64_t otherwise);
const struct value *value_get_map(const struct value *map, const char *key);
const struct value *value_get_list(const struct value *map, const char *key);
const char *value_kind_name(enum value_kind kind); /* "null", "bool", "int", .. */
/* Same kinds and contents; the order of a map's keys does not matter. */
bool value_eq(const struct value *a, const struct value *b);

struct value_size {
    size_t bytes;   /* in MessagePack, about */
    size_t nodes;   /* values and keys */
    unsigned depth; /* levels of lists and maps; 0 for a plain value */
    bool nul;       /* U+0000 is in one of the strings or keys; PostgreSQL cannot store it */
};
struct value_size value_measure(const struct value *value);

/* False with ERR_INVALID_ENCODING when a key appears twice in the map `root` or in a map directly
 * inside it. Deeper down the first of several wins. */
bool value_check_keys(const struct value *root, struct err *err);

/* Building: a map under construction, at most `cap` pairs (must() guards it). */
struct value *value_map_new(struct arena *arena, size_t cap);
void value_map_add(struct value *map, struct str key, struct value value);
static inline struct value value_str(struct str s)
{
    return s.data ? (struct value){.kind = VALUE_STR, .text = s}
                  : (struct value){.kind = VALUE_NULL};
}
static inline struct value value_int(int64_t n)
{
    return (struct value){.kind = VALUE_INT, .number = n};
}

#endif
