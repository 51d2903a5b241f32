-- 0001_core.sql: what the fleet remembers. Requests and their parts, the ledger of provider calls,
-- conversations, daily usage, positions in Kafka, replies on their way out.
--
-- The tenant stands on every row and leads every key. All times are timestamptz. Functions that
-- write are in 0002_store.sql.

-- One row per accepted request. 'open' while parts are missing; every other status is final and
-- is never left again.
CREATE TABLE requests (
    tenant              text        NOT NULL,
    id                  text        NOT NULL,
    status              text        NOT NULL
                        CHECK (status IN ('open', 'done', 'failed', 'expired', 'cancelled')),
    kind                text        NOT NULL DEFAULT 'chat',
    user_id             text,
    session_id          text,
    turn                bigint,               -- of the conversation, from 1; set when final
    body_hash           text,                 -- tells the same request from another with its id
    slots               integer     NOT NULL DEFAULT 1,
    merge_policy        text,
    merge_quorum        integer,
    merge_deadline_at   timestamptz,          -- when the owner of the partition goes on without the rest
    reply_to            text,
    result_partition    integer     NOT NULL, -- of the result topic; its owner writes this row
    text                text,
    message             jsonb,
    finish_reason       text,
    winner              text,                 -- model whose answer is in text
    agreement           double precision,
    input_tokens        bigint,
    output_tokens       bigint,
    cached_input_tokens bigint,
    reasoning_tokens    bigint,
    cost_microusd       bigint,               -- null: no price configured
    error_code          text,
    error_message       text,
    origin_topic        text,
    origin_partition    integer,
    origin_offset       bigint,
    metadata            jsonb,                -- the publisher's
    extra               jsonb,                -- unknown fields of the request, passed on in the reply
    created_at          timestamptz NOT NULL, -- when the publisher made it
    accepted_at         timestamptz,          -- when its first part was read
    finished_at         timestamptz,
    queued_ms           bigint,
    first_token_ms      bigint,
    total_ms            bigint,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX requests_open ON requests (result_partition) WHERE status = 'open';
CREATE INDEX requests_session ON requests (tenant, session_id, turn) WHERE session_id IS NOT NULL;
CREATE INDEX requests_finished ON requests (finished_at);

-- The parts of requests with several models, as they came.
CREATE TABLE parts (
    tenant       text        NOT NULL,
    request_id   text        NOT NULL,
    slot         integer     NOT NULL,
    status       text        NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now(),
    content_type text        NOT NULL,
    result       bytea       NOT NULL,
    PRIMARY KEY (tenant, request_id, slot)
);

-- The ledger: one row per HTTP call to a provider, paid or not.
CREATE TABLE inference_runs (
    id                  uuid             PRIMARY KEY,
    tenant              text             NOT NULL,
    request_id          text             NOT NULL,
    user_id             text,
    slot                integer          NOT NULL,
    attempt             integer          NOT NULL,
    call_id             text,
    provider            text,
    model               text,
    prompt              text,             -- the user's last message
    response            text,
    tokens              bigint,           -- input and output together
    input_tokens        bigint,
    output_tokens       bigint,
    cached_input_tokens bigint,
    reasoning_tokens    bigint,
    cost_microusd       bigint,           -- null: no price configured
    latency_ms          double precision,
    http_status         integer,          -- null: no reply
    outcome             text             NOT NULL CHECK (outcome IN ('ok', 'failed', 'cancelled', 'late')),
    error_code          text,
    error_message       text,
    metadata            jsonb,
    created_at          timestamptz      NOT NULL DEFAULT now()
);
CREATE INDEX inference_runs_request ON inference_runs (tenant, request_id);
CREATE INDEX inference_runs_provider ON inference_runs (provider, created_at);

CREATE TABLE conversations (
    id              uuid         PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant          text         NOT NULL DEFAULT 'default',
    user_id         varchar(255) NOT NULL,
    session_id      varchar(255) NOT NULL,
    title           varchar(500),
    turn            bigint       NOT NULL DEFAULT 0, -- final requests so far, failed ones included
    last_request_id text,
    created_at      timestamptz  DEFAULT CURRENT_TIMESTAMP,
    updated_at      timestamptz  DEFAULT CURRENT_TIMESTAMP,
    is_active       boolean      DEFAULT true,
    UNIQUE (session_id, tenant)
) WITH (fillfactor = 80);
CREATE INDEX conversations_user ON conversations (tenant, user_id);
CREATE INDEX conversations_created ON conversations (created_at);

CREATE TABLE messages (
    id              uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant          text        NOT NULL DEFAULT 'default',
    conversation_id uuid        REFERENCES conversations (id),
    request_id      text,
    turn            bigint,
    position        integer,     -- within the turn, from 0
    role            varchar(50) NOT NULL,
    content         text        NOT NULL,
    metadata        jsonb,       -- {"message": {..}} when it is more than role and text
    created_at      timestamptz DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX messages_conversation ON messages (conversation_id, turn, position);
CREATE INDEX messages_created ON messages (created_at);

CREATE TABLE mcp_tool_calls (
    id                uuid         PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant            text         NOT NULL DEFAULT 'default',
    conversation_id   uuid         REFERENCES conversations (id),
    message_id        uuid         REFERENCES messages (id),
    tool_name         varchar(255) NOT NULL,
    service_name      varchar(255) NOT NULL,
    arguments         jsonb        NOT NULL,
    result            jsonb,
    success           boolean,
    error_message     text,
    execution_time_ms integer,
    created_at        timestamptz  DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX mcp_tool_calls_tool ON mcp_tool_calls (tool_name);
CREATE INDEX mcp_tool_calls_service ON mcp_tool_calls (service_name);
CREATE INDEX mcp_tool_calls_created ON mcp_tool_calls (created_at);
CREATE INDEX mcp_tool_calls_conversation ON mcp_tool_calls (conversation_id);

CREATE TABLE knowledge_documents (
    id             uuid         PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant         text         NOT NULL DEFAULT 'default',
    filename       varchar(500) NOT NULL,
    content_type   varchar(100),
    file_size      bigint,
    upload_user_id varchar(255),
    content        text,         -- the text as uploaded
    processed_at   timestamptz,
    created_at     timestamptz  DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX knowledge_documents_tenant ON knowledge_documents (tenant, created_at);

CREATE TABLE user_llm_preferences (
    id                      uuid         PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant                  text         NOT NULL DEFAULT 'default',
    user_id                 varchar(255) NOT NULL,
    preferred_model         varchar(255),
    temperature             decimal(3,2) DEFAULT 0.7,
    max_tokens              integer      DEFAULT 1000,
    use_rag_by_default      boolean      DEFAULT false,
    use_conversation_memory boolean      DEFAULT true,
    created_at              timestamptz  DEFAULT CURRENT_TIMESTAMP,
    updated_at              timestamptz  DEFAULT CURRENT_TIMESTAMP,
    UNIQUE (tenant, user_id)
);

CREATE TABLE usage_daily (
    day                 date   NOT NULL, -- UTC
    tenant              text   NOT NULL,
    user_id             text   NOT NULL DEFAULT '',
    model               text   NOT NULL DEFAULT '',
    provider            text   NOT NULL DEFAULT '',
    requests            bigint NOT NULL DEFAULT 0,
    calls               bigint NOT NULL DEFAULT 0,
    failed_calls        bigint NOT NULL DEFAULT 0,
    input_tokens        bigint NOT NULL DEFAULT 0,
    output_tokens       bigint NOT NULL DEFAULT 0,
    cached_input_tokens bigint NOT NULL DEFAULT 0,
    reasoning_tokens    bigint NOT NULL DEFAULT 0,
    cost_microusd       bigint NOT NULL DEFAULT 0,
    latency_ms_total    bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (day, tenant, user_id, model, provider)
) WITH (fillfactor = 50); -- few rows, updated by every transaction

-- How far a group has read each partition, and who may say so. The aggregator's truth: its offsets
-- move in the transaction that stores what they stand for. epoch grows with every new owner.
CREATE TABLE kafka_offsets (
    group_name  text        NOT NULL,
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    next_offset bigint      NOT NULL,
    epoch       bigint      NOT NULL DEFAULT 0,
    owner       text,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_name, topic, partition)
) WITH (fillfactor = 20);

-- Records that were decided in a transaction and are not in Kafka yet. Without a payload it is the
-- reply to the request, which is made from the request's row.
CREATE TABLE outbox (
    id               bigint      GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    tenant           text        NOT NULL,
    request_id       text        NOT NULL,
    topic            text        NOT NULL,
    key              text,
    content_type     text        NOT NULL DEFAULT 'application/json',
    payload          bytea,
    headers          jsonb,
    traceparent      text,
    result_partition integer     NOT NULL,
    attempts         integer     NOT NULL DEFAULT 0,
    next_try_at      timestamptz NOT NULL DEFAULT now(),
    last_error       text,
    created_at       timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
