/*
 * postgres.c -- the simulated body of common/io/postgres.h: batches of named statements over the
 * tables of store_*.c.
 *
 * While the server is down batches wait for their time-out. A server that goes down fails what is
 * under way; a batch that had arrived was done all the same, and a transaction's outcome is
 * unknown.
 */
#include <stdlib.h>
#include <string.h>

#include "common/io/postgres_error.h"
#include "tests/sim/store_inside.h"

enum { RECONNECT_US = 150000 };

struct postgres {
    struct list_node node; /* in store->clients */
    struct sim_process *process;
    struct sim_store *store;
    const struct postgres_statement *statements;
    size_t waiting_max;
    int64_t timeout_us, last_us, last_back_us;
    void (*on_state)(bool up, const struct err *why, void *context);
    void *context;
    bool up, broken;     /* broken: its connection is, it finds out in a moment */
    struct list ops;     /* on the wire */
    struct list waiting; /* for a connection */
    struct sim_event connect, breaks;
};

struct batch {
    struct sim_op op;
    struct postgres *pg;
    struct sim_store *store;
    struct list_node node; /* in pg->waiting */
    struct sim_event too_late;
    struct sim_query *queries;
    struct sim_rows *results;
    struct postgres_rows *rows;
    size_t count;
    int flags;
    postgres_done *done;
    void *context;
    bool timed_out, refused; /* refused: with this sqlstate */
    char sqlstate[6], refusal[160];
};

bool postgres_is_null(const struct postgres_rows *rows, size_t row, size_t column)
{
    const struct sim_rows *list = rows->handle;
    must(row < rows->count && column < rows->columns);
    return list->cells[row * list->columns + column].data == NULL;
}

struct str postgres_cell(const struct postgres_rows *rows, size_t row, size_t column)
{
    const struct sim_rows *list = rows->handle;
    must(row < rows->count && column < rows->columns);
    return list->cells[row * list->columns + column];
}

int64_t postgres_cell_i64(const struct postgres_rows *rows, size_t row, size_t column)
{
    int64_t number = 0;
    if (!postgres_is_null(rows, row, column))
        str_to_i64(postgres_cell(rows, row, column), INT64_MIN, INT64_MAX, &number);
    return number;
}

static void batch_free(struct batch *batch)
{
    sim_event_cancel(&batch->too_late);
    for (size_t i = 0; i < batch->count; i++)
        free(batch->results[i].cells);
    free(batch->queries);
    free(batch->results);
    free(batch->rows);
    free(batch);
}

static void batch_arrive(struct sim_op *op)
{
    struct batch *batch = container_of(op, struct batch, op);
    if (batch->store->down || (!op->answered && batch->pg->broken)) {
        op->lost = true;
        return;
    }
    struct sim_store *store = batch->store;
    batch->refused = op->way == SIM_WRONG;
    if (batch->refused) /* nothing of it is done */
        store_refuse(store, "40001", "could not serialize access due to concurrent update");
    else
        batch->refused = !sim_store_run(store, batch->queries, batch->count, batch->results);
    if (batch->refused) {
        memcpy(batch->sqlstate, store->sqlstate, sizeof(batch->sqlstate));
        memcpy(batch->refusal, store->refusal, sizeof(batch->refusal));
        return;
    }
    for (size_t i = 0; i < batch->count; i++) {
        batch->rows[i] = (struct postgres_rows){.count = batch->results[i].count,
                                                .columns = batch->results[i].columns,
                                                .handle = &batch->results[i]};
    }
}

static void fail(struct batch *batch, bool unknown)
{
    struct err err;
    struct postgres_result result = {.unknown = unknown};
    err_set(&err, batch->timed_out ? ERR_TIMEOUT : ERR_UNAVAILABLE, "the server is away");
    if (batch->done)
        batch->done(&result, &err, batch->context);
}

static void refuse(struct batch *batch)
{
    struct err err;
    struct postgres_result result = {.unknown = false};
    memcpy(result.sqlstate, batch->sqlstate, sizeof(result.sqlstate));
    postgres_error(batch->sqlstate, "ERROR", batch->refusal, &err);
    if (batch->done)
        batch->done(&result, &err, batch->context);
}

