/*
 * store.c -- quern-bench-store: how fast results are stored, against a yardstick.
 *
 * Both sides use one connection through the same door and the same batches, and store the same
 * rows: a request, a provider call, two messages of a conversation, the day's usage. The yardstick
 * is a plain INSERT .. SELECT unnest(..) per table and knows nothing: no fence, no check whether a
 * request is final already, no outbox. The aggregator's side is its real store room with all of
 * that; only its neighbours (gather, settle) are stand-ins, which delete the outbox rows as if the
 * replies had been delivered at once.
 *
 * Works in a schema of its own, `bench_store`, which is made and dropped. The server is taken from
 * QUERN_POSTGRES__CONNINFO and QUERN_POSTGRES__PASSWORD_FILE.
 */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "aggregator/aggregator.h"
#include "aggregator/store/rows.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/rand.h"
#include "common/base/xalloc.h"

enum { BATCH = 2000, TEXT_BYTES = 400, COUNT_OTHERWISE = 40000 };

static struct aggregator_conf conf = {
    .group = STR("bench"),
    .batch_parts_max = BATCH,
    .batch_bytes_max = 16 << 20,
    .backlog_parts_max = 1 << 20,
    .backlog_bytes_max = 1 << 30,
    .reply_retry_ms = 1000,
};
static struct aggregator aggregator = {.conf = &conf,
                                       .topic_results = STR("bench.results"),
                                       .topic_replies = STR("bench.replies"),
                                       .topic_dead = STR("bench.dead")};
static struct partition partition;
static size_t finals;
static struct buf sent;
static size_t sent_count;
static char text[TEXT_BYTES + 1];
static struct value question_pairs_holder, question_list;

/* ---- the neighbours ---- */

struct partition *aggregator_partition(struct aggregator *a, int32_t number)
{
    (void)a;
    return number == 0 ? &partition : NULL;
}

struct str aggregator_reply_topic(const struct aggregator *a, struct str reply_to)
{
    (void)reply_to;
    return a->topic_replies;
}

void gather_hold(struct gather *gather, bool hold)
{
    (void)gather;
    (void)hold;
}

void gather_forget(struct gather *gather, struct group *group)
{
    (void)gather;
    group_unref(group);
}

void gather_store_idle(struct gather *gather)
{
    (void)gather;
}

void gather_fenced(struct gather *gather)
{
    (void)gather;
    must_not_reach("nobody else works here");
}

void settle_sweep(struct settle *settle)
{
    (void)settle;
}

size_t settle_pending(const struct settle *settle)
{
    (void)settle;
    return 0;
}

void settle_final(struct settle *settle, const struct group *group, int64_t turn, int64_t outbox)
{
    (void)settle;
    (void)group;
    must(turn == 1 && outbox > 0);
    finals++;
    if (sent_count++ == 0) {
        buf_clear(&sent);
        postgres_array_begin(&sent);
    }
    postgres_array_add_i64(&sent, outbox);
}

bool settle_outbox_take(struct settle *settle, bool force, struct buf *ret_sent,
                        struct buf *ret_failed, struct buf *ret_errors)
{
    (void)settle;
    (void)force;
    if (!sent_count)
        return false;
    postgres_array_end(&sent);
    buf_clear(ret_sent);
    buf_add_str(ret_sent, buf_str(&sent));
    buf_clear(ret_failed);
    buf_clear(ret_errors);
    sent_count = 0;
    return true;
}

void settle_outbox_taken(struct settle *settle, bool stored)
{
    (void)settle;
    must(stored);
}

/* ---- what is stored ---- */

