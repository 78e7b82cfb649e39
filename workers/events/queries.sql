-- Statements of the only writer of rooms. A write batch starts with room_advance: the version check decides between writers.

-- name: nid_block
-- column: last bigint
SELECT nextval('nid_block');

-- name: room_load
-- param: room_id text
-- column: room_nid bigint
-- column: room_version text
-- column: version bigint
-- column: extremities bigint[]
-- column: extremity_ids text[]
-- column: depth bigint
-- column: head_pos bigint
-- column: tail_pos bigint
-- column: snapshot_nid bigint
SELECT r.room_nid, r.room_version, r.version, r.extremities,
       ARRAY(SELECT e.event_id FROM unnest(r.extremities) WITH ORDINALITY x(nid, n) JOIN event e ON e.event_nid = x.nid ORDER BY x.n) AS extremity_ids,
       r.depth, r.head_pos, r.tail_pos, r.snapshot_nid
FROM room r WHERE r.room_id = $1;

-- name: room_insert
-- why: a room we hear of for the first time; harmless when it exists
-- param: room_nid bigint
-- param: room_id text
-- param: room_version text
INSERT INTO room (room_nid, room_id, room_version) VALUES ($1, $2, $3) ON CONFLICT (room_id) DO NOTHING;

-- name: room_advance
-- why: the version check; a lost race ends the whole batch
-- param: room_nid bigint
-- param: version bigint
-- param: extremities bigint[]
-- param: depth bigint
-- param: head_pos bigint
-- param: tail_pos bigint
-- param: snapshot_nid bigint
-- column: pos xid8
WITH advanced AS (
    UPDATE room SET version = version + 1, extremities = $3, depth = $4, head_pos = $5, tail_pos = $6, snapshot_nid = $7
    WHERE room_nid = $1 AND version = $2 RETURNING 1)
SELECT pg_current_xact_id() WHERE conflict_unless(EXISTS (SELECT 1 FROM advanced));

-- name: event_insert_one
-- why: the hot path: a single event
-- param: event_nid bigint
-- param: event_id text
-- param: room_nid bigint
-- param: room_pos bigint
-- param: depth bigint
-- param: type text
-- param: state_key text
-- param: sender text
-- param: timestamp bigint
-- param: flags bigint
-- param: snapshot_nid bigint
-- param: replaces_nid bigint
-- param: prev_nids bigint[]
-- param: auth_nids bigint[]
-- param: json bytea
INSERT INTO event (event_nid, event_id, room_nid, room_pos, depth, type, state_key, sender, origin_server_ts, flags, snapshot_nid,
                   replaces_nid, prev_nids, auth_nids, json)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::bigint::integer, $11, $12, $13, $14, $15);

-- name: outlier_insert
-- why: auth and state events without a place, in bulk; the caller left out what is known, so a double is a lost race
-- param: event_nids bigint[]
-- param: event_ids text[]
-- param: room_nid bigint
-- param: depths bigint[]
-- param: types text[]
-- param: state_keys text[]
-- param: senders text[]
-- param: timestamps bigint[]
-- param: flags bigint[]
-- param: auth_flat bigint[]
-- param: auth_ends bigint[]
-- param: jsons bytea[]
INSERT INTO event (event_nid, event_id, room_nid, room_pos, depth, type, state_key, sender, origin_server_ts, flags, prev_nids, auth_nids, json)
SELECT n, id, $3, NULL, d, t, k, s, ts, f::integer, '{}', ($10::bigint[])[coalesce(lag(ae) OVER w, 0) + 1 : ae], j
FROM unnest($1::bigint[], $2::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $11::bigint[], $12::bytea[])
     WITH ORDINALITY AS e(n, id, d, t, k, s, ts, f, ae, j, ordinal)
WINDOW w AS (ORDER BY ordinal);

-- name: import_known
-- param: event_ids text[]
-- column: event_id text
-- column: event_nid bigint
-- column: room_nid bigint
-- column: flags bigint
-- column: json bytea
SELECT event_id, event_nid, room_nid, flags::bigint, json FROM event WHERE event_id = ANY($1);

-- name: import_guard
-- why: a chunk of an import is written only while nobody else has written the room; who wants to waits for the chunk's end
-- param: room_nid bigint
-- param: version bigint
-- column: held boolean
WITH held AS (SELECT 1 FROM room WHERE room_nid = $1 AND version = $2 FOR SHARE)
SELECT conflict_unless(EXISTS (SELECT 1 FROM held));

