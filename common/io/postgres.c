/*
 * postgres.c -- the pipelined connection: states of the link, batches, answers.
 *
 * The link walks DOWN -> CONNECTING -> SETUP -> READY. SETUP is itself a batch: session settings
 * and one Prepare per row of the statement table, in one round trip. From then on libpq stays in
 * pipeline mode.
 *
 * A batch waits in `waiting` until the turn ends; then up to WIRE_MAX batches are handed to libpq,
 * each closed by its own Sync, and stand in `wire`. The server answers in order, so an answer
 * always belongs to the head of `wire`. PostgreSQL runs everything up to a Sync as one implicit
 * transaction: it commits at the Sync, and an error rolls it back and skips to the Sync. We send no
 * BEGIN: after an error an explicit block would stay open, aborted, and every batch already on the
 * wire behind it would fail with it.
 *
 * A batch on the wire may wait `batch_timeout_ms` from the moment it is the head; one that waits
 * for the link from the moment it was given. A time-out on the wire ends the connection, because
 * there is no other way to learn what the server did.
 *
 * The connection is never closed while libpq's answers are being read: whoever finds it unusable
 * calls link_break(), and link_lose() runs from the top of the next callback or timer.
 *
 * What stays true: only one timer for the link (connect, reconnect) and one for the batches; no
 * batch is in two lists; nothing is sent outside the end of a turn; `done` is never called from
 * inside postgres_batch(). A `done` may give new batches but must not free the door.
 */
#include "common/io/postgres.h"

#include <libpq-fe.h>

#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/backoff.h"
#include "common/io/postgres_conn.h"
#include "common/io/postgres_task.h"

enum { WIRE_MAX = 4 }; /* batches on the wire; more hides a longer round trip but fails more */

#define MAGIC 0x90572e5u

#define WAITING_MAX_DEFAULT        256
#define CONNECT_TIMEOUT_MS_DEFAULT 5000
#define BATCH_TIMEOUT_MS_DEFAULT   30000

/* Server-side limits of each session; $1 is a little less than our own batch time-out: a statement
 * the server gives up has a known outcome and costs no connection. Sent as a statement, not as
 * start-up options: those belong to the operator, and poolers refuse them. */
#define SETTINGS_SQL                                                                               \
    "SELECT set_config('idle_in_transaction_session_timeout', '5s', false),"                       \
    " set_config('lock_timeout', '5s', false), set_config('statement_timeout', $1, false)"

enum state { DOWN, CONNECTING, SETUP, READY };

struct postgres {
    unsigned magic;
    struct loop *loop;
    struct postgres_conf conf;
    struct postgres_conn_params params;

    enum state state;
    PGconn *conn;
    struct loop_watch *watch;
    int watched;
    struct timer link_timer;
    unsigned attempt;
    bool told_down;
    int64_t down_since_ms;

    bool broken; /* link_lose() is due */
    bool stale;  /* send nothing more; a new connection as soon as the wire is empty */
    struct err why;
    struct err farewell; /* the server's last words outside of any answer */

    struct list waiting, wire;
    int64_t head_since_ms;
    struct timer batch_timer;
    int64_t batch_timer_ms;
    struct loop_hook turn_end;
    struct timer nudge; /* so that the next turn does not wait while a batch does */
};

static void connect_begin(void *context);
static void connect_step(struct postgres *pg);
static void link_ready(int fd, int what, void *context);
static bool send_waiting(void *context);
static void setup_send(struct postgres *pg);

/* ---- The link ---- */

static struct postgres *postgres_of(void *context)
{
    struct postgres *pg = context;
    must_be(pg, MAGIC);
    return pg;
}

static void link_unwatch(struct postgres *pg)
{
    loop_watch_free(pg->watch);
    pg->watch = NULL;
    pg->watched = 0;
}

/* libpq may change its socket from one step of connecting to the next, even under the same number,
 * so the watch is made anew then. */
static void link_watch(struct postgres *pg, int what)
{
    if (pg->watch && pg->watched == what)
        return;
    if (pg->watch)
        loop_watch_change(pg->watch, what);
    else
        pg->watch = loop_watch_new(pg->loop, PQsocket(pg->conn), what, link_ready, pg);
    pg->watched = what;
}

/* The first reason is the one that is told. */
static void link_break(struct postgres *pg, const struct err *why)
{
    if (pg->broken)
        return;
    pg->broken = true;
    pg->why = *why;
}

static void link_break_conn(struct postgres *pg, const char *doing)
{
    struct err why;
    if (pg->farewell.code)
        why = pg->farewell;
    else
        postgres_conn_error(pg->conn, doing, &why);
    link_break(pg, &why);
}

