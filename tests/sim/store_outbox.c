/*
 * store_outbox.c -- the outbox: records that were decided in a transaction and are not in Kafka
 * yet. Rows stand in the order of their ids, which come from a sequence that goes on whatever
 * becomes of the transaction.
 */
#include <string.h>

#include "aggregator/settle/reply.h"
#include "tests/sim/store_inside.h"

enum { OUTBOX_COLUMNS = OUTBOX_TOO_BIG + 1, DOUBLINGS_MAX = 10 };

static struct str id_key(const int64_t *id)
{
    return str_from((const char *)id, sizeof(*id));
}

static void take_out(struct sim_store *store, void *object)
{
    struct outbox_row *row = object;
    map_remove(&store->outbox, &row->node);
    list_remove(&store->outbox_rows, &row->list_node);
}

struct outbox_row *outbox_add(struct sim_store *store, int64_t id)
{
    struct outbox_row *row = arena_new(&store->sim->arena, struct outbox_row);
    row->row.id = id;
    row->next_try_ms = store_now_ms(store);
    map_add(&store->outbox, &row->node, id_key(&row->row.id));
    list_append(&store->outbox_rows, &row->list_node);
    store_on_undo(store, take_out, row);
    return row;
}

static struct outbox_row *find(struct sim_store *store, int64_t id)
{
    struct map_node *node = map_find(&store->outbox, id_key(&id));
    return node ? container_of(node, struct outbox_row, node) : NULL;
}

/* tenants, ids, hashes, topics, partitions */
bool statement_repeat(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    struct cells columns[5];
    (void)ret;
    for (size_t i = 0; i < 5; i++)
        columns[i] = store_column(store, params[i]);
    for (size_t i = 0; i < columns[0].count; i++) {
        struct request_row *request =
            store_request(store, columns[0].items[i], columns[1].items[i]);
        struct str hash = columns[2].items[i];
        if (!request || !request_is_final(request) || !hash.data ||
            !request->data.q[COLUMN_q_body_hash].data ||
            !str_eq(request->data.q[COLUMN_q_body_hash], hash))
            continue;
        struct outbox_row *row = outbox_add(store, ++store->outbox_seq);
        row->row.tenant = columns[0].items[i];
        row->row.request = row->row.key = columns[1].items[i];
        row->row.topic = columns[3].items[i];
        row->row.partition = (int32_t)store_int(columns[4].items[i]);
        store_keep(store, &request->data.repeats, sizeof(request->data.repeats));
        request->data.repeats++;
    }
    return true;
}

/* quern_other_body(), of one place. */
static bool has_other_body(struct sim_store *store, struct str tenant, struct str id,
                           struct str hash)
{
    const struct request_row *request = store_request(store, tenant, id);
    return request && request->exists && hash.data && request->data.q[COLUMN_q_body_hash].data &&
           !str_eq(request->data.q[COLUMN_q_body_hash], hash);
}

bool store_one_body(struct sim_store *store, const struct cells *tenants, const struct cells *ids,
                    const struct cells *hashes)
{
    for (size_t i = 0; i < ids->count; i++)
        if (has_other_body(store, tenants->items[i], ids->items[i], hashes->items[i]))
            return store_refuse(store, "QF002", "an id was answered for two bodies");
    return true;
}

/* tenants, ids, hashes */
bool statement_one_body(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    struct cells columns[3];
    (void)ret;
    for (size_t i = 0; i < 3; i++)
        columns[i] = store_column(store, params[i]);
    return store_one_body(store, &columns[0], &columns[1], &columns[2]);
}

/* tenants, ids, topics, keys, types, payloads, headers, partitions, hashes */
bool statement_bury(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    struct cells columns[9];
    (void)ret;
    for (size_t i = 0; i < 9; i++)
        columns[i] = store_column(store, params[i]);
    for (size_t i = 0; i < columns[0].count; i++) {
        struct str hash = columns[8].items[i];
        if (hash.data && !has_other_body(store, columns[0].items[i], columns[1].items[i], hash))
            continue;
        struct outbox_row *row = outbox_add(store, ++store->outbox_seq);
        row->row.tenant = columns[0].items[i];
        row->row.request = columns[1].items[i];
        row->row.topic = columns[2].items[i];
        row->row.key = columns[3].items[i];
        row->row.has_payload = true;
        row->row.partition = (int32_t)store_int(columns[7].items[i]);
        row->content_type = columns[4].items[i];
        row->payload_hex = str_slice(columns[5].items[i], 2, columns[5].items[i].len);
        row->headers = columns[6].items[i];
    }
    return true;
}

/* A row that was deleted, and where it stood. */
struct deleted {
    struct outbox_row *row;
    struct list_node *before;
};

static void put_back(struct sim_store *store, void *object)
{
    const struct deleted *deleted = object;
    map_add(&store->outbox, &deleted->row->node, id_key(&deleted->row->row.id));
    list_insert_between(&store->outbox_rows, &deleted->row->list_node, deleted->before,
                        deleted->before->next);
}

/* ids */
bool statement_outbox_sent(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    struct cells ids = store_column(store, params[0]);
    (void)ret;
    for (size_t i = 0; i < ids.count; i++) {
        struct outbox_row *row = find(store, store_int(ids.items[i]));
        if (!row)
            continue;
        struct deleted *deleted = arena_new(&store->scratch, struct deleted);
        *deleted = (struct deleted){row, row->list_node.prev};
        take_out(store, row);
        store_on_undo(store, put_back, deleted);
    }
    return true;
}

