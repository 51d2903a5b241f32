/*
 * ledger.c -- the ring of records and the totals; see ledger.h.
 *
 * Record n lies in place n modulo records_max. Places are allocated in blocks when first used, so a
 * short test does not pay for a million records. A table of call-id hashes knows which
 * ids the ring holds; it tells repeats without a search.
 */
#include "tests/fake/ledger.h"

#include "tests/fake/digest.h"
#include "tests/fake/seen.h"

#include <stdlib.h>

#define BLOCK_RECORDS ((size_t)4096)
#define LINES_BYTES   ((size_t)256 << 10) /* ledger_more stops about here */
#define LINES_SCANNED 20000               /* ... or after so many records */
#define STATUS_MAX    600
#define OTHER_MODEL   0

struct record {
    uint64_t n; /* 0: place never used */
    uint64_t t_ms, wall_ms, done_ms;
    uint64_t digest, key_hash, id_hash;
    const char *path;
    char *ids; /* call id, then idempotency key */
    uint32_t input_tokens, output_tokens;
    uint16_t call_id_len, idempotency_len;
    uint16_t status, model;
    bool has_key, has_digest, done, delivered;
};

struct totals {
    uint64_t calls, delivered, max_in_flight, input_tokens, output_tokens;
    uint64_t repeated_call_ids, repeated_calls, repeated_answers;
    uint64_t by_status[STATUS_MAX];
    uint64_t by_model[LEDGER_MODELS_MAX];
};

struct ledger {
    struct record **blocks;
    size_t records_max;
    uint64_t first, last; /* numbers of the oldest and newest record kept; first > last: none */
    uint64_t reset_at;    /* calls up to this number are not counted any more */
    uint64_t in_flight;
    struct seen ids;
    struct totals totals;
    struct {
        uint64_t hash;
        char *name;
    } models[LEDGER_MODELS_MAX];
    size_t models_len;
};

static struct record *place_of(const struct ledger *ledger, uint64_t n)
{
    size_t place = (size_t)(n % ledger->records_max);
    struct record **block = &ledger->blocks[place / BLOCK_RECORDS];
    if (!*block)
        *block = xcalloc(BLOCK_RECORDS, sizeof(struct record));
    return &(*block)[place % BLOCK_RECORDS];
}

static int model_find(const struct ledger *ledger, struct slice name)
{
    uint64_t hash = digest_of(name);
    for (size_t i = 0; i < ledger->models_len; i++) {
        if (ledger->models[i].hash == hash && slice_is(name, ledger->models[i].name))
            return (int)i;
    }
    return -1;
}

static uint16_t model_index(struct ledger *ledger, struct slice name)
{
    int found = model_find(ledger, name);
    if (found >= 0)
        return (uint16_t)found;
    if (ledger->models_len == LEDGER_MODELS_MAX)
        return OTHER_MODEL;
    char *copy = xcalloc(name.len + 1, 1);
    if (name.len)
        memcpy(copy, name.at, name.len);
    ledger->models[ledger->models_len].hash = digest_of(name);
    ledger->models[ledger->models_len].name = copy;
    return (uint16_t)ledger->models_len++;
}

struct ledger *ledger_new(size_t records_max)
{
    struct ledger *ledger = xcalloc(1, sizeof(*ledger));
    ledger->records_max = records_max;
    ledger->blocks = xcalloc(records_max / BLOCK_RECORDS + 1, sizeof(*ledger->blocks));
    ledger->first = 1;
    seen_init(&ledger->ids, records_max);
    model_index(ledger, slice_of("(other)"));
    return ledger;
}

/* Takes the oldest record out, and its call id with it. */
static void evict(struct ledger *ledger)
{
    struct record *record = place_of(ledger, ledger->first++);
    if (record->call_id_len) {
        struct seen_entry *entry = seen_find(&ledger->ids, record->id_hash);
        if (entry && --entry->count == 0)
            seen_drop(&ledger->ids, record->id_hash);
    }
    free(record->ids);
    *record = (struct record){0};
}

void ledger_free(struct ledger *ledger)
{
    if (!ledger)
        return;
    while (ledger->first <= ledger->last)
        evict(ledger);
    for (size_t i = 0; i <= ledger->records_max / BLOCK_RECORDS; i++)
        free(ledger->blocks[i]);
    for (size_t i = 0; i < ledger->models_len; i++)
        free(ledger->models[i].name);
    free(ledger->blocks);
    seen_done(&ledger->ids);
    free(ledger);
}

