/*
 * postgres_task.c -- copying what a batch says, telling how it went.
 *
 * Parameters are sent as C strings, in text format, so a NUL byte would silently cut them (and no
 * text of PostgreSQL may hold one): it is refused before anything is sent.
 */
#include "common/io/postgres_task.h"

#include <libpq-fe.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"

struct postgres_task *postgres_task_new(size_t count)
{
    struct postgres_task *task = xzalloc(sizeof(*task) + count * sizeof(task->rows[0]));
    task->count = count;
    return task;
}

struct request_size {
    size_t params, bytes;
};

static bool query_measure(const struct postgres_statement *row, const struct postgres_query *query,
                          struct request_size *size, struct err *err)
{
    must(query->param_count == row->param_count);
    for (int i = 0; i < query->param_count; i++) {
        struct str param = query->params[i];
        if (param.len && memchr(param.data, '\0', param.len)) {
            err_set(err, ERR_INVALID_ENCODING, "parameter %d of statement '%s' has a NUL byte",
                    i + 1, row->name);
            return false;
        }
        size->bytes += param.len + 1;
    }
    size->params += (size_t)query->param_count;
    return true;
}

static struct postgres_request *request_copy(const struct postgres_query *queries, size_t count,
                                             struct request_size size)
{
    struct postgres_request *request =
        xrealloc(NULL, sizeof(*request) + count * sizeof(*queries) + size.params * sizeof(char *) +
                           size.bytes);
    request->queries = (struct postgres_query *)(request + 1);
    request->values = (const char **)(request->queries + count);
    char *at = (char *)(request->values + size.params);
    const char **value = request->values;
    for (size_t i = 0; i < count; i++) {
        request->queries[i] = queries[i];
        for (int k = 0; k < queries[i].param_count; k++) {
            struct str param = queries[i].params[k];
            *value++ = param.data ? at : NULL;
            if (param.len)
                memcpy(at, param.data, param.len);
            at[param.len] = '\0';
            at += param.len + 1;
        }
    }
    return request;
}

struct postgres_task *postgres_task_copy(const struct postgres_statement *statements,
                                         size_t statement_count,
                                         const struct postgres_query *queries, size_t count,
                                         struct err *err)
{
    struct request_size size = {0};
    for (size_t i = 0; i < count; i++) {
        must(queries[i].statement < statement_count);
        if (!query_measure(&statements[queries[i].statement], &queries[i], &size, err))
            return NULL;
    }
    struct postgres_task *task = postgres_task_new(count);
    task->request = request_copy(queries, count, size);
    return task;
}

void postgres_task_forget_request(struct postgres_task *task)
{
    free(task->request);
    task->request = NULL;
}

void postgres_task_finish(struct postgres_task *task, const struct err *err, bool unknown)
{
    struct postgres_result result = {
        .rows = err ? NULL : task->rows,
        .count = err ? 0 : task->count,
        .unknown = unknown,
    };
    memcpy(result.sqlstate, task->sqlstate, sizeof(result.sqlstate));
    if (task->done)
        task->done(&result, err, task->context);
    postgres_task_free(task);
}

void postgres_task_free(struct postgres_task *task)
{
    for (size_t i = 0; i < task->answered; i++)
        PQclear((PGresult *)(uintptr_t)task->rows[i].handle);
    free(task->request);
    free(task);
}
