/*
 * extras.c -- see extras.h. A dead letter carries the original bytes (of a large one the first
 * 64 KiB, with its size and hash) and says in headers why and whence. Of a request that lost its id
 * the original is not at hand: its dead letter is the result, and says where the request stands.
 */
#include "aggregator/store/extras.h"

#include "common/base/plant.h"
#include "common/data/digest.h"
#include "common/data/json.h"

#define COLUMN_BYTES_MAX ((size_t)1 << 29)
/* Metadata are at most 64 KiB, and six times that when all of it has to be escaped. */
#define REPLY_BYTES_MAX ((size_t)1 << 20)

void extras_init(struct extras *extras, const struct aggregator *aggregator)
{
    *extras = (struct extras){.aggregator = aggregator};
    for (size_t i = 0; i < VECTOR_COLUMNS; i++)
        buf_init(&extras->vectors[i], COLUMN_BYTES_MAX);
    buf_init(&extras->list, COLUMN_BYTES_MAX);
    for (size_t i = 0; i < REPEAT_COLUMNS; i++)
        buf_init(&extras->repeats[i], COLUMN_BYTES_MAX);
    for (size_t i = 0; i < BURY_COLUMNS; i++)
        buf_init(&extras->burials[i], COLUMN_BYTES_MAX);
    for (size_t i = 0; i < BODY_COLUMNS; i++)
        buf_init(&extras->bodies[i], COLUMN_BYTES_MAX);
    buf_init(&extras->scratch, REPLY_BYTES_MAX * 2 + 64); /* in hex; dead letters are smaller */
    buf_init(&extras->reply, REPLY_BYTES_MAX);
}

void extras_done(struct extras *extras)
{
    for (size_t i = 0; i < VECTOR_COLUMNS; i++)
        buf_done(&extras->vectors[i]);
    buf_done(&extras->list);
    for (size_t i = 0; i < REPEAT_COLUMNS; i++)
        buf_done(&extras->repeats[i]);
    for (size_t i = 0; i < BURY_COLUMNS; i++)
        buf_done(&extras->burials[i]);
    for (size_t i = 0; i < BODY_COLUMNS; i++)
        buf_done(&extras->bodies[i]);
    buf_done(&extras->scratch);
    buf_done(&extras->reply);
}

static void begin_columns(struct buf *columns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_clear(&columns[i]);
        postgres_array_begin(&columns[i]);
    }
}

void extras_begin(struct extras *extras, bool telling)
{
    extras->telling = telling;
    begin_columns(extras->vectors, VECTOR_COLUMNS);
    begin_columns(extras->repeats, REPEAT_COLUMNS);
    begin_columns(extras->burials, BURY_COLUMNS);
    begin_columns(extras->bodies, BODY_COLUMNS);
    extras->vector_count = 0;
    extras->repeat_count = extras->bury_count = extras->body_count = 0;
}

static void end_columns(struct buf *columns, size_t count, struct str *ret)
{
    for (size_t i = 0; i < count; i++) {
        postgres_array_end(&columns[i]);
        ret[i] = buf_str(&columns[i]);
    }
}

size_t extras_queries(struct extras *extras, struct postgres_query *ret)
{
    size_t count = 0;
    if (extras->vector_count) {
        end_columns(extras->vectors, VECTOR_COLUMNS, extras->vector_params);
        ret[count++] =
            (struct postgres_query){STATEMENT_EMBEDDINGS, extras->vector_params, VECTOR_COLUMNS};
    }
    if (extras->repeat_count) {
        end_columns(extras->repeats, REPEAT_COLUMNS, extras->repeat_params);
        ret[count++] =
            (struct postgres_query){STATEMENT_REPEAT, extras->repeat_params, REPEAT_COLUMNS};
    }
    if (extras->bury_count) {
        end_columns(extras->burials, BURY_COLUMNS, extras->bury_params);
        ret[count++] = (struct postgres_query){STATEMENT_BURY, extras->bury_params, BURY_COLUMNS};
    }
    if (extras->body_count) {
        end_columns(extras->bodies, BODY_COLUMNS, extras->body_params);
        ret[count++] =
            (struct postgres_query){STATEMENT_ONE_BODY, extras->body_params, BODY_COLUMNS};
    }
    return count;
}

