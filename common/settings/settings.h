/*
 * settings.h -- the whole configuration file: the tables of all programs, one behind the other.
 *
 * Each program reads its own sections and the shared ones; `quern config` checks, prints and
 * documents all of them at once.
 *
 * To add a program: a folder of its own, its <name>_conf.[ch] here, and a row in settings.c.
 */
#ifndef QUERN_COMMON_SETTINGS_SETTINGS_H
#define QUERN_COMMON_SETTINGS_SETTINGS_H

#include "common/settings/aggregator_conf.h"
#include "common/settings/worker_conf.h"

struct settings {
    struct worker_conf worker;
    struct aggregator_conf aggregator;
};

/* All rows, offsets into struct settings, each key once: what programs share is filled in `worker`.
 * In the arena, ended by key NULL. */
const struct conf_row *settings_rows(struct arena *arena);
/* What the programs check themselves. */
bool settings_check(const struct settings *settings, const struct conf_places *places,
                    struct err *err);

#endif