static void batch_answer(struct sim_op *op)
{
    struct batch *batch = container_of(op, struct batch, op);
    if (op->lost) {
        fail(batch, (batch->flags & POSTGRES_TRANSACTION) != 0);
        return;
    }
    if (batch->refused) {
        refuse(batch);
        return;
    }
    const struct postgres_result result = {.rows = batch->rows, .count = batch->count};
    if (batch->done)
        batch->done(&result, NULL, batch->context);
}

static void batch_op_free(struct sim_op *op)
{
    batch_free(container_of(op, struct batch, op));
}

static void send(struct batch *batch);

static void connected(void *context)
{
    struct postgres *pg = context;
    pg->up = true;
    if (pg->on_state)
        pg->on_state(true, NULL, pg->context);
    for (struct list_node *node; (node = list_pop(&pg->waiting));)
        send(container_of(node, struct batch, node));
}

static void cut(struct postgres *pg)
{
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, "the server is down");
    sim_event_cancel(&pg->connect);
    pg->up = false;
    if (pg->on_state)
        pg->on_state(false, &err, pg->context);
    for (struct list_node *node; (node = list_first(&pg->ops));)
        sim_op_lose(container_of(node, struct sim_op, client));
}

static void break_now(void *context)
{
    struct postgres *pg = context;
    pg->broken = false;
    if (!pg->up)
        return;
    cut(pg);
    if (!pg->store->down)
        sim_event_set(pg->process->sim, &pg->connect, pg->process,
                      pg->process->sim->now_us + RECONNECT_US, connected, pg);
}

static void connection_breaks(struct sim_op *op)
{
    struct postgres *pg = container_of(op, struct batch, op)->pg;
    pg->broken = true;
    sim_event_set(op->sim, &pg->breaks, pg->process, op->sim->now_us, break_now, pg);
}

static void send(struct batch *batch)
{
    struct postgres *pg = batch->pg;
    struct sim *sim = pg->process->sim;
    int64_t there = sim->now_us + sim_latency_us(sim, pg->store->latency_us);
    there = there < pg->last_us ? pg->last_us : there;
    pg->last_us = there;
    int64_t back = there + pg->store->latency_us / 2;
    back = back < pg->last_back_us ? pg->last_back_us : back; /* answers come in order */
    pg->last_back_us = back;
    batch->timed_out = back > sim->now_us + pg->timeout_us;
    if (batch->timed_out)
        back = sim->now_us + pg->timeout_us;
    sim_event_cancel(&batch->too_late);
    batch->op.arrive = batch_arrive;
    batch->op.answer = batch_answer;
    batch->op.free = batch_op_free;
    batch->op.cut = connection_breaks;
    sim_op_start(sim, pg->process, &pg->ops, &batch->op, there, back);
}

static void too_late(void *context)
{
    struct batch *batch = context;
    list_remove(&batch->pg->waiting, &batch->node);
    fail(batch, false);
    batch_free(batch);
}

/* The tables keep slices of these copies. */
static void copy_query(struct postgres *pg, const struct postgres_query *from, struct sim_query *to)
{
    struct arena *arena = &pg->process->sim->arena;
    to->name = pg->statements[from->statement].name;
    must(pg->statements[from->statement].param_count == from->param_count);
    to->param_count = from->param_count;
    to->params = arena_array(arena, struct str, (size_t)from->param_count + 1);
    for (int i = 0; i < from->param_count; i++)
        to->params[i] = store_lasting(pg->store, from->params[i]);
}

static bool has_nul(const struct postgres_query *queries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (int k = 0; k < queries[i].param_count; k++) {
            struct str param = queries[i].params[k];
            if (param.data && memchr(param.data, 0, param.len))
                return true;
        }
    return false;
}

/* A transaction whose question or answer a scene wants lost. */
static enum sim_way way_of(struct postgres *pg, int flags)
{
    struct sim_store_faults *faults = &pg->store->faults;
    if (!(flags & POSTGRES_TRANSACTION))
        return SIM_WELL;
    if (faults->lose_question && --faults->lose_question == 0)
        return SIM_NEVER;
    if (faults->lose_answer && --faults->lose_answer == 0)
        return SIM_NO_ANSWER;
    return SIM_WELL;
}

