/*
 * conf_value.h -- one setting's text to its value and back; inside of conf only.
 */
#ifndef QUERN_COMMON_DATA_CONF_VALUE_H
#define QUERN_COMMON_DATA_CONF_VALUE_H

#include "common/data/conf.h"

/* Writes the member of a scalar row or of CONF_STRS (comma separated). `key` is the full name and
 * `where` the place the text comes from, for messages. */
bool conf_value_set(const struct conf_row *row, struct str key, struct str text, const char *where,
                    struct arena *arena, void *target, struct err *err);
/* Whether what is set there must not be shown. */
bool conf_is_secret(const struct conf_row *row);
/* Whether a free property or header of this name holds something that must not be shown. */
bool conf_is_secret_name(struct str name);
/* The value as it would stand in a file, without quotes; secrets as they are. */
void conf_value_write(const struct conf_row *row, const void *target, struct buf *ret);

static inline void *conf_member(const struct conf_row *row, void *target)
{
    return (char *)target + row->offset;
}

static inline const void *conf_member_const(const struct conf_row *row, const void *target)
{
    return (const char *)target + row->offset;
}

#endif
