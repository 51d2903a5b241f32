/*
 * rows.c -- see rows.h.
 *
 * Numbers come from other programs: they are clamped to what the columns and their daily sums can
 * hold, and a run id that is no UUID is replaced by one made from its hash, so that the same call
 * never counts twice.
 */
#include "aggregator/store/rows.h"

#include "aggregator/message.h"
#include "common/base/plant.h"
#include "common/data/digest.h"
#include "common/data/json.h"

#define COLUMN_BYTES_MAX ((size_t)1 << 29)
#define COUNT_MAX        INT64_C(1000000000000000)
#define TIME_MS_MAX      INT64_C(253402300799999)
#define ROLE_BYTES_MAX   50
#define TITLE_BYTES_MAX  120

void rows_init(struct rows *rows, const struct aggregator *aggregator)
{
    rows->aggregator = aggregator;
    for (int i = 0; i < COLUMN_COUNT; i++)
        buf_init(&rows->columns[i], COLUMN_BYTES_MAX);
    buf_init(&rows->scratch, COLUMN_BYTES_MAX);
}

void rows_done(struct rows *rows)
{
    for (int i = 0; i < COLUMN_COUNT; i++)
        buf_done(&rows->columns[i]);
    buf_done(&rows->scratch);
}

void rows_begin(struct rows *rows)
{
    rows->ord = 0;
    for (int i = 0; i < COLUMN_COUNT; i++) {
        buf_clear(&rows->columns[i]);
        postgres_array_begin(&rows->columns[i]);
    }
}

bool rows_params(struct rows *rows, struct str ret[COLUMN_COUNT])
{
    bool whole = true;
    for (int i = 0; i < COLUMN_COUNT; i++) {
        postgres_array_end(&rows->columns[i]);
        whole &= !rows->columns[i].overflowed;
        ret[i] = buf_str(&rows->columns[i]);
    }
    return whole;
}

static void text(struct rows *rows, enum column column, struct str value)
{
    postgres_array_add(&rows->columns[column], value);
}

/* Empty counts as not there. */
static void name(struct rows *rows, enum column column, struct str value)
{
    text(rows, column, value.len ? value : (struct str){0});
}

static void number(struct rows *rows, enum column column, int64_t value)
{
    if (value == INT_ABSENT)
        text(rows, column, (struct str){0});
    else
        postgres_array_add_i64(&rows->columns[column], value);
}

static int64_t clamp(int64_t value, int64_t max)
{
    if (value == INT_ABSENT)
        return value;
    return value < 0 ? 0 : value > max ? max : value;
}

static void count(struct rows *rows, enum column column, int64_t value)
{
    number(rows, column, clamp(value, COUNT_MAX));
}

static void json(struct rows *rows, enum column column, const struct value *value)
{
    if (!value || (value->kind == VALUE_MAP && value->count == 0)) {
        text(rows, column, (struct str){0});
        return;
    }
    buf_clear(&rows->scratch);
    json_write(value, &rows->scratch);
    text(rows, column, buf_str(&rows->scratch));
}

/* {"message": {..}}, what messages.metadata holds. */
static void message_json(struct rows *rows, const struct value *message)
{
    if (!message) {
        text(rows, COLUMN_m_metadata, (struct str){0});
        return;
    }
    buf_clear(&rows->scratch);
    buf_add_str(&rows->scratch, STR("{\"message\":"));
    json_write(message, &rows->scratch);
    buf_add_char(&rows->scratch, '}');
    text(rows, COLUMN_m_metadata, buf_str(&rows->scratch));
}

static struct str model_text(const struct group *group)
{
    const struct final *final = &group->final;
    return final->winner >= 0 ? group->parts[final->winner]->result.text : (struct str){0};
}