/* The vectors of a request that this entry makes final: what its reply says. */
static void add_vectors(struct extras *extras, const struct group *group)
{
    const struct str_list *list = &group->parts[group->final.winner]->result.embeddings;
    struct json_writer w = {.out = &extras->list};
    if (!list->count || PLANTED(69))
        return;
    buf_clear(&extras->list);
    json_open(&w, '[');
    for (size_t i = 0; i < list->count; i++)
        json_str(&w, list->items[i]);
    json_close(&w, ']');
    postgres_array_add(&extras->vectors[0], group_tenant(group));
    postgres_array_add(&extras->vectors[1], group_id(group));
    postgres_array_add(&extras->vectors[2], group_ticket(group)->body_hash);
    postgres_array_add(&extras->vectors[3], buf_str(&extras->list));
    extras->vector_count++;
}

static void add_repeat(struct extras *extras, const struct entry *entry)
{
    const struct result *result = &entry->part->result;
    struct buf *columns = extras->repeats;
    postgres_array_add(&columns[0], result->tenant);
    postgres_array_add(&columns[1], result->request_id);
    postgres_array_add(&columns[2], result->request.body_hash);
    postgres_array_add(&columns[3],
                       aggregator_reply_topic(extras->aggregator, result->request.reply_to));
    postgres_array_add_i64(&columns[4], entry->partition);
    extras->repeat_count++;
}

static void header(struct json_writer *w, const char *name, struct str value)
{
    json_key(w, name);
    json_str(w, value);
}

static void header_number(struct json_writer *w, const char *name, long long value)
{
    char text[24];
    snprintf(text, sizeof(text), "%lld", value);
    header(w, name, str_of(text));
}

/* It may be anybody's bytes; only text can be kept. */
static struct str text_only(struct str key)
{
    bool is_text = key.len && str_utf8_valid(key) && !memchr(key.data, 0, key.len);
    return is_text ? key : (struct str){0};
}

struct reason {
    enum err_code code;
    struct str text;
};

static void write_headers(const struct extras *extras, const struct entry *entry,
                          struct reason reason, struct buf *ret)
{
    const struct part *part = entry->part;
    struct json_writer w = {.out = ret};
    json_open(&w, '{');
    header(&w, HEADER_DEAD_CODE, str_of(err_name(reason.code)));
    header(&w, HEADER_DEAD_REASON, reason.text);
    header(&w, HEADER_DEAD_TOPIC, extras->aggregator->topic_results);
    header_number(&w, HEADER_DEAD_PARTITION, entry->partition);
    header_number(&w, HEADER_DEAD_OFFSET, entry->offset);
    if (!str_empty(part->result.tenant))
        header(&w, HEADER_DEAD_TENANT, part->result.tenant);
    if (!str_empty(part->result.request_id))
        header(&w, HEADER_DEAD_ID, part->result.request_id);
    if (part->content_type.data && str_utf8_valid(part->content_type))
        header(&w, HEADER_CONTENT_TYPE, part->content_type);
    if (!str_empty(text_only(part->traceparent)))
        header(&w, HEADER_TRACEPARENT, part->traceparent);
    if (part->raw.len > DEAD_ORIGINAL_BYTES_MAX) {
        char hash[DIGEST_HEX + 1];
        digest_sha256_hex(part->raw, hash, DIGEST_HEX);
        header(&w, HEADER_DEAD_SHA256, str_of(hash));
        header_number(&w, HEADER_DEAD_ORIGINAL_BYTES, (long long)part->raw.len);
    }
    json_close(&w, '}');
}

/* A record on its way out. */
struct burial {
    struct str topic, key, type, payload, headers;
    struct str body_hash; /* absent: in any case; else only if the stored request has another */
};

static void add_row(struct extras *extras, const struct entry *entry, const struct burial *burial)
{
    const struct result *result = &entry->part->result;
    struct buf *columns = extras->burials, *scratch = &extras->scratch;
    postgres_array_add(&columns[0], result->tenant.data ? result->tenant : STR(""));
    postgres_array_add(&columns[1], result->request_id.data ? result->request_id : STR(""));
    postgres_array_add(&columns[2], burial->topic);
    postgres_array_add(&columns[3], burial->key);
    postgres_array_add(&columns[4], burial->type);
    postgres_array_add(&columns[6], burial->headers);
    buf_clear(scratch); /* the headers may have stood there */
    buf_add_str(scratch, STR("\\x"));
    for (size_t i = 0; i < burial->payload.len; i++)
        buf_printf(scratch, "%02x", (unsigned char)burial->payload.data[i]);
    postgres_array_add(&columns[5], buf_str(scratch));
    postgres_array_add_i64(&columns[7], entry->partition);
    postgres_array_add(&columns[8], burial->body_hash);
    extras->bury_count++;
}

