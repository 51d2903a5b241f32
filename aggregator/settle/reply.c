/*
 * reply.c -- see reply.h.
 *
 * Both ways lead through struct reply, so a reply that is made again after a death says the same.
 * A reply that would not fit into a record is sent without the texts and vectors of its parts, and
 * if that is not enough, as one that says so: JSON may need six bytes for one of the answer's. So
 * is one that its topic has refused for its size.
 */
#include "aggregator/settle/reply.h"

#include <math.h>

#include "common/base/plant.h"
#include "common/data/json.h"

static bool writes(const struct reply *reply, struct buf *ret)
{
    buf_clear(ret);
    ret->overflowed = false;
    contract_write(&contract_reply, reply, ENCODING_JSON, ret);
    return !ret->overflowed;
}

static void drop_parts(struct reply *reply)
{
    for (size_t i = 0; i < reply->merge.parts.count; i++) {
        reply->merge.parts.items[i].text = (struct str){0};
        reply->merge.parts.items[i].embeddings = (struct str_list){0};
    }
}

static void write_too_big(const struct reply *whole, struct buf *ret)
{
    struct reply reply;
    contract_init(&contract_reply, &reply);
    reply.request_id = whole->request_id;
    reply.tenant = whole->tenant;
    reply.session = whole->session;
    reply.turn = whole->turn;
    reply.status = STR("failed");
    reply.usage = whole->usage;
    reply.cost_microusd = whole->cost_microusd;
    reply.times = whole->times;
    reply.error.code = str_of(err_name(ERR_TOO_BIG));
    reply.error.message = STR("the reply does not fit into a record (kafka.message_bytes_max, and "
                              "max.message.bytes of its topic); the answer is stored, 'quern "
                              "show' prints it");
    writes(&reply, ret);
}

static void write_reply(struct reply *reply, struct buf *ret)
{
    if (writes(reply, ret))
        return;
    drop_parts(reply);
    if (!writes(reply, ret))
        write_too_big(reply, ret);
}

static void fill_part(const struct result *result, struct reply_part *ret)
{
    contract_init(&contract_reply_part, ret);
    ret->slot = result->slot;
    ret->model = result->model;
    ret->provider = result->provider;
    ret->status = result->status;
    ret->text = result->text;
    ret->embeddings = result->embeddings;
    ret->finish_reason = result->finish_reason;
    ret->usage = result->usage;
    ret->cost_microusd = result->cost_microusd;
    ret->error = result->error;
}

static void fill_parts(const struct group *group, struct arena *arena, struct merged *ret)
{
    ret->parts.items = arena_array(arena, struct reply_part, group->slots);
    for (unsigned i = 0; i < group->slots; i++)
        if (group->parts[i])
            fill_part(&group->parts[i]->result, &ret->parts.items[ret->parts.count++]);
}

void reply_of_group(const struct group *group, int64_t turn, struct arena *arena, struct buf *ret)
{
    const struct ticket *ticket = group_ticket(group);
    const struct final *final = &group->final;
    struct totals totals;
    struct reply reply;
    group_totals(group, &totals);
    contract_init(&contract_reply, &reply);
    reply.request_id = group_id(group);
    reply.tenant = group_tenant(group);
    reply.session = ticket->session;
    reply.turn = turn ? turn : INT_ABSENT;
    reply.status = final->status;
    if (final->winner >= 0) {
        const struct result *winner = &group->parts[final->winner]->result;
        reply.text = winner->text;
        reply.embeddings = winner->embeddings;
        reply.message = winner->message;
        reply.finish_reason = winner->finish_reason;
        reply.merge.winner = winner->model;
    }
    if (group->slots > 1) {
        reply.merge.policy = ticket->merge.policy;
        reply.merge.agreement = final->agreement;
        fill_parts(group, arena, &reply.merge);
    }
    reply.usage = totals.usage;
    reply.cost_microusd = totals.cost_microusd;
    reply.times = totals.times;
    reply.error = final->error;
    reply.metadata = ticket->metadata;
    reply.extra = ticket->unknown;
    write_reply(&reply, ret);
}

static int64_t cell_int(const struct postgres_rows *rows, size_t row, size_t column,
                        int64_t otherwise)
{
    return postgres_is_null(rows, row, column) ? otherwise : postgres_cell_i64(rows, row, column);
}

static const struct value *cell_json(const struct postgres_rows *rows, size_t row, size_t column,
                                     struct arena *arena)
{
    struct value *value = arena_new(arena, struct value);
    if (postgres_is_null(rows, row, column) ||
        !json_read(postgres_cell(rows, row, column), arena, value, NULL))
        return NULL;
    return value;
}

