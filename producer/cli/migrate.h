/*
 * migrate.h -- the files of schemas/sql, built into the program, and which of them a database has.
 */
#ifndef QUERN_PRODUCER_CLI_MIGRATE_H
#define QUERN_PRODUCER_CLI_MIGRATE_H

#include "producer/cli/cli.h"
#include "producer/cli/table.h"

struct migration {
    int version;
    const char *name; /* "core" of 0001_core.sql */
    const char *sql;
};
extern const struct migration migrations[]; /* in order, ended by version 0 */

struct migration_state {
    struct table table; /* version, name, state, applied at */
    int applied, pending, changed, unknown;
    bool known[10000]; /* applied, by version */
};

/* What the table schema_migrations says; a database without it has none applied. */
bool migrate_look(struct cli *cli, struct postgres_session *session, struct migration_state *ret,
                  struct err *err);

#endif
