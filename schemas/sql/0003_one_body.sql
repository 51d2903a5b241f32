-- 0003_one_body.sql: an id that was answered for two bodies.
--
-- Workers that could not know of each other answer both. What is stored first stays, and whoever
-- published the other is told so in the transaction that moves past its part. Asked behind
-- quern_store(), whose rows it sees: the arrays name parts of requests with the hash of their body.

-- Places in the arrays, from 1, whose request is stored with another body. Without a hash: none.
-- No plan without the index may be kept from the time when the table was small.
CREATE FUNCTION quern_other_body(p_tenants text[], p_ids text[], p_hashes text[])
RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET jit = off AS $$
BEGIN
RETURN QUERY
SELECT i.ord FROM unnest(p_tenants, p_ids, p_hashes) WITH ORDINALITY AS i (tenant, id, hash, ord)
WHERE (SELECT r.body_hash FROM requests r WHERE r.tenant = i.tenant AND r.id = i.id) <> i.hash;
END
$$;

-- Refuses the whole transaction when there is one: it comes again with what the losers are told,
-- which is too much to be sent along with everything for the few times that it is needed. Else it
-- has no rows.
CREATE FUNCTION quern_one_body(p_tenants text[], p_ids text[], p_hashes text[])
RETURNS SETOF bigint
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM quern_other_body(p_tenants, p_ids, p_hashes)) THEN
        RAISE EXCEPTION 'an id was answered for two bodies' USING ERRCODE = 'QF002';
    END IF;
END
$$;
