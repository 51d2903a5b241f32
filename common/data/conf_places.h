/*
 * conf_places.h -- where each setting of a loaded configuration stands, for checks that look at
 * several of them.
 *
 * conf_load() fills it when conf_source.places points to one. A key is the full name as messages
 * have it ("routes.fast.models"); of a list each value has a place of its own
 * ("routes.fast.models[2]"), of a map of maps each item ("models.large") and the map itself.
 * Everything lives in the arena of the load.
 */
#ifndef QUERN_COMMON_DATA_CONF_PLACES_H
#define QUERN_COMMON_DATA_CONF_PLACES_H

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"

struct conf_place {
    struct str key;
    const char *where; /* "FILE:LINE", "environment NAME", "command line" */
    const struct conf_place *next;
};

struct conf_places {
    const struct conf_place *first;
};

/* `where` must live as long as the arena. */
void conf_places_add(struct conf_places *places, struct arena *arena, struct str key,
                     const char *where);
/* The key's own place; where it has none, that of what it stands in: "models.large.http" is at
 * "models.large" while its value is the default. NULL: nothing of it was set. `places` may be NULL.
 */
const char *conf_place(const struct conf_places *places, struct str key);

/* A place that stands in brackets behind what is said of something else: " (FILE:LINE)", or "". */
struct conf_aside {
    char text[160];
};
struct conf_aside conf_aside(const struct conf_places *places, struct str key);

/* Sets ERR_CONFIG "PLACE: 'KEY' WHY" and returns false. */
bool conf_refuse(const struct conf_places *places, struct str key, struct err *err,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
