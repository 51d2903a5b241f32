/*
 * postgres.h -- the PostgreSQL door (libpq inside): one pipelined connection that never blocks.
 *
 * A program says what it may ask in a table of statements, each with a name and SQL with numbered
 * parameters; they are prepared on each new connection (so SQL never contains data, and a simulated
 * PostgreSQL can answer by name). A batch is one or several statements sent as one pipeline up to a
 * Sync, which PostgreSQL runs as one implicit transaction; POSTGRES_TRANSACTION says that the
 * caller depends on that. Batches are answered in order. The first failing statement fails the
 * batch; nothing after it in the batch has happened, and nothing before it either.
 *
 * A lost connection fails the batches under way with ERR_UNAVAILABLE and, when a COMMIT was on its
 * way, `unknown` set: the transaction may or may not have happened, and the caller must look. The
 * door reconnects by itself with jitter, 100 ms to 5 s. Batches given while it is down wait
 * (bounded by `waiting_max`), each at most its time-out. Every batch has a time-out; when it
 * strikes on the wire, the connection is dropped. The server gives a single statement a little less
 * (statement_timeout), so that most slow ones fail with ERR_TIMEOUT and a known outcome instead.
 *
 * Parameters and results are text format; NULL is an absent str. Arrays: postgres_array_*().
 */
#ifndef QUERN_COMMON_IO_POSTGRES_H
#define QUERN_COMMON_IO_POSTGRES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/loop/loop.h"

struct postgres;

struct postgres_statement {
    const char *name; /* also the prepared statement's name */
    const char *sql;
    int param_count;
};

struct postgres_conf {
    struct str conninfo; /* libpq's: URI or key=value; PG* variables fill the gaps */
    struct str password; /* absent: conninfo's, PGPASSFILE's, .. */
    struct str application_name;
    const struct postgres_statement *statements; /* the table; index = statement number */
    size_t statement_count;
    size_t waiting_max;         /* batches waiting or under way, default 256 */
    int64_t connect_timeout_ms; /* default 5000 */
    int64_t batch_timeout_ms;   /* default 30000 */
    void (*on_state)(bool up, const struct err *why, void *context); /* may be NULL */
    void *context;
};

struct postgres_query {
    unsigned statement; /* index into conf.statements */
    const struct str *params;
    int param_count;
};

/* Rows of one statement's result. Cells are valid during the callback. */
struct postgres_rows {
    size_t count;
    size_t columns;
    uint64_t affected; /* rows touched by INSERT, UPDATE, DELETE */
    const void *handle;
};
bool postgres_is_null(const struct postgres_rows *rows, size_t row, size_t column);
struct str postgres_cell(const struct postgres_rows *rows, size_t row, size_t column);
/* NULL and what is no integer give 0; 't' gives 1. */
int64_t postgres_cell_i64(const struct postgres_rows *rows, size_t row, size_t column);

struct postgres_result {
    const struct postgres_rows *rows; /* one per query of the batch */
    size_t count;
    bool unknown;     /* the COMMIT's answer was lost */
    char sqlstate[6]; /* "" when the error is not the server's */
};

/* err NULL: all statements done, and committed if it was a transaction. */
typedef void postgres_done(const struct postgres_result *result, const struct err *err,
                           void *context);

enum { POSTGRES_TRANSACTION = 1 };

/* Whether libpq understands the connection string and can read the files of TLS it names; else
 * ERR_CONFIG. Its password is kept out of the text and of the log. */
bool postgres_conninfo_check(struct str conninfo, struct err *err);

struct postgres *postgres_new(struct loop *loop, const struct postgres_conf *conf, struct err *err);
void postgres_free(struct postgres *pg); /* takes NULL; batches under way are never answered */
bool postgres_up(const struct postgres *pg);
/* Parameters are copied. False when waiting_max is reached (ERR_UNAVAILABLE) or a parameter holds
 * a NUL byte (ERR_INVALID_ENCODING). `done` may be NULL; it may give new batches, but must not free
 * the door, and is never called from inside this. */
bool postgres_batch(struct postgres *pg, const struct postgres_query *queries, size_t count,
                    int flags, postgres_done *done, void *context, struct err *err);
size_t postgres_pending(const struct postgres *pg);

/* Text arrays `{"a","b",NULL}` for unnest(). */
void postgres_array_begin(struct buf *array);
void postgres_array_add(struct buf *array, struct str item); /* absent: NULL */
void postgres_array_add_i64(struct buf *array, int64_t number);
void postgres_array_add_f64(struct buf *array, double number); /* not finite: NULL */
void postgres_array_end(struct buf *array);

/* For the command line: plain SQL scripts (migrations), blocking, with a time-out. */
struct postgres_session;
struct postgres_session *postgres_session_open(const struct postgres_conf *conf, struct err *err);
void postgres_session_close(struct postgres_session *session); /* takes NULL */
/* Several statements separated by semicolons, as one simple query. */
bool postgres_session_script(struct postgres_session *session, const char *sql, struct err *err);
/* One statement with bound parameters; `each` (may be NULL) gets the rows. */
bool postgres_session_query(struct postgres_session *session, const char *sql,
                            const struct str *params, int param_count,
                            void (*each)(const struct postgres_rows *rows, void *context),
                            void *context, struct err *err);

const char *postgres_library_version(void);

#endif