-- name: import_sweep_state
-- why: what an import that never ended left behind; our own users' rows are the last transaction's business
-- param: room_nid bigint
-- param: before_pos xid8
-- param: own_suffix text
UPDATE current_state SET event_nid = NULL, pos = pg_current_xact_id()
WHERE room_nid = $1 AND (type, state_key) IN (
    SELECT type, state_key FROM current_state
    WHERE room_nid = $1 AND pos < $2 AND event_nid IS NOT NULL AND NOT (type = 'm.room.member' AND right(state_key, length($3)) = $3) LIMIT 500);

-- name: import_sweep_members
-- param: room_nid bigint
-- param: before_pos xid8
UPDATE membership SET membership = 'leave', pos = pg_current_xact_id()
WHERE room_nid = $1 AND user_id IN (
    SELECT user_id FROM membership WHERE room_nid = $1 AND pos < $2 AND NOT is_local AND membership <> 'leave' LIMIT 500);

-- name: outlier_place
-- why: an outlier that now gets its place in the timeline
-- param: event_nid bigint
-- param: room_pos bigint
-- param: flags bigint
-- param: snapshot_nid bigint
-- param: replaces_nid bigint
-- param: prev_nids bigint[]
UPDATE event SET room_pos = $2, flags = $3::bigint::integer, snapshot_nid = $4, replaces_nid = $5, prev_nids = $6, pos = pg_current_xact_id()
WHERE event_nid = $1 AND room_pos IS NULL;

-- name: event_nids_of
-- param: event_ids text[]
-- param: room_nid bigint
-- column: event_id text
-- column: event_nid bigint
-- column: flags bigint
-- column: snapshot_nid bigint
-- column: state_key_nid bigint
-- column: is_create boolean
-- column: is_here boolean
SELECT e.event_id, e.event_nid, e.flags::bigint, e.snapshot_nid, k.state_key_nid, e.type = 'm.room.create', e.room_nid = $2
FROM event e LEFT JOIN state_key k ON k.type = e.type AND k.state_key = e.state_key
WHERE e.event_id = ANY($1);

-- name: given_state
-- why: a state that another server listed; without the events' bytes, of which a large room has many
-- param: event_ids text[]
-- param: room_nid bigint
-- column: event_id text
-- column: event_nid bigint
-- column: type text
-- column: state_key text
-- column: is_usable boolean
SELECT event_id, event_nid, type, state_key, room_nid = $2 AND state_key IS NOT NULL AND flags & 1 = 0
FROM event WHERE event_id = ANY($1);

-- name: state_key_find
-- param: types text[]
-- param: state_keys text[]
-- column: type text
-- column: state_key text
-- column: state_key_nid bigint
SELECT s.type, s.state_key, s.state_key_nid
FROM unnest($1::text[], $2::text[]) AS w(t, k) JOIN state_key s ON s.type = w.t AND s.state_key = w.k;

-- name: state_key_intern
-- param: types text[]
-- param: state_keys text[]
-- column: type text
-- column: state_key text
-- column: state_key_nid bigint
WITH wanted AS (SELECT DISTINCT t, k FROM unnest($1::text[], $2::text[]) AS w(t, k)),
     known AS (SELECT s.type, s.state_key, s.state_key_nid FROM wanted w JOIN state_key s ON s.type = w.t AND s.state_key = w.k),
     added AS (INSERT INTO state_key (type, state_key)
               SELECT t, k FROM wanted WHERE NOT EXISTS (SELECT 1 FROM known WHERE type = t AND state_key = k)
               ON CONFLICT DO NOTHING RETURNING type, state_key, state_key_nid)
SELECT type, state_key, state_key_nid FROM known UNION ALL SELECT type, state_key, state_key_nid FROM added;

-- name: snapshot_insert
-- param: snapshot_nid bigint
-- param: room_nid bigint
-- param: base_nid bigint
-- param: depth bigint
-- param: entries bigint
-- param: delta bytea
INSERT INTO state_snapshot (snapshot_nid, room_nid, base_nid, depth, entries, delta) VALUES ($1, $2, $3, $4::bigint::integer, $5, $6);

