/*
 * store_requests.c -- quern_store() of schemas/sql/0002_store.sql, step by step under the names it
 * has there: fresh, conversation, settled, created, closed, said, sent, kept, ran, used.
 *
 * What holds there holds here: a request that is final stays as it is, and of what came for it only
 * the calls are stored, once each.
 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/store_inside.h"

#define DAY_MS 86400000

/* A request of the transaction. */
struct fresh {
    struct request_row *request;
    bool taken, was_open, is_final;
    struct conversation_row *conversation;
    int64_t turn, outbox_id;
};

struct storing {
    struct sim_store *store;
    struct cells c[COLUMN_COUNT];
    struct fresh *fresh; /* [0] is nobody, as ord counts from 1 */
    size_t count;
};

static struct str cell(const struct storing *s, enum column column, size_t row)
{
    return s->c[column].items[row];
}

static struct request_row *request_find(struct sim_store *store, struct str key)
{
    struct map_node *node = map_find(&store->requests, key);
    return node ? container_of(node, struct request_row, node) : NULL;
}

struct request_row *store_request(struct sim_store *store, struct str tenant, struct str id)
{
    return request_find(store, store_key(store, tenant, id));
}

bool request_is_final(const struct request_row *request)
{
    return request->exists && !str_is(request->data.q[COLUMN_q_status], "open");
}

/* Without a row it is not in the table: nobody has to take it back. */
static struct request_row *request_of(struct sim_store *store, struct str tenant, struct str id)
{
    struct str key = store_key(store, tenant, id);
    struct request_row *request = request_find(store, key);
    if (request)
        return request;
    request = arena_new(&store->sim->arena, struct request_row);
    map_add(&store->requests, &request->node, store_lasting(store, key));
    return request;
}

static bool fresh_fill(struct storing *s, size_t row)
{
    struct sim_store *store = s->store;
    struct fresh *f = &s->fresh[row + 1];
    f->request = request_of(store, cell(s, COLUMN_q_tenant, row), cell(s, COLUMN_q_id, row));
    f->was_open = f->request->exists && !request_is_final(f->request);
    f->taken = !f->request->exists || f->was_open;
    f->is_final = !str_is(cell(s, COLUMN_q_status, row), "open");
    if (f->taken && f->is_final && cell(s, COLUMN_q_reply_topic, row).data)
        f->outbox_id = ++store->outbox_seq;
    if (f->request->stamp == store->stamp)
        return store_refuse(store, "23505", "a request stands twice in one transaction");
    f->request->stamp = store->stamp;
    return true;
}

static void conversation_remove(struct sim_store *store, void *object)
{
    map_remove(&store->conversations, &((struct conversation_row *)object)->node);
}

static bool conversation(struct storing *s, size_t row)
{
    struct sim_store *store = s->store;
    struct fresh *f = &s->fresh[row + 1];
    struct str tenant = cell(s, COLUMN_q_tenant, row), session = cell(s, COLUMN_q_session, row);
    if (!f->taken || !f->is_final || !session.data)
        return true;
    struct str key = store_key(store, tenant, session);
    struct map_node *node = map_find(&store->conversations, key);
    struct conversation_row *c = node ? container_of(node, struct conversation_row, node) : NULL;
    if (c && c->stamp == store->stamp)
        return store_refuse(store, "21000", "a session stands twice in one transaction");
    if (!c) {
        c = arena_new(&store->sim->arena, struct conversation_row);
        c->row = (struct sim_conversation_row){
            .tenant = tenant, .session = session, .user = cell(s, COLUMN_q_user, row)};
        map_add(&store->conversations, &c->node, store_lasting(store, key));
        store_on_undo(store, conversation_remove, c);
        table_add(store, &store->conversation_rows, c);
    }
    store_keep(store, &c->row, sizeof(c->row));
    c->stamp = store->stamp;
    c->row.last_request = cell(s, COLUMN_q_id, row);
    f->conversation = c;
    f->turn = ++c->row.turn;
    return true;
}

