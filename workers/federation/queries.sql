-- Statements of federation: it writes only the memory of transactions.

-- name: transaction_find
-- param: origin text
-- param: txn_id text
-- column: answer bytea
SELECT answer FROM received_transaction WHERE origin = $1 AND txn_id = $2;

-- name: transaction_remember
-- param: origin text
-- param: txn_id text
-- param: answer bytea
-- param: received_ts bigint
INSERT INTO received_transaction (origin, txn_id, answer, received_ts) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING;

-- name: account_is_active
-- param: user_id text
-- column: active boolean
SELECT NOT is_deactivated FROM account WHERE user_id = $1;

-- name: unknown_events
-- param: event_ids text[]
-- column: event_id text
SELECT DISTINCT w.id FROM unnest($1::text[]) AS w(id) WHERE NOT EXISTS (SELECT 1 FROM event WHERE event_id = w.id);

-- name: state_with_chain
-- why: the events themselves, or (chain) everything they are authorised by, without themselves unless one authorises another
-- param: nids bigint[]
-- param: chain boolean
-- column: event_id text
-- column: json bytea
-- column: is_redacted boolean
WITH RECURSIVE below AS (
    SELECT a.nid FROM event e CROSS JOIN LATERAL unnest(e.auth_nids) a(nid) WHERE e.event_nid = ANY($1) AND $2
    UNION
    SELECT a.nid FROM below b JOIN event e ON e.event_nid = b.nid CROSS JOIN LATERAL unnest(e.auth_nids) a(nid))
SELECT event_id, json, redacted_by IS NOT NULL FROM event WHERE event_nid = ANY($1) AND NOT $2
UNION ALL
SELECT e.event_id, e.json, e.redacted_by IS NOT NULL FROM below b JOIN event e ON e.event_nid = b.nid WHERE $2;

-- name: stripped_events
-- param: room_nid bigint
-- param: types text[]
-- column: json bytea
-- column: is_redacted boolean
SELECT e.json, e.redacted_by IS NOT NULL FROM unnest($2::text[]) WITH ORDINALITY AS t(type, ordinal)
JOIN current_state c ON c.room_nid = $1 AND c.type = t.type AND c.state_key = '' JOIN event e ON e.event_nid = c.event_nid ORDER BY t.ordinal;

-- name: history_edges
-- why: the newest edges first: what a client scrolling back reaches next
-- param: room_nid bigint
-- column: event_id text
SELECT b.event_id FROM backward_edge b JOIN event e ON e.event_nid = b.child_nid
WHERE b.room_nid = $1 GROUP BY b.event_id ORDER BY max(e.depth) DESC LIMIT 20;

-- name: event_near
-- param: room_nid bigint
-- param: ts bigint
-- param: forwards boolean
-- column: event_id text
-- column: origin_server_ts bigint
SELECT event_id, origin_server_ts FROM event
WHERE room_nid = $1 AND room_pos IS NOT NULL AND flags & 7 = 0
  AND CASE WHEN $3 THEN origin_server_ts >= $2 ELSE origin_server_ts <= $2 END
ORDER BY CASE WHEN $3 THEN origin_server_ts ELSE -origin_server_ts END, CASE WHEN $3 THEN room_pos ELSE -room_pos END LIMIT 1;

-- name: received_expire
-- param: before bigint
-- param: row_limit bigint
DELETE FROM received_transaction t USING (
    SELECT origin, txn_id FROM received_transaction WHERE received_ts < $1 ORDER BY received_ts LIMIT $2 FOR UPDATE SKIP LOCKED) o
WHERE t.origin = o.origin AND t.txn_id = o.txn_id;