static void row_ticket(struct rows *rows, const struct group *group)
{
    const struct ticket *ticket = group_ticket(group);
    name(rows, COLUMN_q_kind, str_empty(ticket->kind) ? STR("chat") : ticket->kind);
    name(rows, COLUMN_q_user, ticket->user);
    name(rows, COLUMN_q_session, ticket->session);
    struct str question = message_question(group_question(group), &group->first->arena);
    name(rows, COLUMN_q_title,
         str_empty(ticket->session) ? (struct str){0} : str_utf8_cut(question, TITLE_BYTES_MAX));
    name(rows, COLUMN_q_body_hash, ticket->body_hash);
    number(rows, COLUMN_q_slots, group->slots);
    name(rows, COLUMN_q_policy, group->slots > 1 ? ticket->merge.policy : (struct str){0});
    number(rows, COLUMN_q_quorum, group->slots > 1 ? ticket->merge.quorum : INT_ABSENT);
    number(rows, COLUMN_q_deadline, clamp(group->deadline_ms, TIME_MS_MAX));
    name(rows, COLUMN_q_reply_to, ticket->reply_to);
    number(rows, COLUMN_q_partition, group->partition);
    name(rows, COLUMN_q_origin_topic, ticket->topic);
    number(rows, COLUMN_q_origin_partition, ticket->partition);
    number(rows, COLUMN_q_origin_offset, ticket->offset);
    json(rows, COLUMN_q_metadata, ticket->metadata);
    json(rows, COLUMN_q_extra, ticket->unknown);
    int64_t created = ticket->created_at > 0 ? ticket->created_at : group->accepted_ms;
    number(rows, COLUMN_q_created, clamp(created, TIME_MS_MAX));
    number(rows, COLUMN_q_accepted, clamp(group->accepted_ms, TIME_MS_MAX));
}

static void row_totals(struct rows *rows, const struct group *group)
{
    struct totals totals;
    group_totals(group, &totals);
    count(rows, COLUMN_q_input, totals.usage.input);
    count(rows, COLUMN_q_output, totals.usage.output);
    count(rows, COLUMN_q_cached_input, totals.usage.cached_input);
    count(rows, COLUMN_q_reasoning, totals.usage.reasoning);
    count(rows, COLUMN_q_cost, totals.cost_microusd);
    count(rows, COLUMN_q_queued, totals.times.queued_ms);
    count(rows, COLUMN_q_first_token, totals.times.first_token_ms);
    count(rows, COLUMN_q_total, totals.times.total_ms);
}

static void row_final(struct rows *rows, const struct group *group)
{
    const struct final *final = &group->final;
    const struct result *winner = final->winner >= 0 ? &group->parts[final->winner]->result : NULL;
    const struct result *shown = winner ? winner : &group->first->result;
    text(rows, COLUMN_q_text, model_text(group));
    json(rows, COLUMN_q_message, winner ? winner->message : NULL);
    name(rows, COLUMN_q_finish_reason, winner ? winner->finish_reason : (struct str){0});
    name(rows, COLUMN_q_winner, winner ? winner->model : (struct str){0});
    postgres_array_add_f64(&rows->columns[COLUMN_q_agreement], final->agreement);
    name(rows, COLUMN_q_error_code, final->error.code);
    name(rows, COLUMN_q_error_message, final->error.message);
    name(rows, COLUMN_q_model, shown->model);
    name(rows, COLUMN_q_provider, shown->provider);
    name(rows, COLUMN_q_reply_topic,
         aggregator_reply_topic(rows->aggregator, group_ticket(group)->reply_to));
}

static void row_open(struct rows *rows)
{
    static const enum column absent[] = {
        COLUMN_q_text,      COLUMN_q_message,    COLUMN_q_finish_reason, COLUMN_q_winner,
        COLUMN_q_agreement, COLUMN_q_error_code, COLUMN_q_error_message, COLUMN_q_model,
        COLUMN_q_provider,  COLUMN_q_reply_topic};
    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
        text(rows, absent[i], (struct str){0});
}

