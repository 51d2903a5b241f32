/*
 * seen.c -- see seen.h. Open addressing with linear probing, at most half full.
 */
#include "producer/batch/seen.h"

#include <stdlib.h>

#include "common/base/xalloc.h"
#include "common/data/digest.h"

enum { CAP_MIN = 1024 };

static struct seen_name name_of(struct str text)
{
    unsigned char digest[DIGEST_BYTES];
    struct seen_name name;
    digest_sha256(text, digest);
    memcpy(&name.a, digest, sizeof(name.a));
    memcpy(&name.b, digest + sizeof(name.a), sizeof(name.b));
    name.b |= 1; /* never both 0 */
    return name;
}

static struct seen_name *place_of(const struct seen *seen, struct seen_name name)
{
    size_t i = (size_t)name.a & (seen->cap - 1);
    while (seen->names[i].b && (seen->names[i].a != name.a || seen->names[i].b != name.b))
        i = (i + 1) & (seen->cap - 1);
    return &seen->names[i];
}

static void grow(struct seen *seen)
{
    struct seen larger = {.cap = seen->cap ? seen->cap * 2 : CAP_MIN, .count = seen->count};
    larger.names = xcalloc(larger.cap, sizeof(*larger.names));
    for (size_t i = 0; i < seen->cap; i++)
        if (seen->names[i].b)
            *place_of(&larger, seen->names[i]) = seen->names[i];
    free(seen->names);
    *seen = larger;
}

void seen_init(struct seen *seen)
{
    *seen = (struct seen){0};
}

void seen_done(struct seen *seen)
{
    free(seen->names);
    seen_init(seen);
}

bool seen_has(const struct seen *seen, struct str name)
{
    return seen->count > 0 && place_of(seen, name_of(name))->b != 0;
}

bool seen_add(struct seen *seen, struct str text)
{
    struct seen_name name = name_of(text);
    if (seen->count * 2 >= seen->cap)
        grow(seen);
    struct seen_name *place = place_of(seen, name);
    if (place->b)
        return false;
    *place = name;
    seen->count++;
    return true;
}
