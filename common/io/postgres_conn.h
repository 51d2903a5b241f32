/*
 * postgres_conn.h -- what the pipelined connection and the command line's session have in common:
 * how to connect, and how to read results. Only for common/io/postgres*.c.
 */
#ifndef QUERN_COMMON_IO_POSTGRES_CONN_H
#define QUERN_COMMON_IO_POSTGRES_CONN_H

#include "common/io/postgres.h"

struct pg_conn;   /* libpq's PGconn */
struct pg_result; /* libpq's PGresult */

#define POSTGRES_CONN_PARAMS 12

/* Arguments for PQconnect..Params() with expand_dbname. */
struct postgres_conn_params {
    const char *keys[POSTGRES_CONN_PARAMS];
    const char *values[POSTGRES_CONN_PARAMS];
    char *conninfo, *password, *application_name;
};

/* False (ERR_CONFIG) when the conninfo cannot be understood; the text never repeats it. */
bool postgres_conn_params_init(struct postgres_conn_params *params,
                               const struct postgres_conf *conf, struct err *err);
void postgres_conn_params_done(struct postgres_conn_params *params);

/* ERR_UNAVAILABLE with libpq's own words, in one line. */
void postgres_conn_error(const struct pg_conn *conn, const char *doing, struct err *err);
/* The server's refusal. True: the connection must not be used any more. */
bool postgres_result_error(const struct pg_result *result, struct err *err, char sqlstate[6]);
void postgres_rows_of(const struct pg_result *result, struct postgres_rows *ret);

#endif