static void wire_fail(struct postgres *pg, const struct err *why)
{
    struct list_node *node;
    for (bool first = true; (node = list_pop(&pg->wire)); first = false) {
        struct postgres_task *batch = container_of(node, struct postgres_task, node);
        struct err err = batch->failed ? batch->err : *why;
        if (!batch->failed && !first && why->code == ERR_TIMEOUT)
            err_set(&err, ERR_UNAVAILABLE, "postgresql: an earlier batch timed out");
        bool unknown = (batch->flags & POSTGRES_TRANSACTION) && batch->synced && !batch->failed;
        postgres_task_finish(batch, &err, unknown);
    }
}

static const char *hint_of(const struct err *why)
{
    if (strstr(why->text, "quern migrate up"))
        return "run 'quern migrate up'; it is tried again by itself";
    return "start PostgreSQL, or correct postgres.conninfo; it is tried again by itself";
}

static void link_tell_down(struct postgres *pg, const struct err *why)
{
    if (pg->told_down)
        return;
    pg->told_down = true;
    pg->down_since_ms = loop_now_ms(pg->loop);
    log_warn("postgresql is away", LOG_C("error", why->text), LOG_C("hint", hint_of(why)));
    if (pg->conf.on_state)
        pg->conf.on_state(false, why, pg->conf.context);
}

static void link_lose(struct postgres *pg)
{
    struct err why = pg->why;
    if (why.code != ERR_TIMEOUT && why.code != ERR_CONFIG)
        why.code = ERR_UNAVAILABLE, why.retry = RETRY_LATER;
    link_unwatch(pg);
    PQfinish(pg->conn);
    pg->conn = NULL;
    pg->state = DOWN;
    pg->broken = pg->stale = false;
    err_clear(&pg->farewell);
    timer_set(pg->loop, &pg->link_timer,
              loop_now_ms(pg->loop) + backoff_ms(loop_rand(pg->loop), pg->attempt++), connect_begin,
              pg);
    link_tell_down(pg, &why);
    wire_fail(pg, &why);
}

static void link_lose_now(void *context)
{
    struct postgres *pg = postgres_of(context);
    if (pg->broken)
        link_lose(pg);
}

static void connect_expired(void *context)
{
    struct postgres *pg = postgres_of(context);
    struct err why;
    err_set(&why, ERR_UNAVAILABLE, "postgresql: no connection within %lld ms",
            (long long)pg->conf.connect_timeout_ms);
    link_break(pg, &why);
    link_lose(pg);
}

/* Notices come here, and the farewell of a server that ends an idle connection. */
static void take_notice(void *context, const PGresult *result)
{
    struct postgres *pg = postgres_of(context);
    struct err err;
    char sqlstate[6];
    if (postgres_result_error(result, &err, sqlstate))
        pg->farewell = err;
    else
        log_debug("postgresql notice", LOG_C("text", err.text));
}

static void connect_begin(void *context)
{
    struct postgres *pg = postgres_of(context);
    pg->state = CONNECTING;
    timer_set(pg->loop, &pg->link_timer, loop_now_ms(pg->loop) + pg->conf.connect_timeout_ms,
              connect_expired, pg);
    pg->conn = PQconnectStartParams(pg->params.keys, pg->params.values, 1);
    if (!pg->conn || PQstatus(pg->conn) == CONNECTION_BAD) {
        link_break_conn(pg, "connect");
        link_lose(pg);
        return;
    }
    PQsetNoticeReceiver(pg->conn, take_notice, pg);
    link_watch(pg, LOOP_WRITE); /* libpq's rule: behave as if PQconnectPoll() had said so */
}

static void connect_step(struct postgres *pg)
{
    link_unwatch(pg);
    switch (PQconnectPoll(pg->conn)) {
    case PGRES_POLLING_READING:
        link_watch(pg, LOOP_READ);
        return;
    case PGRES_POLLING_WRITING:
        link_watch(pg, LOOP_WRITE);
        return;
    case PGRES_POLLING_OK:
        setup_send(pg);
        return;
    default:
        link_break_conn(pg, "connect");
    }
}