static uint16_t id_len(struct slice id)
{
    return (uint16_t)(id.len < LEDGER_ID_MAX ? id.len : LEDGER_ID_MAX);
}

static void id_copy(char *to, struct slice id, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] = id.at[i] >= ' ' && id.at[i] < 0x7f ? id.at[i] : '?';
}

static void ids_keep(struct record *record, const struct ledger_call *call)
{
    record->call_id_len = id_len(call->call_id);
    record->idempotency_len = id_len(call->idempotency_key);
    size_t len = (size_t)record->call_id_len + record->idempotency_len;
    if (len == 0)
        return;
    record->ids = xcalloc(len, 1);
    id_copy(record->ids, call->call_id, record->call_id_len);
    id_copy(record->ids + record->call_id_len, call->idempotency_key, record->idempotency_len);
}

static void count_id(struct ledger *ledger, struct record *record, struct slice call_id)
{
    if (call_id.len == 0)
        return;
    record->id_hash = digest_of(call_id);
    struct seen_entry *entry = seen_put(&ledger->ids, record->id_hash);
    entry->count++; /* never full: it has room for as many ids as there are records */
    ledger->totals.repeated_calls += entry->count > 1;
    ledger->totals.repeated_call_ids += entry->count == 2;
}

static void count_begin(struct ledger *ledger, const struct record *record)
{
    struct totals *totals = &ledger->totals;
    totals->calls++;
    totals->by_status[record->status]++;
    totals->by_model[record->model]++;
    totals->input_tokens += record->input_tokens;
    totals->output_tokens += record->output_tokens;
    ledger->in_flight++;
    if (ledger->in_flight > totals->max_in_flight)
        totals->max_in_flight = ledger->in_flight;
}

uint64_t ledger_begin(struct ledger *ledger, const struct ledger_call *call, struct moment now)
{
    if (ledger->last + 1 - ledger->first == ledger->records_max)
        evict(ledger);
    uint64_t n = ++ledger->last;
    struct record *record = place_of(ledger, n);
    *record = (struct record){
        .n = n,
        .t_ms = now.ms,
        .wall_ms = now.wall_ms,
        .digest = call->digest,
        .key_hash = call->key_hash,
        .path = call->path,
        .input_tokens = call->input_tokens,
        .output_tokens = call->output_tokens,
        .status = (uint16_t)call->status,
        .model = model_index(ledger, call->model),
        .has_key = call->has_key,
        .has_digest = call->has_digest,
    };
    ids_keep(record, call);
    count_id(ledger, record, call->call_id);
    count_begin(ledger, record);
    return n;
}

void ledger_finish(struct ledger *ledger, uint64_t n, bool delivered, struct moment now)
{
    ledger->in_flight--;
    if (delivered && n > ledger->reset_at)
        ledger->totals.delivered++;
    if (n < ledger->first)
        return; /* its record was pushed out meanwhile */
    struct record *record = place_of(ledger, n);
    record->done = true;
    record->done_ms = now.ms;
    record->delivered = delivered;
    if (!delivered)
        return;
    struct seen_entry *entry = record->call_id_len && record->status == 200
                                   ? seen_find(&ledger->ids, record->id_hash)
                                   : NULL;
    if (entry && ++entry->answered > 1)
        ledger->totals.repeated_answers++;
}

struct ledger_cursor ledger_open(const struct ledger *ledger, uint64_t since, const char *model)
{
    struct ledger_cursor cursor = {.next = since + 1, .last = ledger->last, .model = -1};
    if (since >= ledger->last)
        cursor.next = ledger->last + 1; /* also where since + 1 would wrap */
    if (model) {
        int found = model_find(ledger, slice_of(model));
        cursor.model = found < 0 ? -2 : found;
    }
    return cursor;
}

static void field_text(struct buf *out, const char *name, const char *at, size_t len)
{
    buf_text(out, name);
    if (len)
        buf_json(out, (struct slice){.at = at, .len = len});
    else
        buf_text(out, "null");
}

static void field_hash(struct buf *out, const char *name, bool present, uint64_t hash)
{
    char hex[16];
    digest_hex(hash, hex);
    field_text(out, name, hex, present ? sizeof(hex) : 0);
}