static void created(struct storing *s, size_t row)
{
    struct request_row *request = s->fresh[row + 1].request;
    store_keep(s->store, &request->exists, sizeof(request->exists));
    request->exists = true;
    for (size_t i = 0; i < REQUEST_COLUMNS; i++)
        request->data.q[i] = cell(s, (enum column)i, row);
    request->data.finished_ms = -1;
    table_add(s->store, &s->store->request_rows, request);
}

static void closed(struct storing *s, size_t row)
{
    static const enum column changed[] = {
        COLUMN_q_status,        COLUMN_q_text,      COLUMN_q_message,     COLUMN_q_finish_reason,
        COLUMN_q_winner,        COLUMN_q_agreement, COLUMN_q_input,       COLUMN_q_output,
        COLUMN_q_cached_input,  COLUMN_q_reasoning, COLUMN_q_cost,        COLUMN_q_error_code,
        COLUMN_q_error_message, COLUMN_q_queued,    COLUMN_q_first_token, COLUMN_q_total};
    struct request_row *request = s->fresh[row + 1].request;
    for (size_t i = 0; i < sizeof(changed) / sizeof(changed[0]); i++)
        request->data.q[changed[i]] = cell(s, changed[i], row);
}

static void settled(struct storing *s, size_t row)
{
    const struct fresh *f = &s->fresh[row + 1];
    struct request_data *data = &f->request->data;
    if (!f->taken)
        return;
    store_keep(s->store, data, sizeof(*data));
    if (f->was_open)
        closed(s, row);
    else
        created(s, row);
    data->turn = f->turn;
    if (!f->is_final)
        return;
    data->finished_ms = sim_now_ms(s->store->sim);
    store_keep(s->store, &s->store->finals, sizeof(s->store->finals));
    s->store->finals++;
}

static void said(struct storing *s)
{
    struct sim_store *store = s->store;
    for (size_t i = 0; i < s->c[COLUMN_m_id].count; i++) {
        const struct fresh *f = &s->fresh[store_int(cell(s, COLUMN_m_ord, i))];
        if (!f->taken || !f->conversation)
            continue;
        struct message_row *message = arena_new(&store->sim->arena, struct message_row);
        message->row = (struct sim_message_row){
            .tenant = f->conversation->row.tenant,
            .session = f->conversation->row.session,
            .request = f->request->data.q[COLUMN_q_id],
            .role = cell(s, COLUMN_m_role, i),
            .content = cell(s, COLUMN_m_content, i),
            .metadata = cell(s, COLUMN_m_metadata, i),
            .turn = f->turn,
            .position = store_int(cell(s, COLUMN_m_position, i)),
        };
        table_add(store, &store->message_rows, message);
        table_add(store, &f->conversation->messages, message);
    }
}

static void sent(struct storing *s, size_t row)
{
    const struct fresh *f = &s->fresh[row + 1];
    if (!f->outbox_id)
        return;
    struct outbox_row *outbox = outbox_add(s->store, f->outbox_id);
    outbox->row.tenant = cell(s, COLUMN_q_tenant, row);
    outbox->row.request = outbox->row.key = cell(s, COLUMN_q_id, row);
    outbox->row.topic = cell(s, COLUMN_q_reply_topic, row);
    outbox->row.partition = (int32_t)store_int(cell(s, COLUMN_q_partition, row));
    outbox->traceparent = cell(s, COLUMN_q_traceparent, row);
}

/* Bytes in text form begin with \x. */
static struct str hex_of(struct str bytes)
{
    return str_slice(bytes, 2, bytes.len);
}

