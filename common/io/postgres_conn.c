/*
 * postgres_conn.c -- connection parameters, errors and rows, as libpq wants and gives them.
 *
 * Parameters before `dbname` are defaults that the operator's conninfo may override; those after it
 * are ours. PG* variables, service files and PGPASSFILE fill what nobody said. libpq resolves host
 * names while it connects and waits for the resolver; `hostaddr` in the conninfo avoids that.
 */
#include "common/io/postgres_conn.h"

#include <libpq-fe.h>

#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/postgres_error.h"

static void add(struct postgres_conn_params *params, size_t *at, const char *key, const char *value)
{
    must(*at + 1 < POSTGRES_CONN_PARAMS);
    params->keys[*at] = key;
    params->values[*at] = value;
    (*at)++;
}

bool postgres_conn_params_init(struct postgres_conn_params *params,
                               const struct postgres_conf *conf, struct err *err)
{
    *params = (struct postgres_conn_params){0};
    params->conninfo = xstrndup(conf->conninfo.data ? conf->conninfo : STR(""));
    if (!postgres_conninfo_check(conf->conninfo, err)) {
        err_prefix(err, "postgres.conninfo");
        postgres_conn_params_done(params);
        return false;
    }
    params->application_name =
        xstrndup(str_empty(conf->application_name) ? STR("quern") : conf->application_name);
    size_t at = 0;
    add(params, &at, "fallback_application_name", params->application_name);
    add(params, &at, "keepalives_idle", "30");
    add(params, &at, "keepalives_interval", "10");
    add(params, &at, "keepalives_count", "3");
    add(params, &at, "dbname", params->conninfo);
    add(params, &at, "client_encoding", "UTF8");
    if (!str_empty(conf->password)) {
        params->password = xstrndup(conf->password);
        log_redact(conf->password);
        add(params, &at, "password", params->password);
    }
    return true;
}

static void free_secret(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void postgres_conn_params_done(struct postgres_conn_params *params)
{
    free_secret(params->conninfo);
    free_secret(params->password);
    free(params->application_name);
    *params = (struct postgres_conn_params){0};
}

void postgres_conn_error(const struct pg_conn *conn, const char *doing, struct err *err)
{
    struct str words = str_utf8_cut(str_of(conn ? PQerrorMessage(conn) : "out of memory"), 256);
    char text[257];
    memcpy(text, words.data, words.len);
    text[words.len] = '\0';
    postgres_error_join(text);
    err_set(err, ERR_UNAVAILABLE, "postgresql: %s: %s", doing, text[0] ? text : "connection lost");
}

bool postgres_result_error(const struct pg_result *result, struct err *err, char sqlstate[6])
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    sqlstate[0] = '\0';
    if (state && strlen(state) == 5)
        memcpy(sqlstate, state, 6);
    if (state)
        return postgres_error(state, severity, message, err);
    /* Not from the server: libpq made this result up because the connection broke. Its first line
     * says what happened, the others guess. */
    struct str words = str_of(PQresultErrorMessage(result));
    words = str_slice(words, 0, str_index(words, '\n'));
    err_set(err, ERR_UNAVAILABLE, "postgresql: %.*s", words.len ? (int)words.len : 15,
            words.len ? words.data : "connection lost");
    return true;
}

static uint64_t affected(const PGresult *result)
{
    int64_t count = 0;
    if (strncmp(PQcmdStatus((PGresult *)(uintptr_t)result), "SELECT", 6) != 0)
        str_to_i64(str_of(PQcmdTuples((PGresult *)(uintptr_t)result)), 0, INT64_MAX, &count);
    return (uint64_t)count;
}

void postgres_rows_of(const struct pg_result *result, struct postgres_rows *ret)
{
    *ret = (struct postgres_rows){
        .count = (size_t)PQntuples(result),
        .columns = (size_t)PQnfields(result),
        .affected = affected(result),
        .handle = result,
    };
}

bool postgres_is_null(const struct postgres_rows *rows, size_t row, size_t column)
{
    must(row < rows->count && column < rows->columns);
    return PQgetisnull(rows->handle, (int)row, (int)column) != 0;
}

struct str postgres_cell(const struct postgres_rows *rows, size_t row, size_t column)
{
    if (postgres_is_null(rows, row, column))
        return (struct str){NULL, 0};
    return str_from(PQgetvalue(rows->handle, (int)row, (int)column),
                    (size_t)PQgetlength(rows->handle, (int)row, (int)column));
}

int64_t postgres_cell_i64(const struct postgres_rows *rows, size_t row, size_t column)
{
    int64_t number = 0;
    struct str cell = postgres_cell(rows, row, column);
    if (str_is(cell, "t"))
        return 1;
    str_to_i64(cell, INT64_MIN, INT64_MAX, &number);
    return number;
}

const char *postgres_library_version(void)
{
    static char text[24];
    int version = PQlibVersion();
    snprintf(text, sizeof(text), "libpq %d.%d", version / 10000, version % 10000);
    return text;
}
