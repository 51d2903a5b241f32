/*
 * statements.c -- what the aggregator may ask PostgreSQL.
 *
 * The transaction itself is functions of schemas/sql/0002_store.sql to 0006. Undelivered rows of
 * the outbox come with the request's row, from which the reply is made anew: so the outbox stays
 * small, and an answer is written once.
 *
 * tests/sim/store_*.c answers these names without SQL: a change here is one there.
 */
#include "aggregator/aggregator.h"

#define COLUMN(name) COLUMN_##name,
enum column {
#include "aggregator/store/columns.def"
    COLUMN_COUNT
};
#undef COLUMN

#define OUTBOX_DUE                                                                                 \
    " FROM outbox o WHERE o.result_partition = ANY ($1::integer[]) AND o.id > $2::bigint"          \
    " AND o.attempts < $3::integer AND o.next_try_at <= now() ORDER BY o.id LIMIT $4::integer"

static struct postgres_statement statements[STATEMENT_COUNT] = {
    [STATEMENT_OWN] = {"own", "SELECT * FROM quern_own($1, $2, $3::integer[], $4::bigint[], $5)",
                       5},
    [STATEMENT_LOAD] =
        {"load",
         "SELECT r.tenant, r.id, r.result_partition, r.slots,"
         " (extract(epoch FROM r.merge_deadline_at) * 1000)::bigint,"
         " (extract(epoch FROM r.accepted_at) * 1000)::bigint,"
         " p.content_type, encode(p.result, 'hex')"
         " FROM requests r JOIN parts p ON p.tenant = r.tenant AND p.request_id = r.id"
         " WHERE r.status = 'open' AND r.result_partition = ANY ($1::integer[])"
         " ORDER BY r.tenant, r.id, p.received_at, p.slot",
         1},
    [STATEMENT_OFFSETS] =
        {"offsets",
         "SELECT partition, next_offset, epoch FROM kafka_offsets"
         " WHERE group_name = $1 AND topic = $2 AND partition = ANY ($3::integer[])",
         3},
    [STATEMENT_FENCE] = {"fence",
                         "SELECT quern_fence($1, $2, $3::integer[], $4::bigint[], $5::bigint[],"
                         " $6::bigint[])",
                         6},
    [STATEMENT_STORE] = {"store", NULL, COLUMN_COUNT},
    [STATEMENT_STORE_TELLING] = {"store_telling", NULL, COLUMN_COUNT},
    [STATEMENT_REPEAT] =
        {"repeat",
         "INSERT INTO outbox (tenant, request_id, topic, key, result_partition)"
         " SELECT r.tenant, r.id, i.topic, r.id, i.partition"
         " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::integer[])"
         " AS i (tenant, id, body_hash, topic, partition)"
         " JOIN requests r ON r.tenant = i.tenant AND r.id = i.id"
         " WHERE r.status <> 'open' AND r.body_hash = i.body_hash",
         5},
    [STATEMENT_BURY] =
        {"bury",
         "INSERT INTO outbox (tenant, request_id, topic, key, content_type, payload, headers,"
         " result_partition)"
         " SELECT tenant, id, topic, key, type, payload, headers::jsonb, partition"
         " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[],"
         " $7::text[], $8::integer[], $9::text[]) WITH ORDINALITY AS i (tenant, id, topic, key,"
         " type, payload, headers, partition, body_hash, ord)"
         " WHERE body_hash IS NULL"
         " OR ord IN (SELECT quern_other_body($1::text[], $2::text[], $9::text[])) ORDER BY ord",
         9},
    [STATEMENT_EMBEDDINGS] =
        {"embeddings",
         "INSERT INTO request_embeddings (tenant, request_id, vectors)"
         " SELECT r.tenant, r.id, i.vectors::jsonb"
         " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])"
         " AS i (tenant, id, body_hash, vectors)"
         " JOIN requests r ON r.tenant = i.tenant AND r.id = i.id"
         " WHERE r.status = 'done' AND r.body_hash IS NOT DISTINCT FROM i.body_hash"
         " ON CONFLICT DO NOTHING",
         4},
    [STATEMENT_ONE_BODY] = {"one_body",
                            "SELECT * FROM quern_one_body($1::text[], $2::text[], $3::text[])", 3},
    [STATEMENT_OUTBOX_SENT] = {"outbox_sent", "DELETE FROM outbox WHERE id = ANY ($1::bigint[])",
                               1},
    [STATEMENT_OUTBOX_FAILED] =
        {"outbox_failed",
         "UPDATE outbox o SET attempts = o.attempts + 1, last_error = i.error,"
         " next_try_at = now() + make_interval(secs => $3::double precision / 1000"
         " * power(2, least(o.attempts, 10)))"
         " FROM unnest($1::bigint[], $2::text[]) AS i (id, error) WHERE o.id = i.id",
         3},
    [STATEMENT_OUTBOX_LOAD] =
        {"outbox_load",
         "SELECT q.id, q.tenant, q.request_id, q.topic, q.key, q.content_type,"
         " encode(q.payload, 'hex'), q.headers, q.traceparent, r.session_id, r.turn, r.status,"
         " r.text, r.message, r.finish_reason, r.slots, r.merge_policy, r.winner, r.agreement,"
         " r.input_tokens, r.output_tokens, r.cached_input_tokens, r.reasoning_tokens,"
         " r.cost_microusd, r.queued_ms, r.first_token_ms, r.total_ms, r.error_code,"
         " r.error_message, r.metadata, r.extra, e.vectors, starts_with(q.last_error, 'too_big:')"
         " FROM (SELECT o.*" OUTBOX_DUE ") q"
         " LEFT JOIN requests r ON r.tenant = q.tenant AND r.id = q.request_id"
         " LEFT JOIN request_embeddings e ON e.tenant = q.tenant AND e.request_id = q.request_id"
         " ORDER BY q.id",
         4},
    [STATEMENT_OUTBOX_PARTS] =
        {"outbox_parts",
         "SELECT q.id, p.content_type, encode(p.result, 'hex')"
         " FROM (SELECT o.id, o.tenant, o.request_id, o.payload" OUTBOX_DUE ") q"
         " JOIN parts p ON p.tenant = q.tenant AND p.request_id = q.request_id"
         " WHERE q.payload IS NULL ORDER BY q.id, p.slot",
         4},
};

/* What quern_store() did not take was final before: then, and only then, because each question
 * costs a look into the table, it is asked whether that was of the same body. */
const struct postgres_statement *aggregator_statements(void)
{
    static char plain[1024], asking[1536];
    size_t len = (size_t)snprintf(plain, sizeof(plain), "SELECT * FROM quern_store_3(");
    for (int i = 1; i <= COLUMN_COUNT; i++)
        len += (size_t)snprintf(plain + len, sizeof(plain) - len, "%s$%d", i > 1 ? "," : "", i);
    snprintf(plain + len, sizeof(plain) - len, ")");
    snprintf(asking, sizeof(asking),
             "WITH taken AS MATERIALIZED (%s) SELECT * FROM taken UNION ALL"
             " SELECT b, b, b FROM quern_one_body($%d::text[], $%d::text[], $%d::text[]) b"
             " WHERE (SELECT count(*) FROM taken) < cardinality($%d::text[])",
             plain, COLUMN_q_tenant + 1, COLUMN_q_id + 1, COLUMN_q_body_hash + 1, COLUMN_q_id + 1);
    statements[STATEMENT_STORE].sql = asking;
    statements[STATEMENT_STORE_TELLING].sql = plain;
    return statements;
}