static void field_number(struct buf *out, const char *name, uint64_t number)
{
    buf_text(out, name);
    buf_number(out, number);
}

static void record_line(const struct ledger *ledger, const struct record *record, struct buf *out)
{
    const char *model = ledger->models[record->model].name;
    field_number(out, "{\"n\":", record->n);
    field_number(out, ",\"t_ms\":", record->t_ms);
    field_number(out, ",\"wall_ms\":", record->wall_ms);
    field_text(out, ",\"call_id\":", record->ids, record->call_id_len);
    field_text(out, ",\"idempotency_key\":", record->ids ? record->ids + record->call_id_len : NULL,
               record->idempotency_len);
    buf_text(out, ",\"model\":");
    buf_json(out, slice_of(model));
    field_text(out, ",\"path\":", record->path, strlen(record->path));
    field_number(out, ",\"status\":", record->status);
    field_number(out, ",\"input_tokens\":", record->input_tokens);
    field_number(out, ",\"output_tokens\":", record->output_tokens);
    buf_text(out, record->delivered ? ",\"delivered\":true" : ",\"delivered\":false");
    buf_text(out, ",\"done_ms\":");
    if (record->done)
        buf_number(out, record->done_ms);
    else
        buf_text(out, "null");
    field_hash(out, ",\"key_hash\":", record->has_key, record->key_hash);
    field_hash(out, ",\"digest\":", record->has_digest, record->digest);
    buf_text(out, "}\n");
}

bool ledger_more(const struct ledger *ledger, struct ledger_cursor *cursor, struct buf *out)
{
    size_t bytes_max = out->len + LINES_BYTES;
    if (cursor->next < ledger->first)
        cursor->next = ledger->first;
    for (int i = 0; i < LINES_SCANNED && out->len < bytes_max; i++) {
        if (cursor->next > cursor->last)
            return false;
        const struct record *record = place_of(ledger, cursor->next++);
        if (cursor->model == -1 || cursor->model == record->model)
            record_line(ledger, record, out);
    }
    return true;
}

static void by_status(const struct totals *totals, struct buf *out)
{
    const char *comma = "";
    for (size_t i = 0; i < STATUS_MAX; i++) {
        if (!totals->by_status[i])
            continue;
        buf_format(out, "%s\"%zu\":%llu", comma, i, (unsigned long long)totals->by_status[i]);
        comma = ",";
    }
}

static void by_model(const struct ledger *ledger, struct buf *out)
{
    const char *comma = "";
    for (size_t i = 0; i < ledger->models_len; i++) {
        if (!ledger->totals.by_model[i])
            continue;
        buf_text(out, comma);
        buf_json(out, slice_of(ledger->models[i].name));
        field_number(out, ":", ledger->totals.by_model[i]);
        comma = ",";
    }
}

void ledger_summary(const struct ledger *ledger, struct ledger_connections connections,
                    struct buf *out)
{
    const struct totals *totals = &ledger->totals;
    field_number(out, "{\"calls\":", totals->calls);
    buf_text(out, ",\"by_status\":{");
    by_status(totals, out);
    buf_text(out, "},\"by_model\":{");
    by_model(ledger, out);
    field_number(out, "},\"delivered\":", totals->delivered);
    field_number(out, ",\"in_flight\":", ledger->in_flight);
    field_number(out, ",\"max_in_flight\":", totals->max_in_flight);
    field_number(out, ",\"connections\":", connections.now);
    field_number(out, ",\"max_connections\":", connections.max);
    field_number(out, ",\"input_tokens\":", totals->input_tokens);
    field_number(out, ",\"output_tokens\":", totals->output_tokens);
    field_number(out, ",\"repeated_call_ids\":", totals->repeated_call_ids);
    field_number(out, ",\"repeated_calls\":", totals->repeated_calls);
    field_number(out, ",\"repeated_answers\":", totals->repeated_answers);
    field_number(out, ",\"first_n\":", ledger->first);
    field_number(out, ",\"last_n\":", ledger->last);
    buf_text(out, "}\n");
}

void ledger_reset(struct ledger *ledger)
{
    while (ledger->first <= ledger->last)
        evict(ledger);
    seen_clear(&ledger->ids);
    ledger->reset_at = ledger->last;
    ledger->totals = (struct totals){.max_in_flight = ledger->in_flight};
}
