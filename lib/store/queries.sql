-- Read-only statements that several kinds share (lib/store/*.h say what they mean).

-- name: event_by_nid
-- param: nids bigint[]
-- column: event_nid bigint
-- column: room_nid bigint
-- column: room_pos bigint
-- column: pos xid8
-- column: depth bigint
-- column: origin_server_ts bigint
-- column: snapshot_nid bigint
-- column: redacted_by bigint
-- column: replaces_nid bigint
-- column: flags bigint
-- column: event_id text
-- column: type text
-- column: state_key text
-- column: sender text
-- column: json bytea
-- column: prev_nids bigint[]
-- column: auth_nids bigint[]
-- column: room_id text
-- column: room_version text
SELECT event_nid, room_nid, room_pos, pos, depth, origin_server_ts, snapshot_nid, redacted_by, replaces_nid, flags, event_id, type, state_key, sender, json, prev_nids, auth_nids, room_id, room_version FROM event_full WHERE event_nid = ANY($1);

-- name: event_by_id
-- param: event_ids text[]
-- column: event_nid bigint
-- column: room_nid bigint
-- column: room_pos bigint
-- column: pos xid8
-- column: depth bigint
-- column: origin_server_ts bigint
-- column: snapshot_nid bigint
-- column: redacted_by bigint
-- column: replaces_nid bigint
-- column: flags bigint
-- column: event_id text
-- column: type text
-- column: state_key text
-- column: sender text
-- column: json bytea
-- column: prev_nids bigint[]
-- column: auth_nids bigint[]
-- column: room_id text
-- column: room_version text
SELECT event_nid, room_nid, room_pos, pos, depth, origin_server_ts, snapshot_nid, redacted_by, replaces_nid, flags, event_id, type, state_key, sender, json, prev_nids, auth_nids, room_id, room_version FROM event_full WHERE event_id = ANY($1);

-- name: timeline_backwards
-- param: room_nid bigint
-- param: below bigint
-- param: above bigint
-- param: row_limit bigint
-- column: event_nid bigint
-- column: room_nid bigint
-- column: room_pos bigint
-- column: pos xid8
-- column: depth bigint
-- column: origin_server_ts bigint
-- column: snapshot_nid bigint
-- column: redacted_by bigint
-- column: replaces_nid bigint
-- column: flags bigint
-- column: event_id text
-- column: type text
-- column: state_key text
-- column: sender text
-- column: json bytea
-- column: prev_nids bigint[]
-- column: auth_nids bigint[]
-- column: room_id text
-- column: room_version text
SELECT event_nid, room_nid, room_pos, pos, depth, origin_server_ts, snapshot_nid, redacted_by, replaces_nid, flags, event_id, type, state_key, sender, json, prev_nids, auth_nids, room_id, room_version FROM event_full
WHERE room_nid = $1 AND room_pos < $2 AND room_pos > $3 AND flags & 7 = 0
ORDER BY room_pos DESC LIMIT $4;

-- name: timeline_forwards
-- param: room_nid bigint
-- param: above bigint
-- param: below bigint
-- param: row_limit bigint
-- column: event_nid bigint
-- column: room_nid bigint
-- column: room_pos bigint
-- column: pos xid8
-- column: depth bigint
-- column: origin_server_ts bigint
-- column: snapshot_nid bigint
-- column: redacted_by bigint
-- column: replaces_nid bigint
-- column: flags bigint
-- column: event_id text
-- column: type text
-- column: state_key text
-- column: sender text
-- column: json bytea
-- column: prev_nids bigint[]
-- column: auth_nids bigint[]
-- column: room_id text
-- column: room_version text
SELECT event_nid, room_nid, room_pos, pos, depth, origin_server_ts, snapshot_nid, redacted_by, replaces_nid, flags, event_id, type, state_key, sender, json, prev_nids, auth_nids, room_id, room_version FROM event_full
WHERE room_nid = $1 AND room_pos > $2 AND room_pos < $3 AND flags & 7 = 0
ORDER BY room_pos ASC LIMIT $4;

-- name: current_state_one
-- param: room_nid bigint
-- param: type text
-- param: state_key text
-- column: event_nid bigint
-- column: room_nid bigint
-- column: room_pos bigint
-- column: pos xid8
-- column: depth bigint
-- column: origin_server_ts bigint
-- column: snapshot_nid bigint
-- column: redacted_by bigint
-- column: replaces_nid bigint
-- column: flags bigint
-- column: event_id text
-- column: type text
-- column: state_key text
-- column: sender text
-- column: json bytea
-- column: prev_nids bigint[]
-- column: auth_nids bigint[]
-- column: room_id text
-- column: room_version text
SELECT f.event_nid, f.room_nid, f.room_pos, f.pos, f.depth, f.origin_server_ts, f.snapshot_nid, f.redacted_by, f.replaces_nid, f.flags, f.event_id, f.type, f.state_key, f.sender, f.json, f.prev_nids, f.auth_nids, f.room_id, f.room_version FROM current_state c JOIN event_full f ON f.event_nid = c.event_nid
WHERE c.room_nid = $1 AND c.type = $2 AND c.state_key = $3;

-- name: current_state_all
-- param: room_nid bigint
-- column: event_nid bigint
-- column: room_nid bigint
-- column: room_pos bigint
-- column: pos xid8
-- column: depth bigint
-- column: origin_server_ts bigint
-- column: snapshot_nid bigint
-- column: redacted_by bigint
-- column: replaces_nid bigint
-- column: flags bigint
-- column: event_id text
-- column: type text
-- column: state_key text
-- column: sender text
-- column: json bytea
-- column: prev_nids bigint[]
-- column: auth_nids bigint[]
-- column: room_id text
-- column: room_version text
SELECT f.event_nid, f.room_nid, f.room_pos, f.pos, f.depth, f.origin_server_ts, f.snapshot_nid, f.redacted_by, f.replaces_nid, f.flags, f.event_id, f.type, f.state_key, f.sender, f.json, f.prev_nids, f.auth_nids, f.room_id, f.room_version FROM current_state c JOIN event_full f ON f.event_nid = c.event_nid
WHERE c.room_nid = $1;

-- name: room_by_id
-- param: room_id text
-- column: room_nid bigint
-- column: version bigint
-- column: depth bigint
-- column: head_pos bigint
-- column: tail_pos bigint
-- column: snapshot_nid bigint
-- column: room_id text
-- column: room_version text
-- column: extremities bigint[]
SELECT room_nid, version, depth, head_pos, tail_pos, snapshot_nid, room_id, room_version, extremities FROM room WHERE room_id = $1;

-- name: membership_one
-- param: room_nid bigint
-- param: user_id text
-- column: room_nid bigint
-- column: event_nid bigint
-- column: since_pos bigint
-- column: pos xid8
-- column: is_local boolean
-- column: is_forgotten boolean
-- column: user_id text
-- column: server text
-- column: membership text
-- column: displayname text
-- column: avatar_url text
-- column: stripped_state bytea
SELECT room_nid, event_nid, since_pos, pos, is_local, is_forgotten, user_id, server, membership, displayname, avatar_url, stripped_state FROM membership WHERE room_nid = $1 AND user_id = $2;

-- name: membership_all
-- param: room_nid bigint
-- param: membership text
-- column: room_nid bigint
-- column: event_nid bigint
-- column: since_pos bigint
-- column: pos xid8
-- column: is_local boolean
-- column: is_forgotten boolean
-- column: user_id text
-- column: server text
-- column: membership text
-- column: displayname text
-- column: avatar_url text
-- column: stripped_state bytea
SELECT room_nid, event_nid, since_pos, pos, is_local, is_forgotten, user_id, server, membership, displayname, avatar_url, stripped_state FROM membership WHERE room_nid = $1 AND ($2::text IS NULL OR membership = $2);

-- name: server_joined
-- param: room_nid bigint
-- param: server text
-- column: joined boolean
SELECT EXISTS (SELECT 1 FROM membership WHERE room_nid = $1 AND server = $2 AND membership = 'join');

-- name: room_server_list
-- param: room_nid bigint
-- column: server text
SELECT server FROM membership WHERE room_nid = $1 AND membership = 'join' GROUP BY server ORDER BY count(*) DESC, server;

-- name: state_layers
-- why: the union of the chains; callers walk base_nid themselves
-- param: nids bigint[]
-- column: snapshot_nid bigint
-- column: base_nid bigint
-- column: delta bytea
WITH RECURSIVE chain AS (
    SELECT snapshot_nid, base_nid FROM state_snapshot WHERE snapshot_nid = ANY($1)
    UNION
    SELECT s.snapshot_nid, s.base_nid FROM chain c JOIN state_snapshot s ON s.snapshot_nid = c.base_nid)
SELECT s.snapshot_nid, s.base_nid, s.delta FROM chain JOIN state_snapshot s USING (snapshot_nid);

-- name: state_key_nids
-- param: types text[]
-- param: state_keys text[]
-- column: ordinal bigint
-- column: state_key_nid bigint
SELECT w.ordinal, k.state_key_nid
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(type, state_key, ordinal)
JOIN state_key k ON k.type = w.type AND k.state_key = w.state_key;

-- name: server_memberships_at
-- why: member events of one server's users among the given ones; for visibility to servers
-- param: nids bigint[]
-- param: server_suffix text
-- column: event_nid bigint
-- column: json bytea
SELECT event_nid, json FROM event
WHERE event_nid = ANY($1) AND type = 'm.room.member' AND right(state_key, length($2)) = $2;

-- name: member_keys_of_server
-- why: interned member keys of a server's users that this room knows
-- param: room_nid bigint
-- param: server text
-- column: state_key_nid bigint
SELECT k.state_key_nid FROM membership m JOIN state_key k ON k.type = 'm.room.member' AND k.state_key = m.user_id
WHERE m.room_nid = $1 AND m.server = $2;

-- name: event_json_by_nid
-- param: nids bigint[]
-- column: event_nid bigint
-- column: sender text
-- column: event_id text
-- column: json bytea
SELECT event_nid, sender, event_id, json FROM event WHERE event_nid = ANY($1);

-- name: txn_ids_of
-- param: nids bigint[]
-- param: user_id text
-- param: device_id text
-- column: event_nid bigint
-- column: txn_id text
SELECT event_nid, txn_id FROM event_txn WHERE event_nid = ANY($1) AND user_id = $2 AND device_id = $3;

-- name: cluster_epoch
-- column: epoch bigint
SELECT epoch FROM cluster;

-- name: timeline_end_at
-- why: the newest event that a sync token stands behind; history has negative places, so it never is the newest
-- param: room_nid bigint
-- param: xmin xid8
-- param: xmax xid8
-- param: running bigint[]
-- param: delivered bigint[]
-- column: room_pos bigint
SELECT room_pos FROM event
WHERE room_nid = $1 AND room_pos IS NOT NULL
  AND (pos < $2 OR (pos < $3 AND pos::text::bigint <> ALL ($4)) OR event_nid = ANY ($5))
ORDER BY room_pos DESC LIMIT 1;
