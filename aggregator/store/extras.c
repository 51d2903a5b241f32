/*
 * extras.c -- see extras.h. A dead letter carries the original bytes (of a large one the first
 * 64 KiB, with its size and hash) and says in headers why and whence.
 */
#include "aggregator/store/extras.h"

#include "common/data/digest.h"
#include "common/data/json.h"

#define COLUMN_BYTES_MAX ((size_t)1 << 29)

void extras_init(struct extras *extras, const struct aggregator *aggregator)
{
    *extras = (struct extras){.aggregator = aggregator};
    for (size_t i = 0; i < REPEAT_COLUMNS; i++)
        buf_init(&extras->repeats[i], COLUMN_BYTES_MAX);
    for (size_t i = 0; i < BURY_COLUMNS; i++)
        buf_init(&extras->burials[i], COLUMN_BYTES_MAX);
    buf_init(&extras->scratch, (size_t)DEAD_ORIGINAL_BYTES_MAX * 4);
}

void extras_done(struct extras *extras)
{
    for (size_t i = 0; i < REPEAT_COLUMNS; i++)
        buf_done(&extras->repeats[i]);
    for (size_t i = 0; i < BURY_COLUMNS; i++)
        buf_done(&extras->burials[i]);
    buf_done(&extras->scratch);
}

static void begin_columns(struct buf *columns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_clear(&columns[i]);
        postgres_array_begin(&columns[i]);
    }
}

void extras_begin(struct extras *extras)
{
    begin_columns(extras->repeats, REPEAT_COLUMNS);
    begin_columns(extras->burials, BURY_COLUMNS);
    extras->repeat_count = extras->bury_count = 0;
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
    if (extras->repeat_count) {
        end_columns(extras->repeats, REPEAT_COLUMNS, extras->repeat_params);
        ret[count++] =
            (struct postgres_query){STATEMENT_REPEAT, extras->repeat_params, REPEAT_COLUMNS};
    }
    if (extras->bury_count) {
        end_columns(extras->burials, BURY_COLUMNS, extras->bury_params);
        ret[count++] = (struct postgres_query){STATEMENT_BURY, extras->bury_params, BURY_COLUMNS};
    }
    return count;
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

static void write_headers(const struct extras *extras, const struct entry *entry, struct buf *ret)
{
    const struct part *part = entry->part;
    struct json_writer w = {.out = ret};
    json_open(&w, '{');
    header(&w, HEADER_DEAD_CODE, str_of(err_name(entry->dead_code)));
    header(&w, HEADER_DEAD_REASON, str_of(entry->dead_reason));
    header(&w, HEADER_DEAD_TOPIC, extras->aggregator->topic_results);
    header_number(&w, HEADER_DEAD_PARTITION, entry->partition);
    header_number(&w, HEADER_DEAD_OFFSET, entry->offset);
    if (!str_empty(part->result.tenant))
        header(&w, HEADER_DEAD_TENANT, part->result.tenant);
    if (!str_empty(part->result.request_id))
        header(&w, HEADER_DEAD_ID, part->result.request_id);
    if (part->content_type.data && str_utf8_valid(part->content_type))
        header(&w, HEADER_CONTENT_TYPE, part->content_type);
    if (part->raw.len > DEAD_ORIGINAL_BYTES_MAX) {
        char hash[DIGEST_HEX + 1];
        digest_sha256_hex(part->raw, hash, DIGEST_HEX);
        header(&w, HEADER_DEAD_SHA256, str_of(hash));
        header_number(&w, HEADER_DEAD_ORIGINAL_BYTES, (long long)part->raw.len);
    }
    json_close(&w, '}');
}

/* A key may be anybody's bytes; only text can be kept. */
static struct str text_key(struct str key)
{
    bool is_text = key.len && str_utf8_valid(key) && !memchr(key.data, 0, key.len);
    return is_text ? key : (struct str){0};
}

static void add_burial(struct extras *extras, const struct entry *entry)
{
    const struct part *part = entry->part;
    const struct result *result = &part->result;
    struct buf *columns = extras->burials, *scratch = &extras->scratch;
    postgres_array_add(&columns[0], result->tenant.data ? result->tenant : STR(""));
    postgres_array_add(&columns[1], result->request_id.data ? result->request_id : STR(""));
    postgres_array_add(&columns[2], extras->aggregator->topic_dead);
    postgres_array_add(&columns[3], text_key(part->key));
    postgres_array_add(&columns[4], STR("application/octet-stream"));
    buf_clear(scratch);
    buf_add_str(scratch, STR("\\x"));
    struct str bytes = str_slice(part->raw, 0, DEAD_ORIGINAL_BYTES_MAX);
    for (size_t i = 0; i < bytes.len; i++)
        buf_printf(scratch, "%02x", (unsigned char)bytes.data[i]);
    postgres_array_add(&columns[5], buf_str(scratch));
    buf_clear(scratch);
    write_headers(extras, entry, scratch);
    postgres_array_add(&columns[6], buf_str(scratch));
    postgres_array_add_i64(&columns[7], entry->partition);
    extras->bury_count++;
}

void extras_add(struct extras *extras, const struct entry *entry)
{
    if (entry->kind == ENTRY_REPEAT)
        add_repeat(extras, entry);
    else if (entry->kind == ENTRY_DEAD)
        add_burial(extras, entry);
}