-- name: current_state_set
-- why: event 0 stands for removed
-- param: room_nid bigint
-- param: types text[]
-- param: state_keys text[]
-- param: event_nids bigint[]
INSERT INTO current_state (room_nid, type, state_key, event_nid)
SELECT $1, t, k, nullif(n, 0) FROM unnest($2::text[], $3::text[], $4::bigint[]) AS s(t, k, n)
ON CONFLICT (room_nid, type, state_key) DO UPDATE SET event_nid = excluded.event_nid, pos = excluded.pos;

-- name: membership_set
-- param: room_nid bigint
-- param: user_ids text[]
-- param: servers text[]
-- param: memberships text[]
-- param: event_nids bigint[]
-- param: local bigint[]
-- param: displaynames text[]
-- param: avatar_urls text[]
-- param: since_positions bigint[]
-- param: stripped_state bytea
INSERT INTO membership (room_nid, user_id, server, membership, event_nid, is_local, displayname, avatar_url, since_pos, stripped_state)
SELECT $1, u, s, m, n, l <> 0, d, a, p, $10
FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::bigint[]) AS e(u, s, m, n, l, d, a, p)
ON CONFLICT (room_nid, user_id) DO UPDATE SET membership = excluded.membership, event_nid = excluded.event_nid,
    displayname = excluded.displayname, avatar_url = excluded.avatar_url, since_pos = excluded.since_pos,
    stripped_state = excluded.stripped_state, pos = excluded.pos,
    is_forgotten = membership.is_forgotten AND excluded.membership IN ('leave', 'ban');

-- name: membership_remove
-- why: a resolution took the member event away
-- param: room_nid bigint
-- param: user_ids text[]
UPDATE membership SET membership = 'leave', pos = pg_current_xact_id() WHERE room_nid = $1 AND user_id = ANY($2) AND membership <> 'leave';

-- name: membership_forget
-- param: room_nid bigint
-- param: user_id text
UPDATE membership SET is_forgotten = true, pos = pg_current_xact_id()
WHERE room_nid = $1 AND user_id = $2 AND membership IN ('leave', 'ban');

-- name: txn_find
-- param: user_id text
-- param: device_id text
-- param: room_nid bigint
-- param: scope text
-- param: txn_id text
-- column: event_id text
SELECT e.event_id FROM event_txn t JOIN event e USING (event_nid)
WHERE t.user_id = $1 AND t.device_id = $2 AND t.room_nid = $3 AND t.scope = $4 AND t.txn_id = $5;

-- name: txn_insert
-- param: user_id text
-- param: device_id text
-- param: room_nid bigint
-- param: scope text
-- param: txn_id text
-- param: event_nid bigint
-- param: created_ts bigint
INSERT INTO event_txn (user_id, device_id, room_nid, scope, txn_id, event_nid, created_ts) VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: destination_insert
-- param: event_nids bigint[]
-- param: servers text[]
INSERT INTO event_destination (event_nid, server) SELECT n, s FROM unnest($1::bigint[], $2::text[]) AS d(n, s) ON CONFLICT DO NOTHING;

-- name: backward_edge_insert
-- param: room_nid bigint
-- param: event_ids text[]
-- param: child_nids bigint[]
INSERT INTO backward_edge (room_nid, event_id, child_nid) SELECT $1, i, c FROM unnest($2::text[], $3::bigint[]) AS b(i, c) ON CONFLICT DO NOTHING;

-- name: backward_edge_close
-- why: these events have their place now
-- param: room_nid bigint
-- param: event_ids text[]
DELETE FROM backward_edge WHERE room_nid = $1 AND event_id = ANY($2);

-- name: redaction_remember
-- param: redacts text
-- param: event_nid bigint
-- param: room_nid bigint
INSERT INTO redaction (redacts, event_nid, room_nid) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: redaction_apply
-- param: event_id text
-- param: room_nid bigint
-- param: redaction_nid bigint
UPDATE event SET redacted_by = $3 WHERE event_id = $1 AND room_nid = $2 AND redacted_by IS NULL;

-- name: redactions_waiting
-- param: event_ids text[]
-- param: room_nid bigint
-- column: redacts text
-- column: event_nid bigint
-- column: sender text
SELECT r.redacts, r.event_nid, e.sender FROM redaction r JOIN event e USING (event_nid)
WHERE r.redacts = ANY($1) AND r.room_nid = $2 AND e.flags & 3 = 0;

-- name: redaction_target
-- param: event_id text
-- param: room_nid bigint
-- column: event_nid bigint
-- column: sender text
SELECT event_nid, sender FROM event WHERE event_id = $1 AND room_nid = $2;

