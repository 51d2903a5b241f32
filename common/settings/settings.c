/*
 * settings.c -- see settings.h.
 */
#include "common/settings/settings.h"

#include <string.h>

#include "common/app/doors_check.h"

static const struct {
    const struct conf_row *rows;
    size_t offset;
} programs[] = {
    {worker_conf_rows, offsetof(struct settings, worker)},
    {aggregator_conf_rows, offsetof(struct settings, aggregator)},
};

enum { PROGRAMS = sizeof(programs) / sizeof(programs[0]) };

static size_t count_rows(void)
{
    size_t count = 0;
    for (size_t i = 0; i < PROGRAMS; i++)
        for (const struct conf_row *row = programs[i].rows; row->key; row++)
            count++;
    return count;
}

static bool is_there(const struct conf_row *rows, const char *key)
{
    for (; rows->key; rows++)
        if (strcmp(rows->key, key) == 0)
            return true;
    return false;
}

static bool is_shared(const char *key)
{
    for (size_t i = 0; i < PROGRAMS; i++)
        if (!is_there(programs[i].rows, key))
            return false;
    return true;
}

const struct conf_row *settings_rows(struct arena *arena)
{
    struct conf_row *rows = arena_array(arena, struct conf_row, count_rows() + 1);
    size_t n = 0;
    /* What all programs share comes first, and once. */
    for (int shared = 1; shared >= 0; shared--)
        for (size_t i = 0; i < PROGRAMS; i++)
            for (const struct conf_row *row = programs[i].rows; row->key; row++) {
                if (is_shared(row->key) != (bool)shared || is_there(rows, row->key))
                    continue;
                rows[n] = *row;
                rows[n++].offset += programs[i].offset;
            }
    return rows;
}

/* What they share is filled in the worker's only, and is checked there. */
bool settings_check(const struct settings *settings, const struct conf_places *places,
                    struct err *err)
{
    return worker_conf_check(&settings->worker, places, err) &&
           doors_check_port(STR("aggregator.http_address"), settings->aggregator.app.http_address,
                            places, err);
}