static struct str new_id(struct rows *rows, char ret[UUID_TEXT_LEN + 1])
{
    struct loop *loop = rows->aggregator->loop;
    rand_uuid7(loop_rand(loop), loop_wall_ms(loop), ret);
    return str_of(ret);
}

static void add_message(struct rows *rows, int32_t ord, int position, struct str role,
                        struct str content, const struct value *whole)
{
    char id[UUID_TEXT_LEN + 1];
    number(rows, COLUMN_m_ord, ord);
    text(rows, COLUMN_m_id, new_id(rows, id));
    number(rows, COLUMN_m_position, position);
    text(rows, COLUMN_m_role, str_utf8_cut(role, ROLE_BYTES_MAX));
    text(rows, COLUMN_m_content, content.data ? content : STR(""));
    message_json(rows, whole);
}

/* Only answered turns are part of the conversation. */
static void add_messages(struct rows *rows, const struct group *group)
{
    const struct ticket *ticket = group_ticket(group);
    if (str_empty(ticket->session) || !str_is(group->final.status, "done"))
        return;
    int position = 0;
    const struct value *question = group_question(group);
    for (size_t i = 0; question && i < question->count; i++) {
        const struct value *message = &question->items[i];
        struct str role = value_get_str(message, "role");
        add_message(rows, rows->ord, position++, role.data ? role : STR("user"),
                    message_text(message, &group->first->arena),
                    message_is_plain(message) ? NULL : message);
    }
    const struct result *winner = &group->parts[group->final.winner]->result;
    add_message(rows, rows->ord, position, STR("assistant"), winner->text, winner->message);
}

static void add_request(struct rows *rows, struct group *group)
{
    group->ord = ++rows->ord;
    text(rows, COLUMN_q_tenant, group_tenant(group));
    text(rows, COLUMN_q_id, group_id(group));
    bool is_final = group->row->finishes;
    text(rows, COLUMN_q_status, is_final ? group->final.status : STR("open"));
    name(rows, COLUMN_q_traceparent, group->first->traceparent);
    row_ticket(rows, group);
    row_totals(rows, group);
    if (!is_final) {
        row_open(rows);
        return;
    }
    row_final(rows, group);
    add_messages(rows, group);
}

static bool is_uuid(struct str id)
{
    if (id.len != UUID_TEXT_LEN)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? id.data[i] != '-' : !strchr("0123456789abcdefABCDEF", id.data[i]))
            return false;
    }
    return true;
}

static void run_id(struct rows *rows, struct str id)
{
    char digest[DIGEST_HEX + 1], fresh[UUID_TEXT_LEN + 1];
    if (PLANTED(28))
        id = new_id(rows, fresh);
    if (is_uuid(id)) {
        text(rows, COLUMN_r_id, id);
        return;
    }
    digest_sha256_hex(id, digest, 32);
    text(rows, COLUMN_r_id, str_from(digest, 32));
}

/* What a newer worker may say beyond this counts as failed. */
static struct str run_outcome(const struct attempt *attempt, bool late)
{
    static const char *const known[] = {"cancelled", "cut", "late", "hedged", "ambiguous"};
    if (str_is(attempt->outcome, "ok") || str_empty(attempt->outcome))
        return late ? STR("late") : STR("ok");
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (str_is(attempt->outcome, known[i]))
            return str_of(known[i]);
    return STR("failed");
}

