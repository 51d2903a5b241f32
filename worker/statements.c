/*
 * statements.c -- what a worker may ask PostgreSQL. It reads, but for one row per partition: the
 * note that a partition was read before (see intake/assign.c).
 *
 * tests/sim/store_*.c answers these names without SQL: a change here is one there.
 */
#include "worker/worker.h"

const struct postgres_statement worker_statements[WORKER_STATEMENT_COUNT] = {
    [STATEMENT_LOOKUP] =
        {.name = "lookup",
         .sql = "SELECT r.tenant, r.id, r.status, r.body_hash, r.origin_topic, r.origin_partition,"
                " r.origin_offset,"
                " (SELECT string_agg(p.slot::text, ',') FROM parts p"
                "   WHERE p.tenant = r.tenant AND p.request_id = r.id)"
                " FROM unnest($1::text[], $2::text[]) AS q(tenant, id)"
                " JOIN requests r ON r.tenant = q.tenant AND r.id = q.id",
         .param_count = 2},
    [STATEMENT_HISTORY] =
        {.name = "history",
         .sql = "SELECT turn, last_request_id, message_turn, role, content, message FROM ("
                " SELECT c.turn, c.last_request_id, m.turn AS message_turn, m.position, m.role,"
                "  m.content, m.metadata->'message' AS message,"
                "  sum(octet_length(m.content)"
                "   + coalesce(octet_length((m.metadata->'message')::text), 0))"
                "   OVER (ORDER BY m.turn DESC, m.position DESC) AS bytes"
                " FROM conversations c"
                " LEFT JOIN messages m ON m.conversation_id = c.id AND m.turn > c.turn - $3::bigint"
                " WHERE c.tenant = $1 AND c.session_id = $2) newest"
                " WHERE bytes IS NULL OR bytes <= $4::bigint ORDER BY message_turn, position",
         .param_count = 4},
    [STATEMENT_FIRST_ASSIGNED] =
        {.name = "first_assigned",
         .sql = "WITH new AS (INSERT INTO kafka_offsets"
                " (group_name, topic, partition, next_offset, epoch, owner)"
                " VALUES ($1, $2, $3::int, $4::bigint, 0, $5) ON CONFLICT DO NOTHING"
                " RETURNING next_offset)"
                " SELECT next_offset, 1 FROM new UNION ALL"
                " SELECT next_offset, 0 FROM kafka_offsets WHERE group_name = $1 AND topic = $2"
                " AND partition = $3::int AND NOT EXISTS (SELECT 1 FROM new)",
         .param_count = 5},
    [STATEMENT_SPENT] = {.name = "spent",
                         .sql = "SELECT coalesce(sum(cost_microusd), 0)::bigint FROM usage_daily"
                                " WHERE day >= $1::date AND day < $2::date"
                                " AND (tenant = $3 OR model = ANY ($4::text[]))",
                         .param_count = 4},
};
