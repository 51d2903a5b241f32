/*
 * value.c -- looking into value trees, comparing and measuring them.
 */
#include "common/data/value.h"

#include "common/base/must.h"
#include "common/base/xalloc.h"

/* Maps up to this size are searched for duplicates pair by pair, larger ones with a hash table. */
#define PAIRWISE_MAX 24

const struct value *value_get(const struct value *map, struct str key)
{
    if (!map || map->kind != VALUE_MAP)
        return NULL;
    for (uint32_t i = 0; i < map->count; i++) {
        if (str_eq(map->pairs[i].key, key))
            return &map->pairs[i].value;
    }
    return NULL;
}

static const struct value *get_kind(const struct value *map, const char *key, enum value_kind kind)
{
    const struct value *value = value_get(map, str_of(key));
    return value && value->kind == kind ? value : NULL;
}

struct str value_get_str(const struct value *map, const char *key)
{
    const struct value *value = get_kind(map, key, VALUE_STR);
    return value ? value->text : (struct str){NULL, 0};
}

int64_t value_get_int(const struct value *map, const char *key, int64_t otherwise)
{
    const struct value *value = get_kind(map, key, VALUE_INT);
    return value ? value->number : otherwise;
}

const struct value *value_get_map(const struct value *map, const char *key)
{
    return get_kind(map, key, VALUE_MAP);
}

const struct value *value_get_list(const struct value *map, const char *key)
{
    return get_kind(map, key, VALUE_LIST);
}

const char *value_kind_name(enum value_kind kind)
{
    static const char *const names[] = {
        [VALUE_NULL] = "null", [VALUE_BOOL] = "bool", [VALUE_INT] = "int", [VALUE_REAL] = "real",
        [VALUE_STR] = "str",   [VALUE_LIST] = "list", [VALUE_MAP] = "map",
    };
    must((size_t)kind < sizeof(names) / sizeof(names[0]));
    return names[kind];
}

static bool lists_eq(const struct value *a, const struct value *b)
{
    for (uint32_t i = 0; i < a->count; i++) {
        if (!value_eq(&a->items[i], &b->items[i]))
            return false;
    }
    return true;
}

static bool maps_eq(const struct value *a, const struct value *b)
{
    for (uint32_t i = 0; i < a->count; i++) {
        /* Most often both maps have one order; look in the same place first. */
        const struct value *other = str_eq(a->pairs[i].key, b->pairs[i].key)
                                        ? &b->pairs[i].value
                                        : value_get(b, a->pairs[i].key);
        if (!other || !value_eq(&a->pairs[i].value, other))
            return false;
    }
    return true;
}

bool value_eq(const struct value *a, const struct value *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case VALUE_NULL:
        return true;
    case VALUE_BOOL:
        return a->truth == b->truth;
    case VALUE_INT:
        return a->number == b->number;
    case VALUE_REAL:
        return a->real == b->real;
    case VALUE_STR:
        return str_eq(a->text, b->text);
    case VALUE_LIST:
        return a->count == b->count && lists_eq(a, b);
    case VALUE_MAP:
        return a->count == b->count && maps_eq(a, b);
    }
    must_not_reach("kind of value");
}

static void measure_str(struct str s, struct value_size *size)
{
    size->bytes += s.len + (s.len < 32 ? 1 : s.len < 256 ? 2 : s.len < 65536 ? 3 : 5);
    size->nul |= s.len > 0 && memchr(s.data, '\0', s.len);
}

static size_t int_bytes(int64_t n)
{
    if (n >= -32 && n < 128)
        return 1;
    if (n >= INT8_MIN && n <= UINT8_MAX)
        return 2;
    if (n >= INT16_MIN && n <= UINT16_MAX)
        return 3;
    return n >= INT32_MIN && n <= UINT32_MAX ? 5 : 9;
}

