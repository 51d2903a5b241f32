/*
 * postgres_task.h -- one batch from the moment it was given until it is answered. Only for
 * common/io/postgres*.c.
 *
 * A task owns copies of everything the caller gave; the copies are let go as soon as libpq has
 * them, because a batch is never sent twice. Results are kept until the caller was told.
 */
#ifndef QUERN_COMMON_IO_POSTGRES_TASK_H
#define QUERN_COMMON_IO_POSTGRES_TASK_H

#include "common/base/list.h"
#include "common/io/postgres.h"

/* One block: the queries, then pointers to their parameters, then the bytes they point to. */
struct postgres_request {
    struct postgres_query *queries;
    const char **values;
};

struct postgres_task {
    struct list_node node;
    int flags;
    bool synced; /* libpq has everything, up to the Sync */
    bool failed; /* by an answer of the server: certainly rolled back */
    struct err err;
    char sqlstate[6];
    int64_t deadline_ms; /* while it waits */
    postgres_done *done;
    void *context;
    struct postgres_request *request; /* NULL once sent */
    size_t count, answered;
    struct postgres_rows rows[];
};

struct postgres_task *postgres_task_new(size_t count);
/* With a copy of the queries; NULL (ERR_INVALID_ENCODING) when a parameter has a NUL byte. */
struct postgres_task *postgres_task_copy(const struct postgres_statement *statements,
                                         size_t statement_count,
                                         const struct postgres_query *queries, size_t count,
                                         struct err *err);
void postgres_task_forget_request(struct postgres_task *task);
/* Tells the caller and frees the task, which must be in no list. */
void postgres_task_finish(struct postgres_task *task, const struct err *err, bool unknown);
void postgres_task_free(struct postgres_task *task);

#endif
