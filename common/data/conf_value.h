/*
 * conf_value.h -- one setting's text to its value and back; inside of conf only.
 */
#ifndef QUERN_COMMON_DATA_CONF_VALUE_H
#define QUERN_COMMON_DATA_CONF_VALUE_H

#include "common/data/conf.h"

/* Writes the member of a scalar row or of CONF_STRS (comma separated). `where` is for messages. */
bool conf_value_set(const struct conf_row *row, struct str text, const char *where,
                    struct arena *arena, void *target, struct err *err);
/* ${NAME} and ${NAME:-default}; a name that is not set and has no default is an error. */
bool conf_expand(struct str text, const char *const *environment, const char *where,
                 struct arena *arena, struct str *ret, struct err *err);
/* Absent when not there. */
struct str conf_environment_get(const char *const *environment, struct str name);
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
