/*
 * conf_places.c -- see conf_places.h.
 *
 * A list, as it is only searched when something is wrong. Of two places for one key the later one
 * counts, as the stronger source is read last.
 */
#include "common/data/conf_places.h"

#include <stdarg.h>
#include <stdio.h>

void conf_places_add(struct conf_places *places, struct arena *arena, struct str key,
                     const char *where)
{
    struct conf_place *place = arena_new(arena, struct conf_place);
    *place = (struct conf_place){.key = key, .where = where, .next = places->first};
    places->first = place;
}

/* "routes.fast.models[2]" -> "routes.fast.models" -> "routes.fast" -> "routes" -> nothing */
static struct str outer(struct str key)
{
    while (key.len && key.data[key.len - 1] != '.' && key.data[key.len - 1] != '[')
        key.len--;
    key.len -= key.len > 0;
    return key;
}

const char *conf_place(const struct conf_places *places, struct str key)
{
    for (; places && key.len; key = outer(key))
        for (const struct conf_place *place = places->first; place; place = place->next)
            if (str_eq(place->key, key))
                return place->where;
    return NULL;
}

struct conf_aside conf_aside(const struct conf_places *places, struct str key)
{
    struct conf_aside aside = {""};
    const char *where = conf_place(places, key);
    if (where)
        snprintf(aside.text, sizeof(aside.text), " (%.*s)", (int)sizeof(aside.text) - 4, where);
    return aside;
}

bool conf_refuse(const struct conf_places *places, struct str key, struct err *err,
                 const char *format, ...)
{
    const char *where = conf_place(places, key);
    struct str shown = str_utf8_cut(key, 160);
    char why[sizeof(err->text)];
    va_list args;

    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    err_set(err, ERR_CONFIG, "%s%s'" STR_FMT "' %s", where ? where : "", where ? ": " : "",
            STR_ARG(shown), why);
    return false;
}
