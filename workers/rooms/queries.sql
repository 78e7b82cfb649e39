-- Statements of room flows and reads. rooms writes the directory only; rooms themselves are written by events.

-- name: profile_for_member
-- param: user_id text
-- column: field text
-- column: value bytea
SELECT field, value FROM profile WHERE user_id = $1 AND field IN ('displayname', 'avatar_url');

-- name: alias_find
-- param: alias text
-- column: room_id text
-- column: creator text
SELECT room_id, creator FROM room_alias WHERE alias = $1;

-- name: alias_insert
-- param: alias text
-- param: room_id text
-- param: creator text
-- param: created_ts bigint
INSERT INTO room_alias (alias, room_id, creator, created_ts) VALUES ($1, $2, $3, $4) ON CONFLICT (alias) DO NOTHING;

-- name: alias_delete
-- param: alias text
DELETE FROM room_alias WHERE alias = $1;

-- name: aliases_of_room
-- param: room_id text
-- column: alias text
SELECT alias FROM room_alias WHERE room_id = $1 ORDER BY alias;

-- name: move_aliases
-- param: old_room text
-- param: new_room text
UPDATE room_alias SET room_id = $2 WHERE room_id = $1;

-- name: move_publication
-- param: old_room text
-- param: new_room text
WITH gone AS (DELETE FROM published_room WHERE room_id = $1 RETURNING published_ts)
INSERT INTO published_room (room_id, published_ts) SELECT $2, published_ts FROM gone ON CONFLICT DO NOTHING;

-- name: publish_room
-- param: room_id text
-- param: published_ts bigint
INSERT INTO published_room (room_id, published_ts) VALUES ($1, $2) ON CONFLICT DO NOTHING;

-- name: unpublish_room
-- param: room_id text
DELETE FROM published_room WHERE room_id = $1;

-- name: is_published
-- param: room_id text
-- column: published boolean
SELECT EXISTS (SELECT 1 FROM published_room WHERE room_id = $1);

-- name: published_rooms
-- why: the whole directory, largest rooms first, with the state it shows; bounded
-- scan: published_room it is the directory that is asked for
-- column: room_id text
-- column: joined bigint
-- column: create_json bytea
-- column: name_json bytea
-- column: topic_json bytea
-- column: alias_json bytea
-- column: avatar_json bytea
-- column: join_rules_json bytea
-- column: visibility_json bytea
-- column: guest_json bytea
SELECT p.room_id, m.joined, s.create_json, s.name_json, s.topic_json, s.alias_json, s.avatar_json, s.join_rules_json, s.visibility_json, s.guest_json
FROM (SELECT room_id FROM published_room ORDER BY published_ts LIMIT 5000) p
CROSS JOIN LATERAL (SELECT room_nid FROM room WHERE room_id = p.room_id OFFSET 0) r
CROSS JOIN LATERAL (SELECT count(*) AS joined FROM membership WHERE room_nid = r.room_nid AND membership = 'join') m
CROSS JOIN LATERAL (
    SELECT (array_agg(e.json) FILTER (WHERE c.type = 'm.room.create'))[1] AS create_json,
           (array_agg(e.json) FILTER (WHERE c.type = 'm.room.name'))[1] AS name_json,
           (array_agg(e.json) FILTER (WHERE c.type = 'm.room.topic'))[1] AS topic_json,
           (array_agg(e.json) FILTER (WHERE c.type = 'm.room.canonical_alias'))[1] AS alias_json,
           (array_agg(e.json) FILTER (WHERE c.type = 'm.room.avatar'))[1] AS avatar_json,
           (array_agg(e.json) FILTER (WHERE c.type = 'm.room.join_rules'))[1] AS join_rules_json,
           (array_agg(e.json) FILTER (WHERE c.type = 'm.room.history_visibility'))[1] AS visibility_json,
           (array_agg(e.json) FILTER (WHERE c.type = 'm.room.guest_access'))[1] AS guest_json
    FROM current_state c JOIN event e ON e.event_nid = c.event_nid
    WHERE c.room_nid = r.room_nid AND c.state_key = ''
      AND c.type IN ('m.room.create', 'm.room.name', 'm.room.topic', 'm.room.canonical_alias', 'm.room.avatar', 'm.room.join_rules',
                     'm.room.history_visibility', 'm.room.guest_access')) s
ORDER BY m.joined DESC, p.room_id;

-- name: rooms_of_user
-- param: user_id text
-- column: room_id text
SELECT r.room_id FROM membership m JOIN room r USING (room_nid) WHERE m.user_id = $1 AND m.membership = 'join' ORDER BY r.room_id;

-- name: member_events
-- param: room_nid bigint
-- param: user_ids text[]
-- column: event_nid bigint
SELECT event_nid FROM current_state WHERE room_nid = $1 AND type = 'm.room.member' AND state_key = ANY($2) AND event_nid IS NOT NULL;

-- name: has_backward_edges
-- param: room_nid bigint
-- column: has boolean
SELECT EXISTS (SELECT 1 FROM backward_edge WHERE room_nid = $1);

-- name: gap_nearer
-- why: are earlier events missing before one that is newer than ts? Then some could lie between
-- param: room_nid bigint
-- param: ts bigint
-- column: is_there boolean
SELECT EXISTS (SELECT 1 FROM backward_edge b JOIN event e ON e.event_nid = b.child_nid WHERE b.room_nid = $1 AND e.origin_server_ts > $2);

-- name: events_after_ts
-- param: room_nid bigint
-- param: ts bigint
-- param: room_pos bigint
-- param: until bigint
-- param: row_limit bigint
-- column: event_nid bigint
SELECT event_nid FROM event
WHERE room_nid = $1 AND room_pos <= $4 AND flags & 7 = 0 AND (origin_server_ts, room_pos) > ($2, $3)
ORDER BY origin_server_ts, room_pos LIMIT $5;

-- name: events_before_ts
-- param: room_nid bigint
-- param: ts bigint
-- param: room_pos bigint
-- param: until bigint
-- param: row_limit bigint
-- column: event_nid bigint
SELECT event_nid FROM event
WHERE room_nid = $1 AND room_pos <= $4 AND flags & 7 = 0 AND (origin_server_ts, room_pos) < ($2, $3)
ORDER BY origin_server_ts DESC, room_pos DESC LIMIT $5;

-- name: state_known_from
-- why: the first event from a place on whose state before it is known here
-- param: room_nid bigint
-- param: room_pos bigint
-- column: event_nid bigint
SELECT event_nid FROM event
WHERE room_nid = $1 AND room_pos >= $2 AND flags & 7 = 0 AND snapshot_nid <> 0
ORDER BY room_pos LIMIT 1;
