-- 0006_run_metadata.sql: a call keeps its request's metadata.
--
-- So that calls can be told apart by what their publisher wrote there (an order, an experiment), also
-- those of a request that has no row yet, or never will. To be applied before aggregators of this
-- version start; older ones go on with quern_store_2(), whose rows have no metadata.
COMMENT ON COLUMN inference_runs.metadata IS 'of the request, as its publisher gave it';

-- quern_store_2() of 0004 with that column; its comments, and those of 0002, hold.
CREATE FUNCTION quern_store_3(
    q_tenant text[], q_id text[], q_status text[], q_kind text[], q_user text[], q_session text[],
    q_title text[], q_body_hash text[], q_slots integer[], q_policy text[], q_quorum integer[],
    q_deadline bigint[], q_reply_to text[], q_partition integer[], q_text text[], q_message text[],
    q_finish_reason text[], q_winner text[], q_agreement double precision[], q_input bigint[],
    q_output bigint[], q_cached_input bigint[], q_reasoning bigint[], q_cost bigint[],
    q_error_code text[], q_error_message text[], q_origin_topic text[],
    q_origin_partition integer[], q_origin_offset bigint[], q_metadata text[], q_extra text[],
    q_created bigint[], q_accepted bigint[], q_queued bigint[], q_first_token bigint[],
    q_total bigint[], q_reply_topic text[], q_traceparent text[], q_model text[],
    q_provider text[],
    m_ord integer[], m_id uuid[], m_position integer[], m_role text[], m_content text[],
    m_metadata text[],
    p_ord integer[], p_tenant text[], p_request text[], p_slot integer[], p_status text[],
    p_content_type text[], p_result bytea[],
    r_ord integer[], r_id uuid[], r_tenant text[], r_request text[], r_user text[],
    r_slot integer[], r_attempt integer[], r_call_id text[], r_provider text[], r_model text[],
    r_prompt text[], r_response text[], r_input bigint[], r_output bigint[],
    r_cached_input bigint[], r_cache_write bigint[], r_reasoning bigint[], r_cost bigint[],
    r_latency bigint[],
    r_http_status integer[], r_outcome text[], r_error_code text[], r_error_message text[],
    r_created bigint[], r_metadata text[])
