/*
 * store.c -- the simulated PostgreSQL: a batch of statements by name, all or nothing, and the rows
 * as scenes see them.
 *
 * To answer another statement: a function (store_*.c) and its row in `statements`. To add a table:
 * its rows in store_inside.h, their removal noted in the undo log, and a reader below.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/store_inside.h"

struct sim_store *sim_store_new(struct sim *sim)
{
    struct sim_store *store = xzalloc(sizeof(*store));
    struct map *maps[] = {&store->requests, &store->conversations, &store->runs,
                          &store->usage,    &store->offsets,       &store->outbox};
    store->sim = sim;
    store->latency_us = 1500;
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++)
        map_init(maps[i]);
    arena_init(&store->scratch, NULL, (size_t)1 << 30);
    list_init(&store->outbox_rows);
    list_init(&store->clients);
    return store;
}

void sim_store_free(struct sim_store *store)
{
    struct map *maps[] = {&store->requests, &store->conversations, &store->runs,
                          &store->usage,    &store->offsets,       &store->outbox};
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++)
        map_done(maps[i]);
    arena_done(&store->scratch);
    free(store);
}

/* Batches */

static const struct statement_row {
    const char *name;
    bool (*run)(struct sim_store *store, const struct str *params, struct sim_rows *ret);
} statements[] = {
    {"lookup", statement_lookup},
    {"history", statement_history},
    {"first_assigned", statement_first_assigned},
    {"spent", statement_spent},
    {"own", statement_own},
    {"load", statement_load},
    {"offsets", statement_offsets},
    {"fence", statement_fence},
    {"store", statement_store},
    {"store_telling", statement_store_telling},
    {"repeat", statement_repeat},
    {"bury", statement_bury},
    {"embeddings", statement_embeddings},
    {"one_body", statement_one_body},
    {"outbox_sent", statement_outbox_sent},
    {"outbox_failed", statement_outbox_failed},
    {"outbox_load", statement_outbox_load},
    {"outbox_parts", statement_outbox_parts},
};
#define STATEMENTS (sizeof(statements) / sizeof(statements[0]))
_Static_assert(STATEMENTS <= STATEMENTS_MAX, "room to count each");

static bool contains(const struct sim_query *query, const char *text)
{
    size_t len = strlen(text);
    for (int i = 0; i < query->param_count; i++)
        if (query->params[i].data && memmem(query->params[i].data, query->params[i].len, text, len))
            return true;
    return false;
}

static bool is_refused(struct sim_store *store, const struct sim_query *query)
{
    struct sim_store_faults *faults = &store->faults;
    if (faults->refuse && strcmp(query->name, "store") == 0 && contains(query, faults->refuse)) {
        store_refuse(store, "22P05", "unsupported Unicode escape sequence");
        return true;
    }
    if (!faults->fail_count || strcmp(query->name, faults->statement) != 0)
        return false;
    faults->fail_count--;
    store_refuse(store, faults->sqlstate, "as the scene wants it");
    return true;
}

static bool run_one(struct sim_store *store, const struct sim_query *query, struct sim_rows *ret)
{
    for (size_t i = 0; i < STATEMENTS; i++) {
        if (strcmp(statements[i].name, query->name) != 0)
            continue;
        store->asked[i].name = statements[i].name;
        store->asked[i].count++;
        return !is_refused(store, query) && statements[i].run(store, query->params, ret);
    }
    must_not_reach("a statement that the simulation knows");
}

bool sim_store_run(struct sim_store *store, const struct sim_query *queries, size_t count,
                   struct sim_rows *ret)
{
    bool done = true;
    for (size_t i = 0; i < count && done; i++)
        done = run_one(store, &queries[i], &ret[i]);
    if (!done)
        store_take_back(store);
    store->undo = NULL;
    arena_reset(&store->scratch);
    return done;
}

void sim_postgres_fails(struct sim *sim, const char *statement, const char *sqlstate,
                        unsigned count)
{
    struct sim_store_faults *faults = &sim->store->faults;
    faults->statement = statement;
    faults->fail_count = count;
    snprintf(faults->sqlstate, sizeof(faults->sqlstate), "%s", sqlstate);
}

void sim_postgres_refuses(struct sim *sim, const char *text)
{
    sim->store->faults.refuse = text;
}

size_t sim_fenced(const struct sim *sim)
{
    return sim->store->fenced;
}

size_t sim_asked(const struct sim *sim, const char *statement)
{
    for (size_t i = 0; i < STATEMENTS_MAX; i++)
        if (sim->store->asked[i].name && strcmp(sim->store->asked[i].name, statement) == 0)
            return sim->store->asked[i].count;
    return 0;
}

/* Rows as scenes see them */

/* What the request was answered. */
static struct str answer_of(const struct request_data *data)
{
    return data->vectors.data ? data->vectors : data->q[COLUMN_q_text];
}

