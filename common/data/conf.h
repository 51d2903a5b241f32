/*
 * conf.h -- configuration as one table per program: key, type, default, bounds, sentence, place.
 *
 * Sources, later ones win: defaults of the table, the YAML file, the environment
 * (QUERN_KAFKA__BOOTSTRAP_SERVERS for kafka.bootstrap_servers; SOMETHING_FILE names a file that
 * holds the value; secrets also as files of $CREDENTIALS_DIRECTORY), flags. ${NAME} and
 * ${NAME:-default} in YAML strings are expanded from the environment. An unknown key, flag or
 * QUERN_ variable is an error with its place and the nearest name.
 *
 * Besides plain rows there are two open shapes: a MAP of free string properties (kafka.properties)
 * and a LIST of maps whose items have a table of their own (models). The parser, `--help`, the
 * sample file, the reference page and the redacted print all read the same tables.
 *
 * The values live in memory of the caller and in the arena it gives. A reload makes a second struct
 * and swaps; rows that are not reloadable keep their old values and are reported.
 */
#ifndef QUERN_COMMON_DATA_CONF_H
#define QUERN_COMMON_DATA_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/data/conf_places.h"

enum conf_type {
    CONF_STR,      /* struct str */
    CONF_SECRET,   /* struct str; redacted in print; also KEY_file; registered with log_redact */
    CONF_INT,      /* int64_t */
    CONF_BYTES,    /* int64_t; "64KiB", "16MiB", "1000000" */
    CONF_DURATION, /* int64_t milliseconds; "500ms", "30s", "5m", "24h", "0" */
    CONF_REAL,     /* double */
    CONF_BOOL,     /* bool; true/false/on/off/yes/no */
    CONF_ENUM,     /* struct str, one of `choices` ("a|b|c") */
    CONF_STRS,     /* struct conf_strs; YAML list, or comma separated in the environment */
    CONF_SECRETS,  /* struct conf_strs; as both: a list of secrets, in KEY_file one a line */
    CONF_PROPS,    /* struct conf_props; free map of string to string */
    CONF_ITEMS,    /* struct conf_items; YAML list of maps, or map of name to map */
};

struct conf_strs {
    struct str *items;
    size_t count;
};

struct conf_props {
    struct str *keys, *values;
    size_t count;
};

struct conf_items {
    void *items; /* array of `item_size` structs as told by the row */
    size_t count;
};

struct conf_row {
    const char *key; /* "worker.max_in_flight"; inside items: "name" */
    enum conf_type type;
    const char *otherwise; /* default as text; NULL: required; "": empty */
    int64_t min, max;      /* of numbers, bytes and durations; both 0: unbounded */
    const char
        *choices; /* of CONF_ENUM; of CONF_PROPS: what '_' means in the environment, NULL: "." */
    bool reloadable;
    size_t offset;                /* offsetof(struct ..., member) */
    const struct conf_row *items; /* of CONF_ITEMS: the item's rows, ended by key NULL */
    size_t item_size;
    const char *sentence; /* for --help, sample and reference page */
};

struct conf_flag { /* from -X kafka.property=value or --set key=value */
    const char *key;
    const char *value;
};

struct conf_source {
    const char *file;               /* NULL: none */
    const char *const *environment; /* environ-style, NULL ended; NULL: none */
    const struct conf_flag *flags;
    size_t flag_count;
    const char *const *variables; /* QUERN_ names that are no settings, NULL ended; NULL: none */
    /* Whether some other system has set such a variable; NULL: none has. */
    bool (*is_foreign)(struct str name, struct str value);
    const char *ignore_prefixes; /* "worker,aggregator": top-level sections of other programs that
                                    this program accepts without a look; NULL: none */
    struct conf_places *places;  /* is told where every setting stands; NULL: nobody asks */
};

/* Fills the struct at `target`. Everything it points to lives in `arena`, strings with a NUL behind
 * them. Errors: ERR_CONFIG with "FILE:LINE: unknown key 'worker.max_inflight', did you mean
 * 'worker.max_in_flight'?" */
bool conf_load(const struct conf_row *rows, const struct conf_source *source, struct arena *arena,
               void *target, struct err *err);

/* Names of the rows that differ and are not reloadable, comma separated; empty when none. */
struct str conf_fixed_changes(const struct conf_row *rows, const void *old, const void *new,
                              struct arena *arena);
/* Puts the old values of rows that are not reloadable into `new`; copies go to its `arena`. */
void conf_keep_fixed(const struct conf_row *rows, const void *old, void *new, struct arena *arena);

/* Calls `each` for every secret that is set: secret rows, those of items, and properties whose name
 * speaks of a password, a key or a token. */
void conf_each_secret(const struct conf_row *rows, const void *target,
                      void (*each)(struct str secret, void *context), void *context);

/* YAML of the values in force, secrets as "***". */
void conf_print(const struct conf_row *rows, const void *target, struct buf *ret);
/* A sample file, every setting with its default and commented out; a Markdown reference table. */
void conf_sample(const struct conf_row *rows, struct buf *ret);
void conf_reference(const struct conf_row *rows, struct buf *ret);
/* JSON Schema (draft 2020-12) of the file, for editors. */
void conf_json_schema(const struct conf_row *rows, const char *title, struct buf *ret);

#endif
