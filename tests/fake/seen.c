/*
 * seen.c -- the counting table; see seen.h.
 *
 * Linear probing with backward-shift deletion: no tombstones, so a table that lives through
 * millions of evictions stays as quick as a new one. At most half of the places are ever used.
 */
#include "tests/fake/seen.h"

#include "tests/fake/buf.h"

#include <stdlib.h>

/* Keys are hashes already, but FNV's low bits are its weakest, so fold the high ones in. */
static size_t home(const struct seen *seen, uint64_t key)
{
    return (size_t)((key ^ (key >> 32)) * 0x9e3779b97f4a7c15ULL >> 20) & seen->mask;
}

static uint64_t usable(uint64_t key)
{
    return key ? key : 1; /* 0 marks a free place */
}

static size_t place_of(const struct seen *seen, uint64_t key)
{
    size_t at = home(seen, key);
    while (seen->entries[at].key && seen->entries[at].key != key)
        at = (at + 1) & seen->mask;
    return at;
}

void seen_init(struct seen *seen, size_t keys_max)
{
    size_t places = 16;
    while (places < keys_max * 2)
        places *= 2;
    *seen = (struct seen){.entries = xcalloc(places, sizeof(struct seen_entry)),
                          .mask = places - 1,
                          .keys_max = keys_max};
}

void seen_done(struct seen *seen)
{
    free(seen->entries);
    *seen = (struct seen){0};
}

struct seen_entry *seen_find(struct seen *seen, uint64_t key)
{
    struct seen_entry *entry = &seen->entries[place_of(seen, usable(key))];
    return entry->key ? entry : NULL;
}

struct seen_entry *seen_put(struct seen *seen, uint64_t key)
{
    key = usable(key);
    struct seen_entry *entry = &seen->entries[place_of(seen, key)];
    if (entry->key)
        return entry;
    if (seen->used == seen->keys_max)
        return NULL;
    entry->key = key;
    seen->used++;
    return entry;
}

void seen_drop(struct seen *seen, uint64_t key)
{
    size_t hole = place_of(seen, usable(key));
    if (!seen->entries[hole].key)
        return;
    seen->used--;
    /* Pull back every later entry of the run that may stand in the hole: one whose home is not
     * between the hole (exclusive) and its own place. */
    for (size_t at = (hole + 1) & seen->mask; seen->entries[at].key; at = (at + 1) & seen->mask) {
        size_t from_home = (at - home(seen, seen->entries[at].key)) & seen->mask;
        size_t from_hole = (at - hole) & seen->mask;
        if (from_home >= from_hole) {
            seen->entries[hole] = seen->entries[at];
            hole = at;
        }
    }
    seen->entries[hole] = (struct seen_entry){0};
}

void seen_clear(struct seen *seen)
{
    memset(seen->entries, 0, (seen->mask + 1) * sizeof(struct seen_entry));
    seen->used = 0;
}