static const struct sim_final *see(struct request_row *request)
{
    const struct request_data *data = &request->data;
    const struct str *q = data->q;
    bool is_done = str_is(q[COLUMN_q_status], "done");
    request->seen = (struct sim_final){
        .tenant = q[COLUMN_q_tenant],
        .id = q[COLUMN_q_id],
        .status = q[COLUMN_q_status],
        .text = is_done ? answer_of(data) : q[COLUMN_q_error_code],
        .body_hash = q[COLUMN_q_body_hash],
        .session = q[COLUMN_q_session],
        .topic = q[COLUMN_q_origin_topic],
        .partition = (int32_t)store_int(q[COLUMN_q_origin_partition]),
        .offset = store_int(q[COLUMN_q_origin_offset]),
        .turn = data->turn,
        .stored_ms = data->finished_ms,
        .repeats = data->repeats,
    };
    for (int slot = 0; slot < SLOTS_MAX; slot++)
        request->seen.slots_stored |= (unsigned)request->parts[slot].exists << slot;
    if (str_is(q[COLUMN_q_slots], "1")) /* its only part is the row itself */
        request->seen.slots_stored = 1;
    return &request->seen;
}

const struct sim_final *sim_final_of(const struct sim *sim, const char *tenant, const char *id)
{
    struct request_row *request = store_request(sim->store, str_of(tenant), str_of(id));
    arena_reset(&sim->store->scratch);
    return request && request_is_final(request) ? see(request) : NULL;
}

const struct sim_final *sim_final(const struct sim *sim, const char *id)
{
    return sim_final_of(sim, "default", id);
}

size_t sim_final_count(const struct sim *sim)
{
    return sim->store->finals;
}

size_t sim_request_rows(const struct sim *sim)
{
    return sim->store->request_rows.count;
}

struct sim_request_row sim_request_row(const struct sim *sim, size_t index)
{
    const struct table *table = &sim->store->request_rows;
    must(index < table->count);
    const struct request_row *request = table->rows[index];
    const struct str *q = request->data.q;
    struct sim_request_row row = {
        .tenant = q[COLUMN_q_tenant],
        .id = q[COLUMN_q_id],
        .status = q[COLUMN_q_status],
        .session = q[COLUMN_q_session],
        .body_hash = q[COLUMN_q_body_hash],
        .text = answer_of(&request->data),
        .winner = q[COLUMN_q_winner],
        .error_code = q[COLUMN_q_error_code],
        .origin_topic = q[COLUMN_q_origin_topic],
        .origin_partition = (int32_t)store_int(q[COLUMN_q_origin_partition]),
        .origin_offset = store_int(q[COLUMN_q_origin_offset]),
        .slots = store_int(q[COLUMN_q_slots]),
        .turn = request->data.turn,
        .result_partition = (int32_t)store_int(q[COLUMN_q_partition]),
        .input_tokens = store_int(q[COLUMN_q_input]),
        .output_tokens = store_int(q[COLUMN_q_output]),
        .cost_microusd = store_int(q[COLUMN_q_cost]),
        .finished_ms = request->data.finished_ms,
        .repeats = request->data.repeats,
    };
    for (int slot = 0; slot < SLOTS_MAX; slot++)
        row.parts |= (unsigned)request->parts[slot].exists << slot;
    return row;
}

static void *row_of(const struct table *table, size_t index)
{
    must(index < table->count);
    return table->rows[index];
}

size_t sim_run_rows(const struct sim *sim)
{
    return sim->store->run_rows.count;
}

const struct sim_run_row *sim_run_row(const struct sim *sim, size_t index)
{
    return &((const struct run_row *)row_of(&sim->store->run_rows, index))->row;
}

size_t sim_usage_rows(const struct sim *sim)
{
    return sim->store->usage_rows.count;
}

const struct sim_usage_row *sim_usage_row(const struct sim *sim, size_t index)
{
    return &((const struct usage_row *)row_of(&sim->store->usage_rows, index))->row;
}

size_t sim_offset_rows(const struct sim *sim)
{
    return sim->store->offset_rows.count;
}

const struct sim_offset_row *sim_offset_row(const struct sim *sim, size_t index)
{
    return &((const struct offset_row *)row_of(&sim->store->offset_rows, index))->row;
}

size_t sim_message_rows(const struct sim *sim)
{
    return sim->store->message_rows.count;
}

const struct sim_message_row *sim_message_row(const struct sim *sim, size_t index)
{
    return &((const struct message_row *)row_of(&sim->store->message_rows, index))->row;
}

size_t sim_conversation_rows(const struct sim *sim)
{
    return sim->store->conversation_rows.count;
}

const struct sim_conversation_row *sim_conversation_row(const struct sim *sim, size_t index)
{
    return &((const struct conversation_row *)row_of(&sim->store->conversation_rows, index))->row;
}

size_t sim_outbox_rows(const struct sim *sim)
{
    return sim->store->outbox_rows.count;
}

const struct sim_outbox_row *sim_outbox_row(const struct sim *sim, size_t index)
{
    const struct list_node *node = list_first(&sim->store->outbox_rows);
    must(index < sim->store->outbox_rows.count);
    while (index--)
        node = list_next(&sim->store->outbox_rows, node);
    return &container_of(node, struct outbox_row, list_node)->row;
}

bool sim_store_has(const struct sim *sim, const char *topic, int32_t partition, int64_t end)
{
    for (size_t i = 0; end > 0 && i < sim->store->offset_rows.count; i++) {
        const struct sim_offset_row *row = sim_offset_row(sim, i);
        if (row->partition == partition && row->next_offset >= end && str_is(row->topic, topic))
            return true;
    }
    return end == 0;
}