-- name: auth_nodes
-- param: nids bigint[]
-- column: event_nid bigint
-- column: auth_nids bigint[]
-- column: is_power_levels boolean
SELECT event_nid, auth_nids, type = 'm.room.power_levels' AND coalesce(state_key = '', false) FROM event WHERE event_nid = ANY($1);

-- name: auth_chain
-- why: whole chains, the roots with them
-- param: nids bigint[]
-- column: event_nid bigint
-- column: auth_nids bigint[]
-- column: is_power_levels boolean
WITH RECURSIVE chain AS (
    SELECT event_nid, auth_nids, type = 'm.room.power_levels' AND coalesce(state_key = '', false) AS levels FROM event WHERE event_nid = ANY($1)
    UNION
    SELECT e.event_nid, e.auth_nids, e.type = 'm.room.power_levels' AND coalesce(e.state_key = '', false)
    FROM chain c CROSS JOIN LATERAL unnest(c.auth_nids) a(nid) JOIN event e ON e.event_nid = a.nid)
SELECT event_nid, auth_nids, levels FROM chain;

-- name: state_reset_insert
-- param: room_nid bigint
-- param: event_nid bigint
-- param: found_ts bigint
-- param: inputs bytea[]
-- param: settled bytea
-- param: least_joined bigint
-- param: left_joined bigint
-- param: power_lost boolean
INSERT INTO state_reset (room_nid, event_nid, found_ts, inputs, settled, least_joined, left_joined, power_lost)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING;

-- name: state_reset_trim
-- why: the newest hundred of a room are evidence enough
-- param: room_nid bigint
DELETE FROM state_reset WHERE room_nid = $1 AND event_nid <= (
    SELECT event_nid FROM state_reset WHERE room_nid = $1 ORDER BY event_nid DESC OFFSET 100 LIMIT 1);

-- name: joined_servers
-- param: room_nid bigint
-- column: server text
-- column: members bigint
SELECT server, count(*) FROM membership WHERE room_nid = $1 AND membership = 'join' GROUP BY server;

-- name: horizon
-- column: horizon xid8
SELECT pg_snapshot_xmin(pg_current_snapshot());

-- name: membership_now
-- param: room_nid bigint
-- param: user_id text
-- column: membership text
-- column: server_joined boolean
SELECT (SELECT membership FROM membership WHERE room_nid = $1 AND user_id = $2),
       EXISTS (SELECT 1 FROM membership WHERE room_nid = $1 AND is_local AND membership = 'join');

-- ================================================================ what is past its time

-- name: txn_expire
-- param: before bigint
-- param: row_limit bigint
DELETE FROM event_txn t USING (
    SELECT user_id, device_id, room_nid, scope, txn_id FROM event_txn WHERE created_ts < $1 ORDER BY created_ts LIMIT $2 FOR UPDATE SKIP LOCKED) o
WHERE t.user_id = o.user_id AND t.device_id = o.device_id AND t.room_nid = o.room_nid AND t.scope = o.scope AND t.txn_id = o.txn_id;

-- name: destinations_settle
-- why: one page; what every slot of senders has distributed and the server itself is not owed any more, or is too old; NULL: the end
-- param: after_nid bigint
-- param: after_server text
-- param: row_limit bigint
-- param: before bigint
-- column: event_nid bigint
-- column: server text
-- column: removed bigint
WITH page AS MATERIALIZED (
    SELECT event_nid, server FROM event_destination WHERE (event_nid, server) > ($1, $2) ORDER BY event_nid, server LIMIT $3),
distributed AS MATERIALIZED (SELECT CASE WHEN count(*) = 64 THEN min(distributed_pos) ELSE '0'::xid8 END AS pos FROM sender_slot),
gone AS (
    DELETE FROM event_destination d USING page p JOIN event e USING (event_nid) LEFT JOIN destination w ON w.server = p.server
    WHERE d.event_nid = p.event_nid AND d.server = p.server
      AND (e.origin_server_ts < $4 OR e.pos < (SELECT pos FROM distributed) AND (w.owed_pos IS NULL OR e.pos < w.owed_pos))
    RETURNING 1)
SELECT l.event_nid, l.server, (SELECT count(*) FROM gone) AS removed
FROM (SELECT 1) one LEFT JOIN (SELECT event_nid, server FROM page ORDER BY event_nid DESC, server DESC LIMIT 1) l ON true;
