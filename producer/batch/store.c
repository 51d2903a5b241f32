/*
 * store.c -- lost replies: what PostgreSQL says of requests that were published a while ago.
 *
 * The reply topic is the quick way; the table of requests is the true one. Each look asks for all
 * unanswered ids, a hundred at a time: vectors are large.
 */
#include "producer/batch/batch.h"

enum { LOOK_MANY = 100, ARRAY_BYTES_MAX = 4 << 20, REPLY_ARENA_BYTES = 128 << 20 };

#define LOOK_SQL                                                                                   \
    "SELECT r.tenant, r.id, r.status, r.text, r.message::text, r.finish_reason, r.winner,"         \
    " r.merge_policy, r.input_tokens, r.output_tokens, r.cached_input_tokens, r.reasoning_tokens," \
    " r.cost_microusd, r.error_code, r.error_message, r.session_id, r.turn, r.metadata::text,"     \
    " e.vectors::text"                                                                             \
    " FROM unnest($1::text[], $2::text[]) AS q(tenant, id)"                                        \
    " JOIN requests r ON r.tenant = q.tenant AND r.id = q.id"                                      \
    " LEFT JOIN request_embeddings e ON e.tenant = q.tenant AND e.request_id = q.id"               \
    " WHERE r.status <> 'open'"

enum {
    COLUMN_TENANT,
    COLUMN_ID,
    COLUMN_STATUS,
    COLUMN_TEXT,
    COLUMN_MESSAGE,
    COLUMN_FINISH_REASON,
    COLUMN_WINNER,
    COLUMN_POLICY,
    COLUMN_INPUT,
    COLUMN_OUTPUT,
    COLUMN_CACHED,
    COLUMN_REASONING,
    COLUMN_COST,
    COLUMN_ERROR_CODE,
    COLUMN_ERROR_MESSAGE,
    COLUMN_SESSION,
    COLUMN_TURN,
    COLUMN_METADATA,
    COLUMN_VECTORS,
};

static struct str tenant_of(const struct ask *ask)
{
    return str_empty(ask->tenant) ? STR("default") : ask->tenant;
}

static const struct value *document(struct arena *arena, struct str json)
{
    struct value *value = arena_new(arena, struct value);
    return json.data && contract_parse(json, ENCODING_JSON, arena, value, NULL) ? value : NULL;
}

static void read_row(const struct postgres_rows *rows, size_t row, struct arena *arena,
                     struct reply *ret)
{
    contract_init(&contract_reply, ret);
    ret->request_id = postgres_cell(rows, row, COLUMN_ID);
    ret->tenant = postgres_cell(rows, row, COLUMN_TENANT);
    ret->status = postgres_cell(rows, row, COLUMN_STATUS);
    ret->text = postgres_cell(rows, row, COLUMN_TEXT);
    ret->message = document(arena, postgres_cell(rows, row, COLUMN_MESSAGE));
    ret->metadata = document(arena, postgres_cell(rows, row, COLUMN_METADATA));
    ret->embeddings = str_list_of(document(arena, postgres_cell(rows, row, COLUMN_VECTORS)), arena);
    ret->finish_reason = postgres_cell(rows, row, COLUMN_FINISH_REASON);
    ret->merge.winner = postgres_cell(rows, row, COLUMN_WINNER);
    ret->merge.policy = postgres_cell(rows, row, COLUMN_POLICY);
    ret->usage = (struct usage){
        .input = postgres_cell_i64(rows, row, COLUMN_INPUT),
        .output = postgres_cell_i64(rows, row, COLUMN_OUTPUT),
        .cached_input = postgres_cell_i64(rows, row, COLUMN_CACHED),
        .reasoning = postgres_cell_i64(rows, row, COLUMN_REASONING),
    };
    if (!postgres_is_null(rows, row, COLUMN_COST))
        ret->cost_microusd = postgres_cell_i64(rows, row, COLUMN_COST);
    ret->error.code = postgres_cell(rows, row, COLUMN_ERROR_CODE);
    ret->error.message = postgres_cell(rows, row, COLUMN_ERROR_MESSAGE);
    ret->session = postgres_cell(rows, row, COLUMN_SESSION);
    if (!postgres_is_null(rows, row, COLUMN_TURN))
        ret->turn = postgres_cell_i64(rows, row, COLUMN_TURN);
}

static void take_rows(const struct postgres_rows *rows, void *context)
{
    struct batch *batch = context;
    struct arena arena;
    arena_init(&arena, NULL, REPLY_ARENA_BYTES);
    for (size_t i = 0; i < rows->count; i++) {
        struct reply reply;
        read_row(rows, i, &arena, &reply);
        struct map_node *node = map_find(&batch->asks, reply.request_id);
        struct ask *ask = node ? container_of(node, struct ask, node) : NULL;
        if (ask && str_eq(tenant_of(ask), reply.tenant))
            batch_answered(batch, ask, &reply, true);
        arena_reset(&arena);
    }
    arena_done(&arena);
}

/* The next hundred behind `*at`; false when there are none left. */
static bool gather(struct batch *batch, struct list_node **at, struct buf *tenants, struct buf *ids)
{
    size_t n = 0;
    buf_clear(tenants);
    buf_clear(ids);
    postgres_array_begin(tenants);
    postgres_array_begin(ids);
    for (; *at && n < LOOK_MANY; n++) {
        const struct ask *ask = container_of(*at, struct ask, order);
        postgres_array_add(tenants, tenant_of(ask));
        postgres_array_add(ids, ask->id);
        *at = list_next(&batch->waiting, *at);
    }
    postgres_array_end(tenants);
    postgres_array_end(ids);
    return n > 0;
}

static bool look(struct batch *batch, struct postgres_session *session, struct err *err)
{
    struct buf tenants, ids;
    struct list_node *at = list_first(&batch->waiting);
    bool good = true;
    buf_init(&tenants, ARRAY_BYTES_MAX);
    buf_init(&ids, ARRAY_BYTES_MAX);
    /* `at` is the first of the next hundred, so answering this one does not touch it. */
    while (good && gather(batch, &at, &tenants, &ids))
        good = postgres_session_query(session, LOOK_SQL,
                                      (const struct str[]){buf_str(&tenants), buf_str(&ids)}, 2,
                                      take_rows, batch, err);
    buf_done(&tenants);
    buf_done(&ids);
    return good;
}

bool store_look(struct batch *batch)
{
    struct err err;
    struct postgres_session *session = cli_postgres(batch->cli, CLI_TIMEOUT_MS, &err);
    bool good = session && look(batch, session, &err);
    postgres_session_close(session);
    if (!good) {
        progress_wipe(&batch->progress);
        cli_say("unanswered requests cannot be looked up: %s", err.text);
    }
    return good;
}