static void kept(struct storing *s)
{
    struct sim_store *store = s->store;
    for (size_t i = 0; i < s->c[COLUMN_p_slot].count; i++) {
        int64_t ord = store_int(cell(s, COLUMN_p_ord, i)),
                slot = store_int(cell(s, COLUMN_p_slot, i));
        if (ord > 0 && !s->fresh[ord].taken)
            continue;
        struct request_row *request =
            request_of(store, cell(s, COLUMN_p_tenant, i), cell(s, COLUMN_p_request, i));
        struct stored_part *part = &request->parts[slot];
        if (part->exists)
            continue;
        store_keep(store, part, sizeof(*part));
        *part = (struct stored_part){
            .exists = true,
            .status = cell(s, COLUMN_p_status, i),
            .content_type = cell(s, COLUMN_p_content_type, i),
            .hex = hex_of(cell(s, COLUMN_p_result, i)),
            .received = ++store->part_seq,
        };
    }
}

static void usage_remove(struct sim_store *store, void *object)
{
    map_remove(&store->usage, &((struct usage_row *)object)->node);
}

static struct sim_usage_row *used(struct sim_store *store, int64_t created_ms, struct str tenant,
                                  struct str user, struct str model, struct str provider)
{
    int64_t day = created_ms / DAY_MS;
    struct str key = store_key(store, store_key(store, tenant, user),
                               store_key(store, store_key(store, model, provider),
                                         str_from((const char *)&day, sizeof(day))));
    struct map_node *node = map_find(&store->usage, key);
    if (node) {
        struct usage_row *known = container_of(node, struct usage_row, node);
        store_keep(store, &known->row, sizeof(known->row));
        return &known->row;
    }
    struct usage_row *new = arena_new(&store->sim->arena, struct usage_row);
    new->row = (struct sim_usage_row){
        .day = day, .tenant = tenant, .user = user, .model = model, .provider = provider};
    map_add(&store->usage, &new->node, store_lasting(store, key));
    store_on_undo(store, usage_remove, new);
    table_add(store, &store->usage_rows, new);
    return &new->row;
}

static void run_remove(struct sim_store *store, void *object)
{
    map_remove(&store->runs, &((struct run_row *)object)->node);
}

static void count_outcome(struct sim_usage_row *usage, struct str outcome)
{
    usage->calls++;
    usage->failed_calls += str_is(outcome, "failed");
    usage->cancelled_calls += str_is(outcome, "cancelled");
    usage->cut_calls += str_is(outcome, "cut");
    usage->late_calls += str_is(outcome, "late");
    usage->hedged_calls += str_is(outcome, "hedged");
    usage->ambiguous_calls += str_is(outcome, "ambiguous");
}

static void ran(struct storing *s, size_t i)
{
    struct sim_store *store = s->store;
    struct str id = cell(s, COLUMN_r_id, i), outcome = cell(s, COLUMN_r_outcome, i);
    int64_t ord = store_int(cell(s, COLUMN_r_ord, i));
    if (map_find(&store->runs, id))
        return;
    if (ord > 0 && !s->fresh[ord].taken && str_is(outcome, "ok"))
        outcome = STR("late");
    struct run_row *run = arena_new(&store->sim->arena, struct run_row);
    struct sim_run_row *row = &run->row;
    *row = (struct sim_run_row){
        .id = id,
        .tenant = cell(s, COLUMN_r_tenant, i),
        .request = cell(s, COLUMN_r_request, i),
        .user = cell(s, COLUMN_r_user, i),
        .call_id = cell(s, COLUMN_r_call_id, i),
        .provider = cell(s, COLUMN_r_provider, i),
        .model = cell(s, COLUMN_r_model, i),
        .outcome = outcome,
        .error_code = cell(s, COLUMN_r_error_code, i),
        .slot = store_int(cell(s, COLUMN_r_slot, i)),
        .attempt = store_int(cell(s, COLUMN_r_attempt, i)),
        .input_tokens = store_int(cell(s, COLUMN_r_input, i)),
        .output_tokens = store_int(cell(s, COLUMN_r_output, i)),
        .cost_microusd = store_int(cell(s, COLUMN_r_cost, i)),
        .http_status = store_int(cell(s, COLUMN_r_http_status, i)),
        .created_ms = store_int(cell(s, COLUMN_r_created, i)),
        .metadata = cell(s, COLUMN_r_metadata, i),
    };
    row->tokens = row->input_tokens + row->output_tokens;
    map_add(&store->runs, &run->node, id);
    store_on_undo(store, run_remove, run);
    table_add(store, &store->run_rows, run);
    struct sim_usage_row *usage =
        used(store, row->created_ms, row->tenant, row->user, row->model, row->provider);
    count_outcome(usage, outcome);
    usage->unpriced_calls += !cell(s, COLUMN_r_cost, i).data && row->tokens > 0;
    usage->cache_write_tokens += store_int(cell(s, COLUMN_r_cache_write, i));
    usage->input_tokens += row->input_tokens;
    usage->output_tokens += row->output_tokens;
    usage->cached_input_tokens += store_int(cell(s, COLUMN_r_cached_input, i));
    usage->reasoning_tokens += store_int(cell(s, COLUMN_r_reasoning, i));
    usage->cost_microusd += row->cost_microusd;
    usage->latency_ms += store_int(cell(s, COLUMN_r_latency, i));
}

