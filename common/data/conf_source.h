/*
 * conf_source.h -- where the text of a setting comes from: environment and files; inside of conf
 * only.
 */
#ifndef QUERN_COMMON_DATA_CONF_SOURCE_H
#define QUERN_COMMON_DATA_CONF_SOURCE_H

#include "common/base/buf.h"
#include "common/data/conf.h"

/* Absent when not there. */
struct str conf_environment_get(const char *const *environment, struct str name);
/* "QUERN_", "kafka.bootstrap_servers" -> "QUERN_KAFKA__BOOTSTRAP_SERVERS" */
struct str conf_environment_name(struct arena *arena, struct str prefix, struct str key);
/* An item's name as one word of an environment name: "gpt-4.1" -> "GPT_4_1" */
struct str conf_environment_word(struct arena *arena, struct str name);
/* "SECURITY_PROTOCOL" -> "security.protocol" */
struct str conf_property_name(struct arena *arena, const struct conf_row *row, struct str word);
/* SASL_PASSWORD_FILE and the like name a file, unlike properties that happen to end in "file". */
bool conf_property_is_file(struct str word);

/* ${NAME} and ${NAME:-default} are replaced, $${ stands for ${ itself; a name that is not set and
 * has no default is an error. */
bool conf_expand(struct str text, const char *const *environment, const char *where,
                 struct arena *arena, struct str *ret, struct err *err);

/* The whole file; `ret` is initialized here and belongs to the caller in any case. */
bool conf_file_read(const char *path, size_t bytes_max, struct buf *ret, struct err *err);
/* A file that holds one secret; line ends behind it are cut. Errors name the file, not the text. */
bool conf_secret_read(struct str path, const char *where, struct arena *arena, struct str *ret,
                      struct err *err);

#endif