static void link_flush(struct postgres *pg)
{
    int left = PQflush(pg->conn);
    if (left < 0)
        link_break_conn(pg, "send");
    else
        link_watch(pg, left ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

/* ---- Answers ---- */

static void take_refusal(struct postgres *pg, struct postgres_task *batch, const PGresult *result)
{
    struct err err;
    char sqlstate[6];
    bool lost = postgres_result_error(result, &err, sqlstate);
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    /* FATAL is the connection's end, not an answer: the server may have died inside the commit. */
    if (lost && (!severity || strcmp(severity, "ERROR") != 0)) {
        link_break(pg, &err);
        return;
    }
    pg->stale |= lost;
    if (batch->failed)
        return;
    batch->failed = true;
    batch->err = err;
    memcpy(batch->sqlstate, sqlstate, sizeof(sqlstate));
}

static void take_rows(struct postgres *pg, struct postgres_task *batch, PGresult *result)
{
    if (batch->answered == batch->count) {
        struct err why;
        err_set(&why, ERR_UNAVAILABLE, "postgresql: more answers than queries");
        link_break(pg, &why);
        PQclear(result);
        return;
    }
    postgres_rows_of(result, &batch->rows[batch->answered++]);
}

/* Without a refusal the transaction is committed by now; that answers of it are missing says
 * nothing else, so nobody may be told that it failed. */
static void take_sync(struct postgres *pg)
{
    struct postgres_task *batch = container_of(list_pop(&pg->wire), struct postgres_task, node);
    pg->head_since_ms = loop_now_ms(pg->loop);
    bool short_of = !batch->failed && batch->answered < batch->count;
    if (short_of)
        err_set(&batch->err, ERR_UNAVAILABLE, "postgresql: fewer answers than queries");
    postgres_task_finish(batch, batch->failed || short_of ? &batch->err : NULL,
                         short_of && (batch->flags & POSTGRES_TRANSACTION));
}

static void take(struct postgres *pg, PGresult *result)
{
    struct postgres_task *head = container_of(list_first(&pg->wire), struct postgres_task, node);
    switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
        take_rows(pg, head, result);
        return;
    case PGRES_PIPELINE_SYNC:
        take_sync(pg);
        break;
    case PGRES_PIPELINE_ABORTED: /* skipped by the server after the failed one */
        break;
    case PGRES_FATAL_ERROR:
        take_refusal(pg, head, result);
        break;
    default: { /* COPY and the like: no row of a statement table may do that */
        struct err why;
        err_set(&why, ERR_INTERNAL, "postgresql: unexpected answer '%s'",
                PQresStatus(PQresultStatus(result)));
        link_break(pg, &why);
    }
    }
    PQclear(result);
}

/* Takes every answer that is complete. Each query's answer is followed by one NULL; two of them in
 * a row mean that libpq waits for nothing while we do. */
static void collect(struct postgres *pg)
{
    unsigned nothing = 0;
    while (!pg->broken && !list_empty(&pg->wire) && !PQisBusy(pg->conn)) {
        PGresult *result = PQgetResult(pg->conn);
        if (result) {
            nothing = 0;
            take(pg, result);
        } else if (++nothing > 2) {
            link_break_conn(pg, "receive");
        }
    }
    if (pg->stale && list_empty(&pg->wire)) {
        struct err why;
        err_set(&why, ERR_UNAVAILABLE, "postgresql: this connection can no longer be used");
        link_break(pg, &why);
    }
}

static void receive(struct postgres *pg)
{
    bool ok = PQconsumeInput(pg->conn);
    /* One TLS record may hold more than libpq's buffer took; no event will tell of the rest. */
    if (ok && PQsslInUse(pg->conn))
        ok = PQconsumeInput(pg->conn);
    /* Also after a failure: answers and the server's farewell may be complete in the buffer. */
    collect(pg);
    if (!pg->broken && list_empty(&pg->wire))
        (void)PQisBusy(pg->conn); /* parses what comes unasked: notices, parameter changes */
    if (!ok)
        link_break_conn(pg, "receive");
}

static void link_ready(int fd, int what, void *context)
{
    (void)fd;
    struct postgres *pg = postgres_of(context);
    if (pg->state == CONNECTING) {
        connect_step(pg);
    } else {
        if (what & LOOP_READ)
            receive(pg);
        if (!pg->broken)
            link_flush(pg);
    }
    if (pg->broken)
        link_lose(pg);
}

/* ---- Setting up a session ---- */

static void setup_done(const struct postgres_result *result, const struct err *err, void *context)
{
    struct postgres *pg = postgres_of(context);
    if (err) {
        struct err why = *err;
        if (result->sqlstate[0] == '4' && result->sqlstate[1] == '2')
            err_prefix(&why, "the statements do not fit the schema (has 'quern migrate up' run?)");
        link_break(pg, &why);
        return;
    }
    pg->state = READY;
    pg->attempt = 0;
    timer_cancel(pg->loop, &pg->link_timer);
    log_info("postgresql is there", LOG_C("host", PQhost(pg->conn)),
             LOG_C("database", PQdb(pg->conn)),
             LOG_I("away_ms", loop_now_ms(pg->loop) - pg->down_since_ms));
    pg->told_down = false;
    if (pg->conf.on_state)
        pg->conf.on_state(true, NULL, pg->conf.context);
}

static bool setup_queue(struct postgres *pg)
{
    char timeout[32];
    snprintf(timeout, sizeof(timeout), "%lldms", (long long)(pg->conf.batch_timeout_ms * 9 / 10));
    const char *values[] = {timeout};
    if (PQsetnonblocking(pg->conn, 1) != 0 || !PQenterPipelineMode(pg->conn))
        return false;
    if (!PQsendQueryParams(pg->conn, SETTINGS_SQL, 1, NULL, values, NULL, NULL, 0))
        return false;
    for (size_t i = 0; i < pg->conf.statement_count; i++) {
        const struct postgres_statement *row = &pg->conf.statements[i];
        if (!PQsendPrepare(pg->conn, row->name, row->sql, row->param_count, NULL))
            return false;
    }
    return PQpipelineSync(pg->conn);
}

static void setup_send(struct postgres *pg)
{
    struct postgres_task *batch = postgres_task_new(1 + pg->conf.statement_count);
    batch->done = setup_done;
    batch->context = pg;
    pg->state = SETUP;
    list_append(&pg->wire, &batch->node);
    if (setup_queue(pg))
        link_flush(pg);
    else
        link_break_conn(pg, "prepare");
}

/* ---- Batches ---- */

static bool batch_send(struct postgres *pg, struct postgres_task *batch)
{
    const char **values = batch->request->values;
    for (size_t i = 0; i < batch->count; i++) {
        const struct postgres_query *query = &batch->request->queries[i];
        const char *name = pg->conf.statements[query->statement].name;
        if (!PQsendQueryPrepared(pg->conn, name, query->param_count, values, NULL, NULL, 0))
            return false;
        values += query->param_count;
    }
    batch->synced = true;
    if (!PQpipelineSync(pg->conn))
        return false;
    postgres_task_forget_request(batch);
    return true;
}

static void batch_timer_arm(struct postgres *pg);

static void nudged(void *context)
{
    (void)context; /* being there was all: the end of this turn sends */
}

/* Runs at the end of every turn. */
static bool send_waiting(void *context)
{
    struct postgres *pg = postgres_of(context);
    timer_cancel(pg->loop, &pg->nudge);
    bool sent = false;
    while (pg->state == READY && !pg->broken && !pg->stale && pg->wire.count < WIRE_MAX &&
           !list_empty(&pg->waiting)) {
        struct postgres_task *batch =
            container_of(list_pop(&pg->waiting), struct postgres_task, node);
        if (list_empty(&pg->wire))
            pg->head_since_ms = loop_now_ms(pg->loop);
        list_append(&pg->wire, &batch->node);
        sent = true;
        if (!batch_send(pg, batch))
            link_break_conn(pg, "send");
    }
    if (sent && !pg->broken)
        link_flush(pg);
    if (pg->broken) /* answers are given in the next turn, not in the midst of this one's end */
        timer_set(pg->loop, &pg->link_timer, loop_now_ms(pg->loop), link_lose_now, pg);
    batch_timer_arm(pg);
    return false;
}

static void waiting_expire(struct postgres *pg)
{
    int64_t now_ms = loop_now_ms(pg->loop);
    while (!list_empty(&pg->waiting)) {
        struct postgres_task *batch =
            container_of(list_first(&pg->waiting), struct postgres_task, node);
        if (batch->deadline_ms > now_ms)
            return;
        list_remove(&pg->waiting, &batch->node);
        struct err err;
        if (pg->state == READY)
            err_set(&err, ERR_TIMEOUT, "postgresql: not sent within %lld ms, the server is slow",
                    (long long)pg->conf.batch_timeout_ms);
        else
            err_set(&err, ERR_UNAVAILABLE, "postgresql: no connection within %lld ms: %.200s",
                    (long long)pg->conf.batch_timeout_ms, pg->why.text);
        postgres_task_finish(batch, &err, false);
    }
}

static void batch_expired(void *context)
{
    struct postgres *pg = postgres_of(context);
    int64_t limit_ms = pg->conf.batch_timeout_ms;
    pg->batch_timer_ms = 0;
    if (pg->state == READY && !list_empty(&pg->wire) &&
        loop_now_ms(pg->loop) - pg->head_since_ms >= limit_ms) {
        struct err why;
        err_set(&why, ERR_TIMEOUT, "postgresql: no answer within %lld ms", (long long)limit_ms);
        link_break(pg, &why);
        link_lose(pg);
    }
    waiting_expire(pg);
}

static void batch_timer_arm(struct postgres *pg)
{
    int64_t at_ms = INT64_MAX;
    if (!list_empty(&pg->waiting))
        at_ms = container_of(list_first(&pg->waiting), struct postgres_task, node)->deadline_ms;
    if (pg->state == READY && !list_empty(&pg->wire) &&
        pg->head_since_ms + pg->conf.batch_timeout_ms < at_ms)
        at_ms = pg->head_since_ms + pg->conf.batch_timeout_ms;
    /* A timer that is early only looks and is set again, so it is moved forward alone. */
    if (at_ms == INT64_MAX || (pg->batch_timer_ms && pg->batch_timer_ms <= at_ms))
        return;
    pg->batch_timer_ms = at_ms;
    timer_set(pg->loop, &pg->batch_timer, at_ms, batch_expired, pg);
}

bool postgres_batch(struct postgres *pg, const struct postgres_query *queries, size_t count,
                    int flags, postgres_done *done, void *context, struct err *err)
{
    must(count > 0);
    if (postgres_pending(pg) >= pg->conf.waiting_max) {
        err_set(err, ERR_UNAVAILABLE, "postgresql: %zu batches are waiting already",
                pg->conf.waiting_max);
        return false;
    }
    struct postgres_task *batch =
        postgres_task_copy(pg->conf.statements, pg->conf.statement_count, queries, count, err);
    if (!batch)
        return false;
    batch->flags = flags;
    batch->done = done;
    batch->context = context;
    batch->deadline_ms = loop_now_ms(pg->loop) + pg->conf.batch_timeout_ms;
    list_append(&pg->waiting, &batch->node);
    if (pg->waiting.count == 1) /* who asks between two turns need not wait for an event */
        timer_set(pg->loop, &pg->nudge, loop_now_ms(pg->loop), nudged, pg);
    return true;
}

/* ---- Life cycle ---- */

struct postgres *postgres_new(struct loop *loop, const struct postgres_conf *conf, struct err *err)
{
    struct postgres *pg = xzalloc(sizeof(*pg));
    pg->magic = MAGIC;
    pg->loop = loop;
    list_init(&pg->waiting);
    list_init(&pg->wire);
    pg->conf = *conf;
    pg->conf.conninfo = pg->conf.password = pg->conf.application_name = (struct str){NULL, 0};
    if (!pg->conf.waiting_max)
        pg->conf.waiting_max = WAITING_MAX_DEFAULT;
    if (!pg->conf.connect_timeout_ms)
        pg->conf.connect_timeout_ms = CONNECT_TIMEOUT_MS_DEFAULT;
    if (!pg->conf.batch_timeout_ms)
        pg->conf.batch_timeout_ms = BATCH_TIMEOUT_MS_DEFAULT;
    if (!postgres_conn_params_init(&pg->params, conf, err)) {
        free(pg);
        return NULL;
    }
    err_set(&pg->why, ERR_UNAVAILABLE, "postgresql: not connected yet");
    pg->down_since_ms = loop_now_ms(loop);
    pg->turn_end = (struct loop_hook){.run = send_waiting, .context = pg};
    loop_add_turn_end(loop, &pg->turn_end);
    timer_set(loop, &pg->link_timer, loop_now_ms(loop), connect_begin, pg);
    return pg;
}

static void batches_drop(struct list *list)
{
    struct list_node *node;
    while ((node = list_pop(list)))
        postgres_task_free(container_of(node, struct postgres_task, node));
}

void postgres_free(struct postgres *pg)
{
    if (!pg)
        return;
    must_be(pg, MAGIC);
    loop_remove_hook(pg->loop, &pg->turn_end);
    timer_cancel(pg->loop, &pg->link_timer);
    timer_cancel(pg->loop, &pg->batch_timer);
    timer_cancel(pg->loop, &pg->nudge);
    batches_drop(&pg->waiting);
    batches_drop(&pg->wire);
    link_unwatch(pg);
    PQfinish(pg->conn);
    postgres_conn_params_done(&pg->params);
    pg->magic = 0;
    free(pg);
}

bool postgres_up(const struct postgres *pg)
{
    return pg->state == READY && !pg->broken;
}

size_t postgres_pending(const struct postgres *pg)
{
    return pg->waiting.count + pg->wire.count - (pg->state == SETUP ? pg->wire.count : 0);
}