static void measure(const struct value *value, unsigned depth, struct value_size *size)
{
    size->nodes++;
    switch (value->kind) {
    case VALUE_NULL:
    case VALUE_BOOL:
        size->bytes += 1;
        return;
    case VALUE_INT:
        size->bytes += int_bytes(value->number);
        return;
    case VALUE_REAL:
        size->bytes += 9;
        return;
    case VALUE_STR:
        measure_str(value->text, size);
        return;
    case VALUE_LIST:
    case VALUE_MAP:
        break;
    }
    depth++;
    if (depth > size->depth)
        size->depth = depth;
    size->bytes += value->count < 16 ? 1 : value->count < 65536 ? 3 : 5;
    for (uint32_t i = 0; i < value->count; i++) {
        if (value->kind == VALUE_LIST) {
            measure(&value->items[i], depth, size);
        } else {
            size->nodes++;
            measure_str(value->pairs[i].key, size);
            measure(&value->pairs[i].value, depth, size);
        }
    }
}

struct value_size value_measure(const struct value *value)
{
    struct value_size size = {0};
    measure(value, 0, &size);
    return size;
}

static const struct str *duplicate_pairwise(const struct value *map)
{
    for (uint32_t i = 1; i < map->count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (str_eq(map->pairs[i].key, map->pairs[j].key))
                return &map->pairs[i].key;
        }
    }
    return NULL;
}

/* Open addressing over indices + 1; half of the table stays empty. */
static const struct str *duplicate_hashed(const struct value *map)
{
    size_t mask = 64;
    while (mask < (size_t)map->count * 2)
        mask *= 2;
    uint32_t *slots = xcalloc(mask, sizeof(*slots));
    mask--;

    const struct str *found = NULL;
    for (uint32_t i = 0; i < map->count && !found; i++) {
        const struct str *key = &map->pairs[i].key;
        size_t at = str_hash(*key) & mask;
        while (slots[at] && !str_eq(map->pairs[slots[at] - 1].key, *key))
            at = (at + 1) & mask;
        if (slots[at])
            found = key;
        slots[at] = i + 1;
    }
    free(slots);
    return found;
}

static bool keys_unique(const struct value *map, struct err *err)
{
    const struct str *twice =
        map->count <= PAIRWISE_MAX ? duplicate_pairwise(map) : duplicate_hashed(map);
    if (!twice)
        return true;
    struct str shown = str_utf8_cut(*twice, 64);
    err_set(err, ERR_INVALID_ENCODING, "key '" STR_FMT "' appears twice", STR_ARG(shown));
    return false;
}

bool value_check_keys(const struct value *root, struct err *err)
{
    if (root->kind != VALUE_MAP)
        return true;
    if (!keys_unique(root, err))
        return false;
    for (uint32_t i = 0; i < root->count; i++) {
        const struct value *inner = &root->pairs[i].value;
        if (inner->kind == VALUE_MAP && !keys_unique(inner, err))
            return false;
    }
    return true;
}

/* A map's first pairs are written while it is built; the capacity is not stored in the value, so it
 * is kept in front of the pairs. */
struct building {
    size_t cap;
    size_t pad; /* keeps the pairs 16-byte aligned */
    struct value_pair pairs[];
};

struct value *value_map_new(struct arena *arena, size_t cap)
{
    must(cap <= UINT32_MAX);
    struct building *building =
        arena_alloc(arena, sizeof(*building) + cap * sizeof(struct value_pair));
    building->cap = cap;
    struct value *map = arena_new(arena, struct value);
    map->kind = VALUE_MAP;
    map->pairs = building->pairs;
    return map;
}

void value_map_add(struct value *map, struct str key, struct value value)
{
    must(map->kind == VALUE_MAP && key.data);
    struct building *building =
        (struct building *)((char *)(uintptr_t)map->pairs - offsetof(struct building, pairs));
    must(map->count < building->cap);
    building->pairs[map->count++] = (struct value_pair){key, value};
}