/* ids, errors, pause in ms */
bool statement_outbox_failed(struct sim_store *store, const struct str *params,
                             struct sim_rows *ret)
{
    struct cells ids = store_column(store, params[0]), errors = store_column(store, params[1]);
    (void)ret;
    for (size_t i = 0; i < ids.count; i++) {
        struct outbox_row *row = find(store, store_int(ids.items[i]));
        if (!row)
            continue;
        int64_t doublings = row->row.attempts < DOUBLINGS_MAX ? row->row.attempts : DOUBLINGS_MAX;
        store_keep(store, &row->row, sizeof(row->row));
        store_keep(store, &row->next_try_ms, sizeof(row->next_try_ms));
        row->next_try_ms = store_now_ms(store) + store_int(params[2]) * ((int64_t)1 << doublings);
        row->row.attempts++;
        row->row.last_error = errors.items[i];
    }
    return true;
}

static void request_cells(struct sim_store *store, const struct request_row *request,
                          struct str *cells)
{
    static const struct {
        enum outbox_column to;
        enum column from;
    } columns[] = {
        {OUTBOX_SESSION, COLUMN_q_session},
        {OUTBOX_STATUS, COLUMN_q_status},
        {OUTBOX_TEXT, COLUMN_q_text},
        {OUTBOX_MESSAGE, COLUMN_q_message},
        {OUTBOX_FINISH_REASON, COLUMN_q_finish_reason},
        {OUTBOX_SLOTS, COLUMN_q_slots},
        {OUTBOX_POLICY, COLUMN_q_policy},
        {OUTBOX_WINNER, COLUMN_q_winner},
        {OUTBOX_AGREEMENT, COLUMN_q_agreement},
        {OUTBOX_INPUT, COLUMN_q_input},
        {OUTBOX_OUTPUT, COLUMN_q_output},
        {OUTBOX_CACHED_INPUT, COLUMN_q_cached_input},
        {OUTBOX_REASONING, COLUMN_q_reasoning},
        {OUTBOX_COST, COLUMN_q_cost},
        {OUTBOX_QUEUED, COLUMN_q_queued},
        {OUTBOX_FIRST_TOKEN, COLUMN_q_first_token},
        {OUTBOX_TOTAL, COLUMN_q_total},
        {OUTBOX_ERROR_CODE, COLUMN_q_error_code},
        {OUTBOX_ERROR_MESSAGE, COLUMN_q_error_message},
        {OUTBOX_METADATA, COLUMN_q_metadata},
        {OUTBOX_EXTRA, COLUMN_q_extra},
    };
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        cells[columns[i].to] = request->data.q[columns[i].from];
    cells[OUTBOX_EMBEDDINGS] = request->data.vectors;
    if (request->data.turn)
        cells[OUTBOX_TURN] = store_number(store, request->data.turn);
}

static void outbox_cells(struct sim_store *store, const struct outbox_row *row, struct str *cells)
{
    const struct request_row *request = store_request(store, row->row.tenant, row->row.request);
    cells[OUTBOX_ID] = store_number(store, row->row.id);
    cells[OUTBOX_TENANT] = row->row.tenant;
    cells[OUTBOX_REQUEST] = row->row.request;
    cells[OUTBOX_TOPIC] = row->row.topic;
    cells[OUTBOX_KEY] = row->row.key;
    cells[OUTBOX_CONTENT_TYPE] =
        row->content_type.data ? row->content_type : STR("application/json");
    cells[OUTBOX_PAYLOAD] = row->payload_hex;
    cells[OUTBOX_HEADERS] = row->headers;
    cells[OUTBOX_TRACEPARENT] = row->traceparent;
    if (row->row.last_error.data)
        cells[OUTBOX_TOO_BIG] =
            str_starts(row->row.last_error, STR("too_big:")) ? STR("t") : STR("f");
    if (request && request->exists)
        request_cells(store, request, cells);
}

struct due {
    struct cells partitions;
    int64_t after, attempts_max, limit, now_ms;
};

/* partitions, id, most attempts, limit */
static struct due due_of(struct sim_store *store, const struct str *params)
{
    return (struct due){store_column(store, params[0]), store_int(params[1]), store_int(params[2]),
                        store_int(params[3]), store_now_ms(store)};
}

static bool is_due(struct due *due, const struct outbox_row *row)
{
    if (due->limit == 0 || row->row.id <= due->after || row->row.attempts >= due->attempts_max ||
        row->next_try_ms > due->now_ms || !column_has(&due->partitions, row->row.partition))
        return false;
    due->limit--;
    return true;
}

bool statement_outbox_load(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    struct due due = due_of(store, params);
    LIST_EACH(&store->outbox_rows, node)
    {
        const struct outbox_row *row = container_of(node, struct outbox_row, list_node);
        if (is_due(&due, row))
            outbox_cells(store, row, sim_rows_add(ret, OUTBOX_COLUMNS));
    }
    return true;
}

bool statement_outbox_parts(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    struct due due = due_of(store, params);
    LIST_EACH(&store->outbox_rows, node)
    {
        const struct outbox_row *row = container_of(node, struct outbox_row, list_node);
        if (!is_due(&due, row) || row->row.has_payload)
            continue;
        const struct request_row *request = store_request(store, row->row.tenant, row->row.request);
        for (int slot = 0; request && slot < SLOTS_MAX; slot++) {
            const struct stored_part *part = &request->parts[slot];
            if (!part->exists)
                continue;
            struct str *cells = sim_rows_add(ret, 3);
            cells[0] = store_number(store, row->row.id);
            cells[1] = part->content_type;
            cells[2] = part->hex;
        }
    }
    return true;
}