bool postgres_batch(struct postgres *pg, const struct postgres_query *queries, size_t count,
                    int flags, postgres_done *done, void *context, struct err *err)
{
    if (pg->ops.count + pg->waiting.count >= pg->waiting_max) {
        err_set(err, ERR_UNAVAILABLE, "%zu batches are waiting already", pg->waiting_max);
        return false;
    }
    if (has_nul(queries, count)) {
        err_set(err, ERR_INVALID_ENCODING, "a parameter holds a NUL byte");
        return false;
    }
    struct batch *batch = xzalloc(sizeof(*batch));
    batch->op.door = SIM_POSTGRES;
    batch->op.way = sim_door(pg->process, SIM_POSTGRES, pg->statements[queries[0].statement].name);
    if (batch->op.way == SIM_WELL)
        batch->op.way = way_of(pg, flags);
    batch->pg = pg;
    batch->store = pg->store;
    batch->count = count;
    batch->flags = flags;
    batch->done = done;
    batch->context = context;
    batch->queries = xcalloc(count, sizeof(*batch->queries));
    batch->results = xcalloc(count, sizeof(*batch->results));
    batch->rows = xcalloc(count, sizeof(*batch->rows));
    for (size_t i = 0; i < count; i++)
        copy_query(pg, &queries[i], &batch->queries[i]);
    if (pg->up) {
        send(batch);
        return true;
    }
    list_append(&pg->waiting, &batch->node);
    sim_event_set(pg->process->sim, &batch->too_late, pg->process,
                  pg->process->sim->now_us + pg->timeout_us, too_late, batch);
    return true;
}

/* Up and down */

void sim_postgres_down(struct sim *sim, bool down)
{
    if (sim->store->down == down)
        return;
    sim->store->down = down;
    LIST_EACH(&sim->store->clients, node)
    {
        struct postgres *pg = container_of(node, struct postgres, node);
        if (down)
            cut(pg);
        else
            sim_event_set(sim, &pg->connect, pg->process, sim->now_us + RECONNECT_US, connected,
                          pg);
    }
}

void sim_postgres_terminate(struct sim *sim)
{
    LIST_EACH(&sim->store->clients, node)
    {
        struct postgres *pg = container_of(node, struct postgres, node);
        pg->broken = pg->up;
        break_now(pg);
    }
}

void sim_postgres_lose_answer(struct sim *sim, unsigned nth)
{
    sim->store->faults.lose_answer = nth;
}

void sim_postgres_lose_question(struct sim *sim, unsigned nth)
{
    sim->store->faults.lose_question = nth;
}

void sim_postgres_latency_ms(struct sim *sim, int64_t ms)
{
    sim->store->latency_us = ms ? ms * 1000 : 1500;
}

struct postgres *postgres_new(struct loop *loop, const struct postgres_conf *conf, struct err *err)
{
    (void)err;
    struct postgres *pg = xzalloc(sizeof(*pg));
    pg->process = loop_process(loop);
    pg->store = pg->process->sim->store;
    pg->statements = conf->statements;
    pg->waiting_max = conf->waiting_max ? conf->waiting_max : 256;
    pg->timeout_us = 1000 * (conf->batch_timeout_ms ? conf->batch_timeout_ms : 30000);
    pg->on_state = conf->on_state;
    pg->context = conf->context;
    list_init(&pg->ops);
    list_init(&pg->waiting);
    list_append(&pg->store->clients, &pg->node);
    if (!pg->store->down)
        sim_event_set(pg->process->sim, &pg->connect, pg->process, pg->process->sim->now_us + 2000,
                      connected, pg);
    return pg;
}

void postgres_free(struct postgres *pg)
{
    if (!pg)
        return;
    list_remove(&pg->store->clients, &pg->node);
    sim_event_cancel(&pg->connect);
    sim_event_cancel(&pg->breaks);
    for (struct list_node *node; (node = list_pop(&pg->waiting));)
        batch_free(container_of(node, struct batch, node));
    sim_ops_abandon(&pg->ops);
    free(pg);
}

bool postgres_up(const struct postgres *pg)
{
    return pg->up;
}

size_t postgres_pending(const struct postgres *pg)
{
    return pg->ops.count + pg->waiting.count;
}

/* Settings of a door that is not there are good. */
bool postgres_conninfo_check(struct str conninfo, struct err *err)
{
    (void)conninfo, (void)err;
    return true;
}