RETURNS TABLE (s_ord bigint, s_turn bigint, s_outbox bigint)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_nestloop = off SET enable_mergejoin = off SET enable_sort = off
SET jit = off SET work_mem = '64MB'
AS $$
BEGIN
RETURN QUERY
-- Columns that many steps read stand first: a row is taken apart from its beginning.
WITH fresh AS MATERIALIZED (
    SELECT k.was, CASE WHEN k.status <> 'open' AND k.reply_topic IS NOT NULL
                       THEN nextval('outbox_id_seq') END AS outbox_id, k.ord, k.status, k.tenant, k.id,
        k.session_id, k.user_id, k.title, k.model, k.provider, k.created, k.reply_topic,
        k.traceparent, k.result_partition, k.kind, k.body_hash, k.slots, k.policy, k.quorum,
        k.deadline, k.reply_to, k.text, k.message, k.finish_reason, k.winner, k.agreement,
        k.input_tokens, k.output_tokens, k.cached_input_tokens, k.reasoning_tokens, k.cost,
        k.error_code, k.error_message, k.origin_topic, k.origin_partition, k.origin_offset,
        k.metadata, k.extra, k.accepted, k.queued_ms, k.first_token_ms, k.total_ms
    FROM (SELECT i.*, (SELECT r.status FROM requests r
                       WHERE r.tenant = i.tenant AND r.id = i.id) AS was
          FROM unnest(q_status, q_tenant, q_id, q_session, q_user, q_title, q_model, q_provider,
                      q_created, q_reply_topic, q_traceparent, q_partition, q_kind, q_body_hash,
                      q_slots, q_policy, q_quorum, q_deadline, q_reply_to, q_text,
                      q_message, q_finish_reason, q_winner, q_agreement, q_input, q_output,
                      q_cached_input, q_reasoning, q_cost, q_error_code, q_error_message,
                      q_origin_topic, q_origin_partition, q_origin_offset, q_metadata, q_extra,
                      q_accepted, q_queued, q_first_token, q_total)
               WITH ORDINALITY AS i (
                      status, tenant, id, session_id, user_id, title, model, provider,
                      created, reply_topic, traceparent, result_partition, kind, body_hash,
                      slots, policy, quorum, deadline, reply_to, text,
                      message, finish_reason, winner, agreement, input_tokens, output_tokens,
                      cached_input_tokens, reasoning_tokens, cost, error_code, error_message,
                      origin_topic, origin_partition, origin_offset, metadata, extra,
                      accepted, queued_ms, first_token_ms, total_ms, ord)
          OFFSET 0) k -- keeps the look-up from being done twice
    WHERE k.was IS NULL OR k.was = 'open'
),
conversation AS (
    INSERT INTO conversations AS c (tenant, user_id, session_id, title, turn, last_request_id)
    SELECT f.tenant, coalesce(f.user_id, ''), f.session_id, f.title, 1, f.id
    FROM fresh f WHERE f.session_id IS NOT NULL AND f.status <> 'open'
    ON CONFLICT (session_id, tenant) DO UPDATE
        SET turn = c.turn + 1, last_request_id = excluded.last_request_id, updated_at = now()
    RETURNING c.id, c.tenant, c.last_request_id, c.turn
),
settled AS MATERIALIZED (
    SELECT f.ord, f.outbox_id, f.was, c.id AS conversation_id, c.turn, f.status, f.tenant, f.id,
        f.session_id, f.user_id, f.title, f.model, f.provider, f.created, f.reply_topic,
        f.traceparent, f.result_partition, f.kind, f.body_hash, f.slots, f.policy, f.quorum,
        f.deadline, f.reply_to, f.text, f.message, f.finish_reason, f.winner, f.agreement,
        f.input_tokens, f.output_tokens, f.cached_input_tokens, f.reasoning_tokens, f.cost,
        f.error_code, f.error_message, f.origin_topic, f.origin_partition, f.origin_offset,
        f.metadata, f.extra, f.accepted, f.queued_ms, f.first_token_ms, f.total_ms
    FROM fresh f LEFT JOIN conversation c ON c.tenant = f.tenant AND c.last_request_id = f.id
),
created AS (
    INSERT INTO requests (
        tenant, id, status, kind, user_id, session_id, turn, body_hash, slots, merge_policy,
        merge_quorum, merge_deadline_at, reply_to, result_partition, text, message, finish_reason,
        winner, agreement, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens,
        cost_microusd, error_code, error_message, origin_topic, origin_partition, origin_offset,
        metadata, extra, created_at, accepted_at, finished_at, queued_ms, first_token_ms, total_ms)
    SELECT s.tenant, s.id, s.status, s.kind, s.user_id, s.session_id, s.turn, s.body_hash, s.slots,
        s.policy, s.quorum, to_timestamp(s.deadline / 1000::float8), s.reply_to, s.result_partition,
        s.text, s.message::jsonb, s.finish_reason, s.winner, s.agreement, s.input_tokens,
        s.output_tokens, s.cached_input_tokens, s.reasoning_tokens, s.cost, s.error_code,
        s.error_message, s.origin_topic, s.origin_partition, s.origin_offset, s.metadata::jsonb,
        s.extra::jsonb, to_timestamp(s.created / 1000::float8), to_timestamp(s.accepted / 1000::float8),
        CASE WHEN s.status <> 'open' THEN now() END, s.queued_ms, s.first_token_ms, s.total_ms
    FROM settled s WHERE s.was IS NULL
),
closed AS (
    INSERT INTO requests AS r (
        tenant, id, status, turn, result_partition, text, message, finish_reason, winner,
        agreement, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens,
        cost_microusd, error_code, error_message, created_at, finished_at, queued_ms,
        first_token_ms, total_ms)
    SELECT s.tenant, s.id, s.status, s.turn, s.result_partition, s.text, s.message::jsonb,
        s.finish_reason, s.winner, s.agreement, s.input_tokens, s.output_tokens,
        s.cached_input_tokens, s.reasoning_tokens, s.cost, s.error_code, s.error_message,
        to_timestamp(s.created / 1000::float8), CASE WHEN s.status <> 'open' THEN now() END, s.queued_ms,
        s.first_token_ms, s.total_ms
    FROM settled s WHERE s.was = 'open'
    ON CONFLICT (tenant, id) DO UPDATE SET
        status = excluded.status, turn = excluded.turn, text = excluded.text,
        message = excluded.message, finish_reason = excluded.finish_reason,
        winner = excluded.winner, agreement = excluded.agreement,
        input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
        cached_input_tokens = excluded.cached_input_tokens,
        reasoning_tokens = excluded.reasoning_tokens, cost_microusd = excluded.cost_microusd,
        error_code = excluded.error_code, error_message = excluded.error_message,
        finished_at = excluded.finished_at, queued_ms = excluded.queued_ms,
        first_token_ms = excluded.first_token_ms, total_ms = excluded.total_ms
    WHERE r.status = 'open'
),
said AS (
    INSERT INTO messages (id, tenant, conversation_id, request_id, turn, position, role, content,
                          metadata)
    SELECT m.id, s.tenant, s.conversation_id, s.id, s.turn, m.position, m.role, m.content,
        m.metadata::jsonb
    FROM unnest(m_ord, m_id, m_position, m_role, m_content, m_metadata)
             AS m (ord, id, position, role, content, metadata)
    JOIN settled s ON s.ord = m.ord
    WHERE s.conversation_id IS NOT NULL
),
sent AS (
    INSERT INTO outbox (id, tenant, request_id, topic, key, traceparent, result_partition)
    SELECT s.outbox_id, s.tenant, s.id, s.reply_topic, s.id, s.traceparent, s.result_partition
    FROM settled s WHERE s.outbox_id IS NOT NULL
),
kept AS (
    INSERT INTO parts (tenant, request_id, slot, status, content_type, result)
    SELECT p.tenant, p.request, p.slot, p.status, p.content_type, p.result
    FROM unnest(p_ord, p_tenant, p_request, p_slot, p_status, p_content_type, p_result)
             AS p (ord, tenant, request, slot, status, content_type, result)
    LEFT JOIN settled s ON s.ord = p.ord
    WHERE p.ord = 0 OR s.ord IS NOT NULL
    ON CONFLICT (tenant, request_id, slot) DO NOTHING
),
ran AS (
    INSERT INTO inference_runs AS n (
        id, tenant, request_id, user_id, slot, attempt, call_id, provider, model, prompt, response,
        tokens, input_tokens, output_tokens, cached_input_tokens, cache_write_tokens,
        reasoning_tokens, cost_microusd, latency_ms, http_status, outcome, error_code, error_message,
        created_at, metadata)
    SELECT r.id, r.tenant, r.request, r.user_id, r.slot, r.attempt, r.call_id, r.provider, r.model, r.prompt,
        r.response, r.input_tokens + r.output_tokens, r.input_tokens, r.output_tokens,
        r.cached_input_tokens, r.cache_write_tokens, r.reasoning_tokens, r.cost, r.latency, nullif(r.http_status, 0),
        CASE WHEN r.ord > 0 AND s.ord IS NULL AND r.outcome = 'ok' THEN 'late' ELSE r.outcome END,
        r.error_code, r.error_message, to_timestamp(r.created / 1000::float8), r.metadata::jsonb
    FROM unnest(r_ord, r_id, r_tenant, r_request, r_user, r_slot, r_attempt, r_call_id, r_provider,
                r_model, r_prompt, r_response, r_input, r_output, r_cached_input,
                r_cache_write, r_reasoning, r_cost, r_latency, r_http_status, r_outcome, r_error_code, r_error_message,
                r_created, r_metadata)
             AS r (ord, id, tenant, request, user_id, slot, attempt, call_id, provider,
                model, prompt, response, input_tokens, output_tokens, cached_input_tokens,
                cache_write_tokens, reasoning_tokens, cost, latency, http_status, outcome, error_code, error_message,
                created, metadata)
    LEFT JOIN settled s ON s.ord = r.ord
    ON CONFLICT (id) DO NOTHING
    RETURNING n.tenant, n.model, n.provider, n.outcome, n.input_tokens, n.output_tokens,
        n.cached_input_tokens, n.cache_write_tokens, n.reasoning_tokens, n.cost_microusd,
        n.latency_ms, n.user_id, n.created_at
),
used AS (
    INSERT INTO usage_daily AS u (
        day, tenant, user_id, model, provider, requests, calls, failed_calls, cancelled_calls,
        cut_calls, late_calls, hedged_calls, ambiguous_calls, unpriced_calls, input_tokens,
        output_tokens, cached_input_tokens, cache_write_tokens, reasoning_tokens, cost_microusd,
        latency_ms_total)
    SELECT a.day, a.tenant, a.user_id, a.model, a.provider, sum(a.requests)::bigint,
        count(a.outcome), count(*) FILTER (WHERE a.outcome = 'failed'),
        count(*) FILTER (WHERE a.outcome = 'cancelled'), count(*) FILTER (WHERE a.outcome = 'cut'),
        count(*) FILTER (WHERE a.outcome = 'late'), count(*) FILTER (WHERE a.outcome = 'hedged'),
        count(*) FILTER (WHERE a.outcome = 'ambiguous'), sum(a.unpriced)::bigint,
        sum(a.input)::bigint, sum(a.output)::bigint, sum(a.cached)::bigint,
        sum(a.written)::bigint, sum(a.reasoning)::bigint, sum(a.cost)::bigint,
        sum(a.latency)::bigint
    FROM (SELECT (to_timestamp(s.created / 1000::float8) AT TIME ZONE 'UTC')::date AS day, s.tenant,
              coalesce(s.user_id, '') AS user_id, coalesce(s.model, '') AS model,
              coalesce(s.provider, '') AS provider, 1 AS requests, NULL::text AS outcome,
              0 AS unpriced, 0::bigint AS input, 0::bigint AS output, 0::bigint AS cached,
              0::bigint AS written, 0::bigint AS reasoning, 0::bigint AS cost,
              0::double precision AS latency
          FROM settled s WHERE s.status <> 'open'
          UNION ALL
          SELECT (n.created_at AT TIME ZONE 'UTC')::date, n.tenant,
              coalesce(n.user_id, ''), coalesce(n.model, ''), coalesce(n.provider, ''),
              0, n.outcome,
              (n.cost_microusd IS NULL AND n.input_tokens + n.output_tokens > 0)::integer,
              n.input_tokens, n.output_tokens, n.cached_input_tokens,
              coalesce(n.cache_write_tokens, 0), n.reasoning_tokens,
              coalesce(n.cost_microusd, 0), n.latency_ms
          FROM ran n) a
    GROUP BY a.day, a.tenant, a.user_id, a.model, a.provider
    ORDER BY a.day, a.tenant, a.user_id, a.model, a.provider -- one order for all: no deadlocks
    ON CONFLICT (day, tenant, user_id, model, provider) DO UPDATE SET
        requests = u.requests + excluded.requests, calls = u.calls + excluded.calls,
        failed_calls = u.failed_calls + excluded.failed_calls,
        cancelled_calls = u.cancelled_calls + excluded.cancelled_calls,
        cut_calls = u.cut_calls + excluded.cut_calls,
        late_calls = u.late_calls + excluded.late_calls,
        hedged_calls = u.hedged_calls + excluded.hedged_calls,
        ambiguous_calls = u.ambiguous_calls + excluded.ambiguous_calls,
        unpriced_calls = u.unpriced_calls + excluded.unpriced_calls,
        input_tokens = u.input_tokens + excluded.input_tokens,
        output_tokens = u.output_tokens + excluded.output_tokens,
        cached_input_tokens = u.cached_input_tokens + excluded.cached_input_tokens,
        cache_write_tokens = u.cache_write_tokens + excluded.cache_write_tokens,
        reasoning_tokens = u.reasoning_tokens + excluded.reasoning_tokens,
        cost_microusd = u.cost_microusd + excluded.cost_microusd,
        latency_ms_total = u.latency_ms_total + excluded.latency_ms_total
)
SELECT s.ord, s.turn, s.outbox_id FROM settled s;
END
$$;