static struct part *make_part(size_t n, const char *side)
{
    struct part *part = part_new(aggregator.pool, 1 << 20);
    struct result *r = &part->result;
    char run[UUID_TEXT_LEN + 1];
    contract_init(&contract_result, r);
    r->request_id = arena_printf(&part->arena, "%s-%016zx", side, n);
    r->tenant = STR("default");
    r->model = STR("fake-small");
    r->provider = STR("openai");
    r->text = str_of(text);
    r->finish_reason = STR("stop");
    r->usage = (struct usage){.input = 120, .output = 80};
    r->cost_microusd = 42;
    r->times = (struct times){.queued_ms = 1, .first_token_ms = 5, .total_ms = 20};
    r->request.user = STR("user-1");
    r->request.session = arena_printf(&part->arena, "session-%s-%zu", side, n);
    r->request.kind = STR("chat");
    r->request.body_hash = STR("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    r->request.question = &question_list;
    r->request.created_at = 1767225600000 + (int64_t)n;
    r->request.deadline_at = r->request.created_at + 600000;
    r->request.topic = STR("bench.requests");
    r->request.offset = (int64_t)n;
    r->attempts.items = arena_new(&part->arena, struct attempt);
    r->attempts.count = 1;
    contract_init(&contract_attempt, r->attempts.items);
    rand_uuid7(loop_rand(aggregator.loop), loop_wall_ms(aggregator.loop), run);
    r->attempts.items[0].run_id = arena_str(&part->arena, str_of(run));
    r->attempts.items[0].call_id = r->request_id;
    r->attempts.items[0].model = r->model;
    r->attempts.items[0].provider = r->provider;
    r->attempts.items[0].http_status = 200;
    r->attempts.items[0].started_at = r->request.created_at;
    r->attempts.items[0].latency_ms = 20;
    r->attempts.items[0].usage = r->usage;
    r->attempts.items[0].cost_microusd = 42;
    r->attempts.items[0].outcome = STR("ok");
    return part;
}

static struct entry *make_entry(size_t n, const char *side)
{
    struct entry *entry = entry_new(ENTRY_PART, 0, (int64_t)n);
    struct part *part = make_part(n, side);
    struct group *group = group_new(part->result.tenant, part->result.request_id, 0, 1);
    must(group_take(group, part));
    entry->part = part;
    entry->group = group;
    entry->opens = entry->finishes = true;
    group->is_final = true;
    group->final = (struct final){.status = STR("done"), .winner = 0, .agreement = 0};
    group->accepted_ms = part->result.request.created_at;
    group->deadline_ms = part->result.request.deadline_at;
    group_ref(group); /* one for the entry, one that gather_forget() takes */
    return entry;
}

/* ---- the yardstick ---- */

enum { YARD_CONVERSATIONS, YARD_REQUESTS, YARD_RUNS, YARD_MESSAGES, YARD_USAGE, YARD_COUNT };

static const char *const yard_sql[YARD_COUNT] = {
    "INSERT INTO conversations (id, tenant, user_id, session_id, title, turn, last_request_id)"
    " SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[],"
    " $6::bigint[], $7::text[])",
    "INSERT INTO requests (tenant, id, status, kind, user_id, session_id, turn, body_hash, slots,"
    " merge_deadline_at, result_partition, text, finish_reason, winner, input_tokens,"
    " output_tokens, cached_input_tokens, reasoning_tokens, cost_microusd, origin_topic,"
    " origin_partition, origin_offset, created_at, accepted_at, finished_at, queued_ms,"
    " first_token_ms, total_ms)"
    " SELECT tenant, id, status, kind, usr, session, turn, hash, slots,"
    " to_timestamp(deadline / 1000::float8), part, txt, fin, winner, i, o, c, re, cost, topic, "
    "tpart,"
    " off, to_timestamp(created / 1000::float8), to_timestamp(created / 1000::float8), now(), q, "
    "f, t"
    " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],"
    " $7::bigint[], $8::text[], $9::integer[], $10::bigint[], $11::integer[], $12::text[],"
    " $13::text[], $14::text[], $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[],"
    " $19::bigint[], $20::text[], $21::integer[], $22::bigint[], $23::bigint[], $24::bigint[],"
    " $25::bigint[], $26::bigint[]) AS x (tenant, id, status, kind, usr, session, turn, hash,"
    " slots, deadline, part, txt, fin, winner, i, o, c, re, cost, topic, tpart, off, created, q,"
    " f, t)",
    "INSERT INTO inference_runs (id, tenant, request_id, slot, attempt, call_id, provider, model,"
    " prompt, response, tokens, input_tokens, output_tokens, cached_input_tokens,"
    " reasoning_tokens, cost_microusd, latency_ms, http_status, outcome, user_id, created_at)"
    " SELECT id, tenant, request, slot, attempt, call, provider, model, prompt, response, i + o, i,"
    " o, c, re, cost, latency, http, outcome, metadata, to_timestamp(created / 1000::float8)"
    " FROM unnest($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::integer[], $6::text[],"
    " $7::text[], $8::text[], $9::text[], $10::text[], $11::bigint[], $12::bigint[],"
    " $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::integer[], $18::text[],"
    " $19::text[], $20::bigint[]) AS x (id, tenant, request, slot, attempt, call, provider, model,"
    " prompt, response, i, o, c, re, cost, latency, http, outcome, metadata, created)",
    "INSERT INTO messages (id, tenant, conversation_id, request_id, turn, position, role, content)"
    " SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::bigint[],"
    " $6::integer[], $7::text[], $8::text[])",
    "INSERT INTO usage_daily AS u (day, tenant, user_id, model, provider, requests, calls,"
    " input_tokens, output_tokens, cost_microusd, latency_ms_total)"
    " VALUES ('2026-01-01', 'default', 'user-1', 'fake-small', 'openai', $1::bigint, $1::bigint,"
    " $2::bigint, $3::bigint, $4::bigint, $5::bigint)"
    " ON CONFLICT (day, tenant, user_id, model, provider) DO UPDATE SET"
    " requests = u.requests + excluded.requests, calls = u.calls + excluded.calls,"
    " input_tokens = u.input_tokens + excluded.input_tokens,"
    " output_tokens = u.output_tokens + excluded.output_tokens,"
    " cost_microusd = u.cost_microusd + excluded.cost_microusd,"
    " latency_ms_total = u.latency_ms_total + excluded.latency_ms_total",
};
static const int yard_columns[YARD_COUNT] = {7, 26, 20, 8, 5};

static struct buf yard[YARD_COUNT][32];

static void put_s(int table, int *column, struct str s)
{
    postgres_array_add(&yard[table][(*column)++], s);
}

static void put_n(int table, int *column, int64_t n)
{
    postgres_array_add_i64(&yard[table][(*column)++], n);
}

static struct str uuid(char ret[UUID_TEXT_LEN + 1])
{
    rand_uuid7(loop_rand(aggregator.loop), loop_wall_ms(aggregator.loop), ret);
    return str_of(ret);
}

static void yard_message(const struct result *r, struct str conversation, int position,
                         struct str role, struct str content)
{
    char id[UUID_TEXT_LEN + 1];
    int t = YARD_MESSAGES, c = 0;
    put_s(t, &c, uuid(id)), put_s(t, &c, r->tenant), put_s(t, &c, conversation),
        put_s(t, &c, r->request_id);
    put_n(t, &c, 1), put_n(t, &c, position), put_s(t, &c, role), put_s(t, &c, content);
}

static void yard_add(const struct part *part)
{
    const struct result *r = &part->result;
    const struct ticket *k = &r->request;
    const struct attempt *a = &r->attempts.items[0];
    struct str question = str_of(text);
    char id[UUID_TEXT_LEN + 1];
    struct str conversation = uuid(id);
    int t = YARD_CONVERSATIONS, c = 0;
    put_s(t, &c, conversation), put_s(t, &c, r->tenant), put_s(t, &c, k->user),
        put_s(t, &c, k->session);
    put_s(t, &c, str_utf8_cut(question, 120)), put_n(t, &c, 1), put_s(t, &c, r->request_id);
    t = YARD_REQUESTS, c = 0;
    put_s(t, &c, r->tenant), put_s(t, &c, r->request_id), put_s(t, &c, STR("done")),
        put_s(t, &c, k->kind);
    put_s(t, &c, k->user), put_s(t, &c, k->session), put_n(t, &c, 1), put_s(t, &c, k->body_hash);
    put_n(t, &c, 1), put_n(t, &c, k->deadline_at), put_n(t, &c, 0), put_s(t, &c, r->text);
    put_s(t, &c, r->finish_reason), put_s(t, &c, r->model), put_n(t, &c, 120), put_n(t, &c, 80);
    put_n(t, &c, 0), put_n(t, &c, 0), put_n(t, &c, 42), put_s(t, &c, k->topic), put_n(t, &c, 0);
    put_n(t, &c, k->offset), put_n(t, &c, k->created_at), put_n(t, &c, 1), put_n(t, &c, 5),
        put_n(t, &c, 20);
    t = YARD_RUNS, c = 0;
    put_s(t, &c, a->run_id), put_s(t, &c, r->tenant), put_s(t, &c, r->request_id), put_n(t, &c, 0);
    put_n(t, &c, 1), put_s(t, &c, a->call_id), put_s(t, &c, a->provider), put_s(t, &c, a->model);
    put_s(t, &c, question), put_s(t, &c, r->text), put_n(t, &c, 120), put_n(t, &c, 80),
        put_n(t, &c, 0);
    put_n(t, &c, 0), put_n(t, &c, 42), put_n(t, &c, 20), put_n(t, &c, 200), put_s(t, &c, STR("ok"));
    put_s(t, &c, k->user), put_n(t, &c, a->started_at);
    yard_message(r, conversation, 0, STR("user"), question);
    yard_message(r, conversation, 1, STR("assistant"), r->text);
}

static void yard_done(const struct postgres_result *result, const struct err *err, void *context)
{
    (void)result;
    if (err) {
        fprintf(stderr, "bench: %s\n", err->text);
        exit(1);
    }
    *(bool *)context = true;
}

static void yard_send(struct part **parts, size_t count, bool *done)
{
    struct str params[YARD_COUNT][32];
    struct postgres_query queries[YARD_COUNT];
    char numbers[5][24];
    const int64_t sums[5] = {1, 120, 80, 42, 20};
    for (int t = 0; t < YARD_USAGE; t++)
        for (int c = 0; c < yard_columns[t]; c++) {
            buf_clear(&yard[t][c]);
            postgres_array_begin(&yard[t][c]);
        }
    for (size_t i = 0; i < count; i++)
        yard_add(parts[i]);
    for (int t = 0; t < YARD_COUNT; t++) {
        for (int c = 0; t < YARD_USAGE && c < yard_columns[t]; c++) {
            postgres_array_end(&yard[t][c]);
            params[t][c] = buf_str(&yard[t][c]);
        }
        queries[t] =
            (struct postgres_query){STATEMENT_COUNT + (unsigned)t, params[t], yard_columns[t]};
    }
    for (int i = 0; i < 5; i++) {
        snprintf(numbers[i], sizeof(numbers[i]), "%lld", (long long)sums[i] * (long long)count);
        params[YARD_USAGE][i] = str_of(numbers[i]);
    }
    struct err err;
    must(postgres_batch(aggregator.pg, queries, YARD_COUNT, POSTGRES_TRANSACTION, yard_done, done,
                        &err));
}

/* ---- the two races ---- */

static double race_yardstick(size_t count)
{
    struct part **parts = xcalloc(BATCH, sizeof(*parts));
    int64_t spent_us = 0;
    for (size_t n = 0; n < count; n += BATCH) {
        bool done = false;
        for (size_t i = 0; i < BATCH; i++)
            parts[i] = make_part(n + i, "yard");
        int64_t from = loop_exact_us(aggregator.loop);
        yard_send(parts, BATCH, &done);
        while (!done)
            loop_turn(aggregator.loop, 100);
        spent_us += loop_exact_us(aggregator.loop) - from;
        for (size_t i = 0; i < BATCH; i++)
            part_free(parts[i]);
    }
    free(parts);
    return (double)count * 1e6 / (double)spent_us;
}

/* Results are made while none is waited for, and their making is not counted. */
static double race_store(size_t count)
{
    struct store *store = aggregator.store;
    int64_t spent_us = 0;
    finals = 0;
    for (size_t n = 0; n < count; n += BATCH) {
        for (size_t i = 0; i < BATCH; i++)
            store_add(store, make_entry(n + i, "ours"));
        int64_t from = loop_exact_us(aggregator.loop);
        store_run(store);
        while (store_busy(store))
            loop_turn(aggregator.loop, 100);
        spent_us += loop_exact_us(aggregator.loop) - from;
        must(store_idle(store) && finals == n + BATCH);
    }
    return (double)count * 1e6 / (double)spent_us;
}

/* ---- the surroundings ---- */

static void script(struct postgres_session *session, const char *sql)
{
    struct err err;
    if (postgres_session_script(session, sql, &err))
        return;
    fprintf(stderr, "bench: %s\n", err.text);
    exit(1);
}

static void script_file(struct postgres_session *session, const char *path)
{
    char *sql = xzalloc(1 << 20);
    FILE *file = fopen(path, "r");
    if (!file || fread(sql, 1, (1 << 20) - 1, file) == 0) {
        fprintf(stderr, "bench: cannot read '%s'\n", path);
        exit(1);
    }
    fclose(file);
    script(session, sql);
    free(sql);
}

/* All of them, in the order of their numbers. */
static void migrate(struct postgres_session *session)
{
    glob_t files;
    if (glob(BENCH_SOURCE_DIR "/schemas/sql/*.sql", 0, NULL, &files) != 0) {
        fprintf(stderr, "bench: there are no migrations\n");
        exit(1);
    }
    for (size_t i = 0; i < files.gl_pathc; i++)
        script_file(session, files.gl_pathv[i]);
    globfree(&files);
}

static struct str password(void)
{
    static char line[256];
    const char *path = getenv("QUERN_POSTGRES__PASSWORD_FILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file)
        return (struct str){0};
    if (!fgets(line, sizeof(line), file))
        line[0] = '\0';
    fclose(file);
    return str_trim(str_of(line));
}

static void open_door(struct postgres_conf *pg_conf)
{
    static struct postgres_statement statements[STATEMENT_COUNT + YARD_COUNT];
    memcpy(statements, aggregator_statements(), STATEMENT_COUNT * sizeof(*statements));
    static const char *const names[] = {"y0", "y1", "y2", "y3", "y4"};
    for (int i = 0; i < YARD_COUNT; i++)
        statements[STATEMENT_COUNT + i] =
            (struct postgres_statement){names[i], yard_sql[i], yard_columns[i]};
    pg_conf->statements = statements;
    pg_conf->statement_count = STATEMENT_COUNT + YARD_COUNT;
    struct err err;
    aggregator.pg = postgres_new(aggregator.loop, pg_conf, &err);
    must(aggregator.pg);
    while (!postgres_up(aggregator.pg))
        loop_turn(aggregator.loop, 100);
}

static void make_texts(void)
{
    static struct value_pair pairs[2];
    for (size_t i = 0; i < TEXT_BYTES; i++)
        text[i] = "the quick brown fox "[i % 20];
    pairs[0] = (struct value_pair){STR("role"), value_str(STR("user"))};
    pairs[1] = (struct value_pair){STR("content"), value_str(str_of(text))};
    question_pairs_holder = (struct value){.kind = VALUE_MAP, .count = 2, .pairs = pairs};
    question_list = (struct value){.kind = VALUE_LIST, .count = 1, .items = &question_pairs_holder};
}

int main(int argc, char **argv)
{
    size_t count = COUNT_OTHERWISE;
    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "--count") == 0)
            count = (size_t)strtoull(argv[i + 1], NULL, 10);
    count = (count + BATCH - 1) / BATCH * BATCH;

