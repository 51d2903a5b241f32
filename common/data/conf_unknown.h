/*
 * conf_unknown.h -- names in the file, on the command line and in the environment that no
 * row takes; inside of conf
 * only.
 */
#ifndef QUERN_COMMON_DATA_CONF_UNKNOWN_H
#define QUERN_COMMON_DATA_CONF_UNKNOWN_H

#include "common/data/conf.h"
#include "common/data/conf_tree.h"

/* False and ERR_CONFIG with the nearest name when there is one. `root` may be NULL. */
bool conf_check_names(const struct conf_row *rows, const struct conf_source *source,
                      const struct conf_node *root, struct arena *arena, struct err *err);
/* The same for QUERN_ variables: `target` is filled, as the names of items stand in theirs. */
bool conf_check_environment(const struct conf_row *rows, const struct conf_source *source,
                            const void *target, struct arena *arena, struct err *err);

#endif
