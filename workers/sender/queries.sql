-- What is sent to other servers: how far we are (sender_slot), who is behind (destination), EDUs that must arrive (outgoing_edu).
-- Local events are those with flag 16 (EVENT_LOCAL); flag 1 (EVENT_REJECTED) is never sent. They go to the servers with joined members
-- now, and to those in event_destination.

-- name: slots_take
-- why: from now on the fences of an earlier owner are closed
-- param: slots bigint[]
-- param: owner bigint
-- column: slot bigint
-- column: distributed_pos xid8
INSERT INTO sender_slot (slot, owner, distributed_pos) SELECT s::integer, $2, '0'::xid8 FROM unnest($1::bigint[]) AS s ORDER BY s
ON CONFLICT (slot) DO UPDATE SET owner = excluded.owner
RETURNING slot::bigint, distributed_pos;

-- name: slots_advance
-- param: slots bigint[]
-- param: positions bigint[]
-- param: owner bigint
UPDATE sender_slot s SET distributed_pos = n.pos::text::xid8
FROM unnest($1::bigint[], $2::bigint[]) AS n(slot, pos)
WHERE s.slot = n.slot AND s.owner = $3 AND s.distributed_pos < n.pos::text::xid8;

-- name: horizon
-- column: horizon xid8
SELECT pg_snapshot_xmin(pg_current_snapshot());

-- name: local_since
-- why: what was handed over by hints is compared with this
-- param: pos xid8
-- param: row_limit bigint
-- column: event_nid bigint
-- column: pos xid8
SELECT event_nid, pos FROM event WHERE flags & 16 <> 0 AND pos >= $1 ORDER BY pos LIMIT $2;

-- name: servers_owed_since
-- param: pos xid8
-- column: server text
-- column: pos xid8
WITH sent AS MATERIALIZED (SELECT event_nid, room_nid, pos FROM event WHERE flags & 16 <> 0 AND flags & 1 = 0 AND pos >= $1),
     rooms AS (SELECT room_nid, min(pos) AS pos FROM sent GROUP BY room_nid)
SELECT server, min(pos) FROM (
    SELECT m.server, r.pos FROM rooms r CROSS JOIN LATERAL (SELECT DISTINCT server FROM membership WHERE room_nid = r.room_nid AND membership = 'join') m
    UNION ALL
    SELECT d.server, s.pos FROM sent s JOIN event_destination d USING (event_nid)) owed
GROUP BY server;

-- name: servers_owed_of
-- why: events that no hint told of
-- param: event_nids bigint[]
-- column: server text
-- column: pos xid8
WITH sent AS MATERIALIZED (SELECT event_nid, room_nid, pos FROM event WHERE event_nid = ANY($1) AND flags & 1 = 0),
     rooms AS (SELECT room_nid, min(pos) AS pos FROM sent GROUP BY room_nid)
SELECT server, min(pos) FROM (
    SELECT m.server, r.pos FROM rooms r CROSS JOIN LATERAL (SELECT DISTINCT server FROM membership WHERE room_nid = r.room_nid AND membership = 'join') m
    UNION ALL
    SELECT d.server, s.pos FROM sent s JOIN event_destination d USING (event_nid)) owed
GROUP BY server;

-- name: owed_list
-- why: oldest first; events of the destination's own users, passed on for it by us, it has
-- param: server text
-- param: pos xid8
-- param: row_limit bigint
-- column: event_nid bigint
-- column: pos xid8
WITH rooms AS MATERIALIZED (SELECT DISTINCT room_nid FROM membership WHERE server = $1 AND membership = 'join')
SELECT event_nid, pos FROM (
    SELECT e.event_nid, e.pos FROM rooms r JOIN event e ON e.room_nid = r.room_nid AND e.pos >= $2 AND e.room_pos IS NOT NULL
    WHERE e.flags & 17 = 16 AND right(e.sender, length($1) + 1) <> ':' || $1
    UNION
    SELECT e.event_nid, e.pos FROM event_destination d JOIN event e USING (event_nid)
    WHERE d.server = $1 AND e.pos >= $2 AND e.flags & 17 = 16 AND right(e.sender, length($1) + 1) <> ':' || $1) owed
ORDER BY pos, event_nid LIMIT $3;

-- name: owed_latest
-- why: after a long absence: the newest of each room, the rest is found through it
-- param: server text
-- param: pos xid8
-- column: event_nid bigint
-- column: pos xid8
WITH rooms AS MATERIALIZED (SELECT DISTINCT room_nid FROM membership WHERE server = $1 AND membership = 'join')
SELECT event_nid, pos FROM (
    SELECT l.event_nid, l.pos FROM rooms r CROSS JOIN LATERAL (
        SELECT e.event_nid, e.pos FROM event e
        WHERE e.room_nid = r.room_nid AND e.pos >= $2 AND e.room_pos IS NOT NULL AND e.flags & 17 = 16
          AND right(e.sender, length($1) + 1) <> ':' || $1
        ORDER BY e.pos DESC, e.event_nid DESC LIMIT 1) l
    UNION
    SELECT e.event_nid, e.pos FROM event_destination d JOIN event e USING (event_nid)
    WHERE d.server = $1 AND e.pos >= $2 AND e.flags & 17 = 16 AND right(e.sender, length($1) + 1) <> ':' || $1) owed