static void count_request(struct storing *s, size_t row)
{
    const struct fresh *f = &s->fresh[row + 1];
    if (f->taken && f->is_final)
        used(s->store, store_int(cell(s, COLUMN_q_created, row)), cell(s, COLUMN_q_tenant, row),
             cell(s, COLUMN_q_user, row), cell(s, COLUMN_q_model, row),
             cell(s, COLUMN_q_provider, row))
            ->requests++;
}

static void answer(struct storing *s, size_t row, struct sim_rows *ret)
{
    const struct fresh *f = &s->fresh[row + 1];
    if (!f->taken)
        return;
    struct str *cells = sim_rows_add(ret, 3);
    cells[0] = store_number(s->store, (int64_t)row + 1);
    if (f->turn)
        cells[1] = store_number(s->store, f->turn);
    if (f->outbox_id)
        cells[2] = store_number(s->store, f->outbox_id);
}

static bool run_store(struct sim_store *store, const struct str *params, bool asking,
                      struct sim_rows *ret)
{
    struct storing s = {.store = store};
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        s.c[i] = store_column(store, params[i]);
    s.count = s.c[COLUMN_q_id].count;
    store->stamp++;
    s.fresh = arena_array(&store->scratch, struct fresh, s.count + 1);
    memset(s.fresh, 0, (s.count + 1) * sizeof(*s.fresh));
    for (size_t i = 0; i < s.count; i++)
        if (!fresh_fill(&s, i))
            return false;
    for (size_t i = 0; i < s.count; i++)
        if (!conversation(&s, i))
            return false;
    for (size_t i = 0; i < s.count; i++) {
        settled(&s, i);
        sent(&s, i);
        count_request(&s, i);
        answer(&s, i, ret);
    }
    said(&s);
    kept(&s);
    for (size_t i = 0; i < s.c[COLUMN_r_id].count; i++)
        ran(&s, i);
    return !asking || ret->count == s.count ||
           store_one_body(store, &s.c[COLUMN_q_tenant], &s.c[COLUMN_q_id],
                          &s.c[COLUMN_q_body_hash]);
}

/* tenants, ids, hashes, vectors */
bool statement_embeddings(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    struct cells columns[4];
    (void)ret;
    for (size_t i = 0; i < 4; i++)
        columns[i] = store_column(store, params[i]);
    for (size_t i = 0; i < columns[0].count; i++) {
        struct request_row *request =
            store_request(store, columns[0].items[i], columns[1].items[i]);
        struct str hash = columns[2].items[i];
        if (!request || !request->exists || request->data.vectors.data ||
            !str_is(request->data.q[COLUMN_q_status], "done") ||
            !str_eq(request->data.q[COLUMN_q_body_hash], hash))
            continue;
        store_keep(store, &request->data.vectors, sizeof(request->data.vectors));
        request->data.vectors = columns[3].items[i];
    }
    return true;
}

bool statement_store(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    return run_store(store, params, true, ret);
}

bool statement_store_telling(struct sim_store *store, const struct str *params,
                             struct sim_rows *ret)
{
    return run_store(store, params, false, ret);
}