static void add_run(struct rows *rows, const struct entry *entry, const struct attempt *attempt,
                    bool is_last)
{
    const struct result *result = &entry->part->result;
    bool answered = is_last && str_is(result->status, "ok");
    number(rows, COLUMN_r_ord, entry->group ? entry->group->ord : 0);
    run_id(rows, attempt->run_id);
    text(rows, COLUMN_r_tenant, result->tenant);
    text(rows, COLUMN_r_request, result->request_id);
    name(rows, COLUMN_r_user, result->request.user);
    number(rows, COLUMN_r_slot, result->slot);
    number(rows, COLUMN_r_attempt, attempt->number);
    name(rows, COLUMN_r_call_id, attempt->call_id);
    name(rows, COLUMN_r_provider,
         str_empty(attempt->provider) ? result->provider : attempt->provider);
    name(rows, COLUMN_r_model, str_empty(attempt->model) ? result->model : attempt->model);
    text(rows, COLUMN_r_prompt, message_question(result->request.question, &entry->part->arena));
    text(rows, COLUMN_r_response, answered ? result->text : (struct str){0});
    count(rows, COLUMN_r_input, attempt->usage.input);
    count(rows, COLUMN_r_output, attempt->usage.output);
    count(rows, COLUMN_r_cached_input, attempt->usage.cached_input);
    count(rows, COLUMN_r_cache_write, attempt->usage.cache_write);
    count(rows, COLUMN_r_reasoning, attempt->usage.reasoning);
    count(rows, COLUMN_r_cost, attempt->cost_microusd);
    count(rows, COLUMN_r_latency, attempt->latency_ms);
    number(rows, COLUMN_r_http_status, attempt->http_status);
    text(rows, COLUMN_r_outcome, run_outcome(attempt, entry->late));
    name(rows, COLUMN_r_error_code, attempt->error_code);
    name(rows, COLUMN_r_error_message, attempt->error_message);
    int64_t started = attempt->started_at > 0 ? attempt->started_at : entry->part->timestamp_ms;
    number(rows, COLUMN_r_created, clamp(started, TIME_MS_MAX));
    json(rows, COLUMN_r_metadata, result->request.metadata);
}

/* What could not be read is kept as what was made of it, for whoever takes over. */
static void add_part(struct rows *rows, const struct entry *entry)
{
    static const char hex[] = "0123456789abcdef";
    const struct part *part = entry->part;
    struct str bytes = part->raw, type = part->content_type;
    struct buf anew;
    buf_init(&anew, COLUMN_BYTES_MAX);
    if (part->salvaged) {
        contract_write(&contract_result, &part->result, ENCODING_JSON, &anew);
        bytes = buf_str(&anew);
        type = str_of(encoding_type(ENCODING_JSON));
    }
    number(rows, COLUMN_p_ord, entry->group->ord);
    text(rows, COLUMN_p_tenant, part->result.tenant);
    text(rows, COLUMN_p_request, part->result.request_id);
    number(rows, COLUMN_p_slot, part->result.slot);
    text(rows, COLUMN_p_status, part->result.status);
    text(rows, COLUMN_p_content_type, type.data ? type : STR("application/json"));
    buf_clear(&rows->scratch);
    buf_add_str(&rows->scratch, STR("\\x"));
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.data[i];
        buf_add_char(&rows->scratch, hex[c >> 4]);
        buf_add_char(&rows->scratch, hex[c & 15]);
    }
    text(rows, COLUMN_p_result, buf_str(&rows->scratch));
    buf_done(&anew);
}

void rows_mark(struct entry *entry)
{
    if (!entry->group)
        return;
    entry->group->ord = 0;
    if (entry->opens || entry->finishes)
        entry->group->row = entry;
}

void rows_add(struct rows *rows, struct entry *entry)
{
    struct group *group = entry->group;
    /* The row goes with the group's first entry in this transaction: runs and parts name it. */
    if (group && group->row && group->ord == 0)
        add_request(rows, group);
    if (!entry->part || entry->kind == ENTRY_REPEAT || entry->poisoned ||
        (PLANTED(29) && entry->late))
        return;
    if (group && entry->part->slotted && group->slots > 1)
        add_part(rows, entry);
    if (entry->kind == ENTRY_DEAD)
        return;
    const struct result *result = &entry->part->result;
    for (size_t i = 0; i < result->attempts.count; i++)
        add_run(rows, entry, &result->attempts.items[i], i + 1 == result->attempts.count);
}