static void add_burial(struct extras *extras, const struct entry *entry, struct reason reason,
                       struct str body_hash)
{
    const struct part *part = entry->part;
    buf_clear(&extras->scratch);
    write_headers(extras, entry, reason, &extras->scratch);
    add_row(extras, entry,
            &(struct burial){.topic = extras->aggregator->topic_dead,
                             .key = text_only(part->key),
                             .type = STR("application/octet-stream"),
                             .payload = str_slice(part->raw, 0, DEAD_ORIGINAL_BYTES_MAX),
                             .headers = buf_str(&extras->scratch),
                             .body_hash = body_hash});
}

/* ---- an id with two bodies ---- */

/* Its publisher is to be told if the stored request has another body. What PostgreSQL refuses is
 * not tried again. */
static bool may_have_lost(const struct entry *entry)
{
    if (!entry->part || entry->poisoned || entry->kind == ENTRY_REPEAT)
        return false;
    const struct result *result = &entry->part->result;
    return (entry->kind == ENTRY_PART || entry->part->salvaged) && result->slot == 0 &&
           !str_empty(result->request.body_hash);
}

/* Of its own row the store asks itself. */
static void add_body(struct extras *extras, const struct entry *entry)
{
    const struct result *result = &entry->part->result;
    if (entry->group && entry->group->row)
        return;
    postgres_array_add(&extras->bodies[0], result->tenant);
    postgres_array_add(&extras->bodies[1], result->request_id);
    postgres_array_add(&extras->bodies[2], result->request.body_hash);
    extras->body_count++;
}

/* As a worker says it that finds the conflict itself (worker/settle). */
static void write_conflict(const struct result *result, struct str text, struct buf *ret)
{
    struct reply reply;
    contract_init(&contract_reply, &reply);
    reply.request_id = result->request_id;
    reply.tenant = result->tenant;
    reply.session = result->request.session;
    reply.status = STR("failed");
    reply.error.code = str_of(err_name(ERR_ID_CONFLICT));
    reply.error.message = text;
    reply.metadata = result->request.metadata;
    buf_clear(ret);
    contract_write(&contract_reply, &reply, ENCODING_JSON, ret);
}

static void write_reply_headers(const struct part *part, struct buf *ret)
{
    struct json_writer w = {.out = ret};
    buf_clear(ret);
    json_open(&w, '{');
    header(&w, HEADER_CONTENT_TYPE, str_of(encoding_type(ENCODING_JSON)));
    header(&w, HEADER_CE_SPECVERSION, STR(CE_SPECVERSION));
    header(&w, HEADER_CE_ID, part->result.request_id);
    header(&w, HEADER_CE_TYPE, STR(CE_TYPE_REPLY));
    header(&w, HEADER_CE_SOURCE, STR("quern-aggregator"));
    if (!str_empty(text_only(part->traceparent)))
        header(&w, HEADER_TRACEPARENT, part->traceparent);
    json_close(&w, '}');
}

static void add_loser(struct extras *extras, const struct entry *entry)
{
    const struct part *part = entry->part;
    const struct result *result = &part->result;
    const struct ticket *ticket = &result->request;
    char text[512];
    snprintf(text, sizeof(text),
             "the id '" STR_FMT "' was used before with another body; use a new id",
             STR_ARG(result->request_id));
    write_conflict(result, str_of(text), &extras->reply);
    write_reply_headers(part, &extras->scratch);
    add_row(extras, entry,
            &(struct burial){.topic = aggregator_reply_topic(extras->aggregator, ticket->reply_to),
                             .key = result->request_id,
                             .type = str_of(encoding_type(ENCODING_JSON)),
                             .payload = buf_str(&extras->reply),
                             .headers = buf_str(&extras->scratch),
                             .body_hash = ticket->body_hash});
    if (entry->kind == ENTRY_DEAD)
        return; /* it is among the dead letters already */
    size_t len = strlen(text);
    if (!str_empty(text_only(ticket->topic)))
        snprintf(text + len, sizeof(text) - len,
                 "; the request is in topic '" STR_FMT "' partition %lld offset %lld",
                 STR_ARG(ticket->topic), (long long)ticket->partition, (long long)ticket->offset);
    add_burial(extras, entry, (struct reason){ERR_ID_CONFLICT, str_utf8_cut(str_of(text), 500)},
               ticket->body_hash);
}

void extras_add(struct extras *extras, const struct entry *entry)
{
    if (entry->finishes && entry->group->final.winner >= 0)
        add_vectors(extras, entry->group);
    if (entry->kind == ENTRY_REPEAT)
        add_repeat(extras, entry);
    else if (entry->kind == ENTRY_DEAD)
        add_burial(extras, entry, (struct reason){entry->dead_code, str_of(entry->dead_reason)},
                   (struct str){0});
    if (!may_have_lost(entry))
        return;
    if (extras->telling)
        add_loser(extras, entry);
    else
        add_body(extras, entry);
}
