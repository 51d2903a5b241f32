/*
 * postgres_session.c -- plain SQL for the command line: blocking, one thing at a time.
 *
 * Time-outs without a clock: the server gives up after statement_timeout, and we give up when not a
 * byte came for a little longer than that. After a time-out or a lost connection the session is of
 * no further use and says so.
 */
#include <libpq-fe.h>
#include <poll.h>

#include <errno.h>

#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/postgres.h"
#include "common/io/postgres_conn.h"
#include "common/io/postgres_error.h"

#define CONNECT_TIMEOUT_MS_DEFAULT 5000
#define BATCH_TIMEOUT_MS_DEFAULT   30000
#define PATIENCE_MS                2000 /* what the server's own time-out may need to reach us */

struct postgres_session {
    PGconn *conn;
    int64_t timeout_ms;
};

static void take_notice(void *context, const PGresult *result)
{
    (void)context;
    log_debug("postgresql notice",
              LOG_C("text", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
}

static bool wait_for(struct postgres_session *session, short what, struct err *err)
{
    struct pollfd poller = {.fd = PQsocket(session->conn), .events = what};
    int ready;
    do {
        ready = poll(&poller, 1, (int)(session->timeout_ms + PATIENCE_MS));
    } while (ready < 0 && errno == EINTR);
    if (ready > 0)
        return true;
    err_set(err, ERR_TIMEOUT, "postgresql: no answer within %lld ms",
            (long long)session->timeout_ms);
    PQfinish(session->conn);
    session->conn = NULL;
    return false;
}

static bool flush(struct postgres_session *session, struct err *err)
{
    int left;
    while ((left = PQflush(session->conn)) > 0) {
        if (!wait_for(session, POLLOUT | POLLIN, err))
            return false;
        if (!PQconsumeInput(session->conn))
            break;
    }
    if (left == 0)
        return true;
    postgres_conn_error(session->conn, "send", err);
    return false;
}

/* The next result, or NULL when there is no more. False: the connection is lost or too slow. */
static bool next_result(struct postgres_session *session, PGresult **ret, struct err *err)
{
    if (!flush(session, err))
        return false;
    while (PQisBusy(session->conn)) {
        if (!wait_for(session, POLLIN, err))
            return false;
        if (!PQconsumeInput(session->conn)) {
            postgres_conn_error(session->conn, "receive", err);
            return false;
        }
    }
    *ret = PQgetResult(session->conn);
    return true;
}

/* Where in the script the server stumbled, as a line number; 0 when it did not say. */
static size_t line_of(const PGresult *result, const char *sql)
{
    int64_t position = 0;
    const char *field = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
    if (!field || !str_to_i64(str_of(field), 1, INT32_MAX, &position))
        return 0;
    size_t line = 1;
    for (const char *at = sql; *at && position > 1; at++) {
        line += *at == '\n';
        position -= ((unsigned char)*at & 0xc0) != 0x80; /* it counts characters */
    }
    return line;
}

static bool is_fine(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY;
}

static void refused(const PGresult *result, const char *sql, struct err *err)
{
    char sqlstate[6];
    if (PQresultStatus(result) != PGRES_FATAL_ERROR) {
        err_set(err, ERR_INTERNAL, "postgresql: unexpected answer '%s'; COPY cannot be used here",
                PQresStatus(PQresultStatus(result)));
        return;
    }
    postgres_result_error(result, err, sqlstate);
    size_t line = line_of(result, sql);
    if (line)
        err_prefix(err, "line %zu", line);
}

/* Reads all results of what was sent; the first refusal is the one told. */
static bool finish(struct postgres_session *session, const char *sql,
                   void (*each)(const struct postgres_rows *rows, void *context), void *context,
                   struct err *err)
{
    bool ok = true;
    for (;;) {
        PGresult *result = NULL;
        struct err lost;
        if (!next_result(session, &result, &lost)) {
            if (ok && err)
                *err = lost;
            return false;
        }
        if (!result)
            return ok;
        if (is_fine(result) && ok && each) {
            struct postgres_rows rows;
            postgres_rows_of(result, &rows);
            each(&rows, context);
        } else if (!is_fine(result) && ok) {
            refused(result, sql, err);
            ok = false;
        }
        ExecStatusType status = PQresultStatus(result);
        PQclear(result);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
            PQfinish(session->conn); /* the only way out of a COPY nobody feeds */
            session->conn = NULL;
            return false;
        }
    }
}

static bool usable(const struct postgres_session *session, struct err *err)
{
    if (session->conn && PQstatus(session->conn) == CONNECTION_OK)
        return true;
    err_set(err, ERR_UNAVAILABLE, "postgresql: the connection was lost");
    return false;
}

bool postgres_session_script(struct postgres_session *session, const char *sql, struct err *err)
{
    if (!usable(session, err))
        return false;
    if (!PQsendQuery(session->conn, sql)) {
        postgres_conn_error(session->conn, "send", err);
        return false;
    }
    return finish(session, sql, NULL, NULL, err);
}

bool postgres_session_query(struct postgres_session *session, const char *sql,
                            const struct str *params, int param_count,
                            void (*each)(const struct postgres_rows *rows, void *context),
                            void *context, struct err *err)
{
    if (!usable(session, err))
        return false;
    char **values = xcalloc((size_t)param_count + 1, sizeof(*values));
    for (int i = 0; i < param_count; i++)
        values[i] = params[i].data ? xstrndup(params[i]) : NULL;
    bool sent = PQsendQueryParams(session->conn, sql, param_count, NULL,
                                  (const char *const *)values, NULL, NULL, 0);
    for (int i = 0; i < param_count; i++)
        free(values[i]);
    free(values);
    if (!sent) {
        postgres_conn_error(session->conn, "send", err);
        return false;
    }
    return finish(session, sql, each, context, err);
}

static PGconn *connect_blocking(const struct postgres_conf *conf, struct err *err)
{
    struct postgres_conn_params params;
    if (!postgres_conn_params_init(&params, conf, err))
        return NULL;
    int64_t timeout_ms = conf->connect_timeout_ms;
    if (!timeout_ms)
        timeout_ms = CONNECT_TIMEOUT_MS_DEFAULT;
    char seconds[24]; /* libpq counts whole seconds and takes no less than two */
    snprintf(seconds, sizeof(seconds), "%lld", (long long)((timeout_ms + 999) / 1000));
    size_t last = 0;
    while (params.keys[last])
        last++;
    must(last + 1 < POSTGRES_CONN_PARAMS);
    params.keys[last] = "connect_timeout";
    params.values[last] = seconds;
    PGconn *conn = PQconnectdbParams(params.keys, params.values, 1);
    postgres_conn_params_done(&params);
    if (conn && PQstatus(conn) == CONNECTION_OK && PQsetnonblocking(conn, 1) == 0)
        return conn;
    postgres_conn_error(conn, "connect", err);
    if (postgres_error_refuses(err->text))
        err->code = ERR_CONFIG;
    PQfinish(conn);
    return NULL;
}

struct postgres_session *postgres_session_open(const struct postgres_conf *conf, struct err *err)
{
    PGconn *conn = connect_blocking(conf, err);
    if (!conn)
        return NULL;
    PQsetNoticeReceiver(conn, take_notice, NULL);
    struct postgres_session *session = xzalloc(sizeof(*session));
    session->conn = conn;
    session->timeout_ms =
        conf->batch_timeout_ms ? conf->batch_timeout_ms : BATCH_TIMEOUT_MS_DEFAULT;
    char timeout[32];
    snprintf(timeout, sizeof(timeout), "%lldms", (long long)session->timeout_ms);
    if (!postgres_session_query(session, "SELECT set_config('statement_timeout', $1, false)",
                                (const struct str[]){str_of(timeout)}, 1, NULL, NULL, err)) {
        postgres_session_close(session);
        return NULL;
    }
    return session;
}

void postgres_session_close(struct postgres_session *session)
{
    if (!session)
        return;
    PQfinish(session->conn);
    free(session);
}