    struct err err;
    char conninfo[1024];
    const char *given = getenv("QUERN_POSTGRES__CONNINFO");
    log_init("quern-bench-store", "text", LOG_LEVEL_ERROR);
    snprintf(conninfo, sizeof(conninfo), "%s options='-c search_path=bench_store'",
             given ? given : "");
    struct postgres_conf pg_conf = {.conninfo = str_of(conninfo), .password = password()};
    struct postgres_session *session = postgres_session_open(&pg_conf, &err);
    if (!session) {
        fprintf(stderr, "bench: %s\n", err.text);
        return 69;
    }
    make_texts();
    buf_init(&sent, 1 << 26);
    for (int t = 0; t < YARD_COUNT; t++)
        for (int c = 0; c < yard_columns[t]; c++)
            buf_init(&yard[t][c], 1 << 29);
    aggregator.loop = loop_new(&err);
    aggregator.pool = arena_pool_new(8192, 16384);
    aggregator.store = store_new(&aggregator);
    double best[2] = {0, 0};
    for (int round = 0; round < 3; round++) {
        script(session, "DROP SCHEMA IF EXISTS bench_store CASCADE; CREATE SCHEMA bench_store");
        migrate(session);
        script(session, "INSERT INTO kafka_offsets VALUES ('bench', 'bench.results', 0, 0, 1)");
        partition = (struct partition){.assigned = true, .owned = true, .epoch = 1};
        sent_count = 0;
        open_door(&pg_conf);
        double rates[2] = {0}; /* the yardstick's, ours */
        /* Who goes first finds smaller tables: they take turns. */
        if (round % 2)
            rates[1] = race_store(count);
        rates[0] = race_yardstick(count);
        if (round % 2 == 0)
            rates[1] = race_store(count);
        for (int i = 0; i < 2; i++)
            if (rates[i] > best[i])
                best[i] = rates[i];
        postgres_free(aggregator.pg);
    }
    script(session, "DROP SCHEMA bench_store CASCADE");
    printf("results stored per second, one connection: %.0f; yardstick (plain INSERT .. SELECT"
           " unnest of the same rows): %.0f; share %.0f %% (at least 70 %%)\n",
           best[1], best[0], best[1] * 100 / best[0]);
    store_free(aggregator.store);
    postgres_session_close(session);
    arena_pool_free(aggregator.pool);
    buf_done(&sent);
    for (int t = 0; t < YARD_COUNT; t++)
        for (int c = 0; c < yard_columns[t]; c++)
            buf_done(&yard[t][c]);
    loop_free(aggregator.loop);
    return best[1] >= best[0] * 0.7 ? 0 : 1;
}
