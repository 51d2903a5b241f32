/*
 * store_reads.c -- the statements that only read: open requests with their parts, what is known of
 * requests, the newest turns of a conversation.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/store_inside.h"

/* An open part, as the aggregator that takes over wants it. */
struct open_part {
    const struct request_row *request;
    const struct stored_part *part;
    int slot;
};

static int by_request_and_time(const void *a, const void *b)
{
    const struct open_part *x = a, *y = b;
    int order = str_cmp(x->request->node.key, y->request->node.key);
    return order ? order : x->part->received < y->part->received ? -1 : 1;
}

static void load_row(const struct open_part *open, struct str *cells)
{
    const struct str *q = open->request->data.q;
    cells[0] = q[COLUMN_q_tenant];
    cells[1] = q[COLUMN_q_id];
    cells[2] = q[COLUMN_q_partition];
    cells[3] = q[COLUMN_q_slots];
    cells[4] = q[COLUMN_q_deadline];
    cells[5] = q[COLUMN_q_accepted];
    cells[6] = open->part->content_type;
    cells[7] = open->part->hex;
}

/* partitions */
bool statement_load(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    struct cells partitions = store_column(store, params[0]);
    struct open_part *open =
        arena_array(&store->scratch, struct open_part, store->request_rows.count * SLOTS_MAX + 1);
    size_t count = 0;
    for (size_t i = 0; i < store->request_rows.count; i++) {
        const struct request_row *request = store->request_rows.rows[i];
        if (request_is_final(request) ||
            !column_has(&partitions, store_int(request->data.q[COLUMN_q_partition])))
            continue;
        for (int slot = 0; slot < SLOTS_MAX; slot++)
            if (request->parts[slot].exists)
                open[count++] = (struct open_part){request, &request->parts[slot], slot};
    }
    qsort(open, count, sizeof(*open), by_request_and_time);
    for (size_t i = 0; i < count; i++)
        load_row(&open[i], sim_rows_add(ret, 8));
    return true;
}

static struct str slots_of(struct sim_store *store, const struct request_row *request)
{
    char text[SLOTS_MAX * 3 + 1];
    size_t len = 0;
    for (int slot = 0; slot < SLOTS_MAX; slot++)
        if (request->parts[slot].exists)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%d", len ? "," : "", slot);
    return len ? arena_str(&store->sim->arena, str_from(text, len)) : (struct str){0};
}

/* tenants, ids */
bool statement_lookup(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    static const enum column columns[] = {COLUMN_q_tenant,       COLUMN_q_id,
                                          COLUMN_q_status,       COLUMN_q_body_hash,
                                          COLUMN_q_origin_topic, COLUMN_q_origin_partition,
                                          COLUMN_q_origin_offset};
    struct cells tenants = store_column(store, params[0]), ids = store_column(store, params[1]);
    for (size_t i = 0; i < ids.count; i++) {
        const struct request_row *request = store_request(store, tenants.items[i], ids.items[i]);
        if (!request || !request->exists)
            continue;
        struct str *cells = sim_rows_add(ret, 8);
        for (size_t k = 0; k < sizeof(columns) / sizeof(columns[0]); k++)
            cells[k] = request->data.q[columns[k]];
        cells[7] = slots_of(store, request);
    }
    return true;
}

/* metadata->'message': what stands behind the one key of the object that rows.c writes. */
static struct str whole_message(struct str metadata)
{
    const size_t before = strlen("{\"message\":");
    return metadata.len > before ? str_slice(metadata, before, metadata.len - 1) : (struct str){0};
}

/* tenant, session, turns, bytes */
bool statement_history(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    struct map_node *node = map_find(&store->conversations, store_key(store, params[0], params[1]));
    if (!node)
        return true;
    const struct conversation_row *c = container_of(node, struct conversation_row, node);
    int64_t oldest = c->row.turn - store_int(params[2]), bytes_max = store_int(params[3]),
            bytes = 0;
    size_t first = c->messages.count;
    bool any = false;
    while (first > 0) {
        const struct sim_message_row *m =
            &((const struct message_row *)c->messages.rows[first - 1])->row;
        if (m->turn <= oldest)
            break;
        any = true;
        bytes += (int64_t)(m->content.len + whole_message(m->metadata).len);
        if (bytes > bytes_max)
            break;
        first--;
    }
    for (size_t i = first; i < c->messages.count || (!any && i == first); i++) {
        struct str *cells = sim_rows_add(ret, 6);
        cells[0] = store_number(store, c->row.turn);
        cells[1] = c->row.last_request;
        if (!any)
            break;
        const struct sim_message_row *m = &((const struct message_row *)c->messages.rows[i])->row;
        cells[2] = store_number(store, m->turn);
        cells[3] = m->role;
        cells[4] = m->content;
        cells[5] = whole_message(m->metadata);
    }
    return true;
}

static void date_of_day(int64_t day, char ret[11])
{
    time_t seconds = (time_t)(day * 86400);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(ret, 11, "%Y-%m-%d", &tm);
}

/* first day, day behind the last, tenant, models */
bool statement_spent(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    struct cells models = store_column(store, params[3]);
    int64_t cost = 0;
    char date[11];
    for (size_t i = 0; i < store->usage_rows.count; i++) {
        const struct sim_usage_row *row =
            &((const struct usage_row *)store->usage_rows.rows[i])->row;
        bool is_one = params[2].data && str_eq(row->tenant, params[2]);
        for (size_t k = 0; k < models.count; k++)
            is_one |= str_eq(row->model, models.items[k]);
        date_of_day(row->day, date);
        if (is_one && str_cmp(str_of(date), params[0]) >= 0 && str_cmp(str_of(date), params[1]) < 0)
            cost += row->cost_microusd;
    }
    sim_rows_add(ret, 1)[0] = store_number(store, cost);
    return true;
}