struct str reply_unhex(struct arena *arena, struct str hex)
{
    char *bytes = arena_alloc(arena, hex.len / 2 + 1);
    for (size_t i = 0; i + 1 < hex.len; i += 2) {
        int high = hex.data[i] <= '9' ? hex.data[i] - '0' : hex.data[i] - 'a' + 10;
        int low = hex.data[i + 1] <= '9' ? hex.data[i + 1] - '0' : hex.data[i + 1] - 'a' + 10;
        bytes[i / 2] = (char)(high << 4 | low);
    }
    return str_from(bytes, hex.len / 2);
}

static bool read_part(const struct postgres_rows *parts, size_t row, struct arena *arena,
                      struct result *ret)
{
    enum encoding encoding;
    struct value document;
    struct str bytes = reply_unhex(arena, postgres_cell(parts, row, 2));
    contract_init(&contract_result, ret);
    return encoding_by_type(postgres_cell(parts, row, 1), &encoding) &&
           contract_parse(bytes, encoding, arena, &document, NULL) &&
           contract_read(&contract_result, contract_unwrap(&document), arena, ret, NULL);
}

static void load_parts(const struct postgres_rows *parts, int64_t id, struct arena *arena,
                       struct merged *ret)
{
    ret->parts.items = arena_array(arena, struct reply_part, SLOTS_MAX);
    for (size_t i = 0; i < parts->count && ret->parts.count < SLOTS_MAX; i++) {
        if (postgres_cell_i64(parts, i, 0) != id)
            continue;
        struct result *result = arena_new(arena, struct result);
        if (read_part(parts, i, arena, result))
            fill_part(result, &ret->parts.items[ret->parts.count++]);
    }
}

void reply_of_row(const struct postgres_rows *rows, size_t row, const struct postgres_rows *parts,
                  struct arena *arena, struct buf *ret)
{
    struct reply reply;
    contract_init(&contract_reply, &reply);
    reply.request_id = postgres_cell(rows, row, OUTBOX_REQUEST);
    reply.tenant = postgres_cell(rows, row, OUTBOX_TENANT);
    reply.session = postgres_cell(rows, row, OUTBOX_SESSION);
    reply.turn = cell_int(rows, row, OUTBOX_TURN, INT_ABSENT);
    reply.status = postgres_cell(rows, row, OUTBOX_STATUS);
    reply.text = PLANTED(34) ? STR("") : postgres_cell(rows, row, OUTBOX_TEXT);
    reply.message = cell_json(rows, row, OUTBOX_MESSAGE, arena);
    reply.finish_reason = postgres_cell(rows, row, OUTBOX_FINISH_REASON);
    reply.merge.winner = postgres_cell(rows, row, OUTBOX_WINNER);
    if (cell_int(rows, row, OUTBOX_SLOTS, 1) > 1) {
        reply.merge.policy = postgres_cell(rows, row, OUTBOX_POLICY);
        if (!str_to_f64(postgres_cell(rows, row, OUTBOX_AGREEMENT), &reply.merge.agreement))
            reply.merge.agreement = NAN;
        load_parts(parts, postgres_cell_i64(rows, row, OUTBOX_ID), arena, &reply.merge);
    }
    reply.usage = (struct usage){
        .input = cell_int(rows, row, OUTBOX_INPUT, 0),
        .output = cell_int(rows, row, OUTBOX_OUTPUT, 0),
        .cached_input = cell_int(rows, row, OUTBOX_CACHED_INPUT, 0),
        .reasoning = cell_int(rows, row, OUTBOX_REASONING, 0),
    };
    reply.cost_microusd = cell_int(rows, row, OUTBOX_COST, INT_ABSENT);
    reply.times.queued_ms = cell_int(rows, row, OUTBOX_QUEUED, 0);
    reply.times.first_token_ms = cell_int(rows, row, OUTBOX_FIRST_TOKEN, INT_ABSENT);
    reply.times.total_ms = cell_int(rows, row, OUTBOX_TOTAL, 0);
    reply.error.code = postgres_cell(rows, row, OUTBOX_ERROR_CODE);
    reply.error.message = postgres_cell(rows, row, OUTBOX_ERROR_MESSAGE);
    if (!str_empty(reply.error.code))
        reply.error.retry = str_of(err_retry_name(err_retry_of(err_by_name(reply.error.code))));
    reply.metadata = cell_json(rows, row, OUTBOX_METADATA, arena);
    reply.extra = cell_json(rows, row, OUTBOX_EXTRA, arena);
    reply.embeddings = str_list_of(cell_json(rows, row, OUTBOX_EMBEDDINGS, arena), arena);
    if (str_is(postgres_cell(rows, row, OUTBOX_TOO_BIG), "t"))
        write_too_big(&reply, ret);
    else
        write_reply(&reply, ret);
}
