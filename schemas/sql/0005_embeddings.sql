-- 0005_embeddings.sql: vectors of requests of kind 'embed'.
--
-- A row of its own per request, so that other requests do not carry the column, and so that vectors
-- can be deleted earlier than the requests they belong to: once their publishers have them, they are
-- only of use to a reply that is sent once more. To be applied before aggregators of this version
-- start.
CREATE TABLE request_embeddings (
    tenant     text        NOT NULL,
    request_id text        NOT NULL,
    vectors    jsonb       NOT NULL, -- a list of texts: base64 of 32-bit floats, little-endian
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, request_id)
);
CREATE INDEX request_embeddings_created ON request_embeddings (created_at);
-- Base64 of floats does not get smaller.
ALTER TABLE request_embeddings ALTER COLUMN vectors SET STORAGE EXTERNAL;