ORDER BY pos, event_nid;

-- name: events_json
-- param: event_nids bigint[]
-- column: event_nid bigint
-- column: room_version text
-- column: json bytea
-- column: is_redacted boolean
SELECT e.event_nid, r.room_version, e.json, e.redacted_by IS NOT NULL FROM event e JOIN room r USING (room_nid) WHERE e.event_nid = ANY($1);

-- name: destinations_of_slots
-- param: slots bigint[]
-- column: server text
-- column: owed_pos xid8
-- column: failing_since_ts bigint
-- column: retry_ts bigint
-- column: backoff_ms bigint
SELECT server, owed_pos, failing_since_ts, retry_ts, backoff_ms FROM destination WHERE slot = ANY($1::bigint[]::integer[]);

-- name: destinations_woken
-- param: slots bigint[]
-- column: server text
SELECT server FROM destination WHERE slot = ANY($1::bigint[]::integer[]) AND retry_ts = 0 AND backoff_ms > 0;

-- name: backoff_of
-- param: server text
-- column: failing_since_ts bigint
-- column: retry_ts bigint
-- column: backoff_ms bigint
SELECT failing_since_ts, retry_ts, backoff_ms FROM destination WHERE server = $1;

-- name: destination_fail
-- why: only the slot's owner says what is owed
-- param: server text
-- param: slot bigint
-- param: owner bigint
-- param: owed_pos xid8
-- param: failing_since_ts bigint
-- param: retry_ts bigint
-- param: backoff_ms bigint
WITH fence AS (SELECT 1 FROM sender_slot WHERE slot = $2 AND owner = $3 FOR SHARE)
INSERT INTO destination (server, slot, owed_pos, failing_since_ts, retry_ts, backoff_ms)
SELECT $1, $2::bigint::integer, $4, $5, $6, $7 FROM fence
ON CONFLICT (server) DO UPDATE SET owed_pos = excluded.owed_pos, failing_since_ts = excluded.failing_since_ts,
    retry_ts = excluded.retry_ts, backoff_ms = excluded.backoff_ms;

-- name: destination_clear
-- why: all is delivered
-- param: server text
-- param: slot bigint
-- param: owner bigint
WITH fence AS (SELECT 1 FROM sender_slot WHERE slot = $2 AND owner = $3 FOR SHARE)
DELETE FROM destination USING fence WHERE server = $1;

-- name: destination_recovered
-- why: it answers again; what is owed is still on its way
-- param: server text
UPDATE destination SET failing_since_ts = 0, retry_ts = 0, backoff_ms = 0 WHERE server = $1 AND backoff_ms > 0;

-- name: destinations_wake
-- why: heard by a worker that is not the owner, who looks for it
-- param: servers text[]
UPDATE destination SET retry_ts = 0 WHERE server = ANY($1) AND backoff_ms > 0 AND retry_ts > 0;

-- name: outbox_store
-- why: a replaced one goes to the end of the queue under a new number: the old number may be on its way, and is deleted then
-- param: servers text[]
-- param: slots bigint[]
-- param: priorities bigint[]
-- param: types text[]
-- param: coalesce_keys text[]
-- param: contents bytea[]
-- param: created_ts bigint
INSERT INTO outgoing_edu (server, slot, priority, type, coalesce_key, content, created_ts)
SELECT s, n::integer, p::integer, t, k, c, $7
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bytea[]) WITH ORDINALITY AS e(s, n, p, t, k, c, o) ORDER BY s, t, k, o
ON CONFLICT (server, type, coalesce_key) WHERE coalesce_key IS NOT NULL
DO UPDATE SET content = excluded.content, created_ts = excluded.created_ts, edu_nid = DEFAULT;

-- name: outbox_page
-- param: server text
-- param: row_limit bigint
-- column: edu_nid bigint
-- column: type text
-- column: content bytea
SELECT edu_nid, type, content FROM outgoing_edu WHERE server = $1 ORDER BY priority, edu_nid LIMIT $2;

-- name: outbox_delete
-- param: edu_nids bigint[]
DELETE FROM outgoing_edu WHERE edu_nid = ANY($1);

-- name: outbox_servers
-- why: a walk from server to server, however many EDUs wait for each
-- column: slot bigint
-- column: server text
WITH RECURSIVE walk AS (
    (SELECT slot, server FROM outgoing_edu ORDER BY slot, server LIMIT 1)
    UNION ALL
    SELECT n.slot, n.server FROM walk w CROSS JOIN LATERAL (
        SELECT o.slot, o.server FROM outgoing_edu o WHERE (o.slot, o.server) > (w.slot, w.server) ORDER BY o.slot, o.server LIMIT 1) n)
SELECT slot::bigint, server FROM walk;

-- name: outbox_expire
-- why: for servers that never came back
-- param: before_ts bigint
DELETE FROM outgoing_edu WHERE edu_nid IN (SELECT edu_nid FROM outgoing_edu WHERE created_ts < $1 ORDER BY created_ts LIMIT 1000);
