-- Statements of sync. "New" is everywhere: not visible in the snapshot that the client's token stands for; the condition on its xmin
-- is there for the indexes. All of one /sync run in one repeatable-read transaction, so that its own snapshot is what was told.

-- name: sync_isolation
-- why: first in the transaction: all that follows sees one snapshot
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- name: sync_snapshot
-- column: snapshot text
SELECT pg_current_snapshot()::text;

-- name: filter_definition
-- param: user_id text
-- param: filter_id bigint
-- column: definition bytea
SELECT definition FROM filter WHERE user_id = $1 AND filter_id = $2;

-- name: my_rooms
-- why: what the user's sync is about. left_ones: 0 none, 1 new ones, 2 all not forgotten. has_news: there is something new in it
-- param: user_id text
-- param: since_xmin xid8
-- param: since text
-- param: left_ones bigint
-- column: room_nid bigint
-- column: room_id text
-- column: room_version text
-- column: membership text
-- column: member_nid bigint
-- column: since_pos bigint
-- column: head_pos bigint
-- column: is_new boolean
-- column: has_news boolean
-- column: stripped_state bytea
-- column: member_json bytea
SELECT m.room_nid, r.room_id, r.room_version, m.membership, m.event_nid AS member_nid, m.since_pos, r.head_pos, n.is_new,
       m.membership = 'join' AND (
           n.is_new
           OR EXISTS (SELECT 1 FROM event e WHERE e.room_nid = m.room_nid AND e.pos >= $2 AND NOT pg_visible_in_snapshot(e.pos, $3::pg_snapshot) AND e.room_pos > 0 AND e.flags & 7 = 0)
           OR EXISTS (SELECT 1 FROM current_state c WHERE c.room_nid = m.room_nid AND c.pos >= $2 AND NOT pg_visible_in_snapshot(c.pos, $3::pg_snapshot))
           OR EXISTS (SELECT 1 FROM receipt p WHERE p.room_id = r.room_id AND p.pos >= $2 AND NOT pg_visible_in_snapshot(p.pos, $3::pg_snapshot))) AS has_news,
       CASE WHEN n.is_new THEN m.stripped_state END,
       CASE WHEN n.is_new AND m.membership IN ('invite', 'knock') THEN i.json END AS member_json
FROM membership m
CROSS JOIN LATERAL (SELECT m.pos >= $2 AND NOT pg_visible_in_snapshot(m.pos, $3::pg_snapshot) AS is_new OFFSET 0) n
JOIN room r ON r.room_nid = m.room_nid
LEFT JOIN event i ON i.event_nid = m.event_nid
WHERE m.user_id = $1
  AND (m.membership = 'join' OR m.membership IN ('invite', 'knock') AND n.is_new
       OR m.membership IN ('leave', 'ban') AND CASE WHEN m.is_forgotten
           THEN $4 = 1 AND i.pos >= $2 AND NOT pg_visible_in_snapshot(i.pos, $3::pg_snapshot) -- other devices must hear of the end
           ELSE $4 = 2 OR $4 = 1 AND n.is_new END);

-- name: my_past
-- why: the user's changed memberships, back to the first that the token knew; step 0 is the newest
-- param: user_id text
-- param: since_xmin xid8
-- param: since text
-- column: room_nid bigint
-- column: step bigint
-- column: is_new boolean
-- column: json bytea
WITH RECURSIVE past AS (
    SELECT m.room_nid, 0::bigint AS step, e.replaces_nid, e.pos >= $2 AND NOT pg_visible_in_snapshot(e.pos, $3::pg_snapshot) AS is_new, e.json
    FROM membership m JOIN event e ON e.event_nid = m.event_nid
    WHERE m.user_id = $1 AND m.pos >= $2 AND NOT pg_visible_in_snapshot(m.pos, $3::pg_snapshot)
    UNION ALL
    SELECT p.room_nid, p.step + 1, e.replaces_nid, e.pos >= $2 AND NOT pg_visible_in_snapshot(e.pos, $3::pg_snapshot), e.json
    FROM past p JOIN event e ON e.event_nid = p.replaces_nid
    WHERE p.is_new AND p.step < 100)
SELECT room_nid, step, is_new, json FROM past ORDER BY room_nid, step;

-- name: account_data_new
-- param: user_id text
-- param: since_xmin xid8
-- param: since text
-- column: room_id text
-- column: type text
-- column: content bytea
SELECT a.room_id, a.type, a.content FROM account_data a WHERE a.user_id = $1 AND a.pos >= $2 AND NOT pg_visible_in_snapshot(a.pos, $3::pg_snapshot) ORDER BY a.room_id, a.type;

-- name: account_rules
-- why: what decides about other things: who is ignored, what notifies
-- param: user_id text
-- column: type text
-- column: content bytea
SELECT type, content FROM account_data WHERE user_id = $1 AND room_id = '' AND type IN ('m.ignored_user_list', 'm.push_rules');

-- name: to_device_new
-- param: user_id text
-- param: device_id text
-- param: after_seq bigint
-- param: since text
-- param: row_limit bigint
-- column: seq bigint
-- column: event bytea
SELECT seq, event FROM to_device
WHERE user_id = $1 AND device_id = $2 AND (seq > $3 OR NOT pg_visible_in_snapshot(pos, $4::pg_snapshot)) ORDER BY seq LIMIT $5;

-- name: to_device_acknowledged
-- param: user_id text
-- param: device_id text
-- param: up_to_seq bigint
-- param: below_pos xid8
-- column: any_there boolean
SELECT EXISTS (SELECT 1 FROM to_device WHERE user_id = $1 AND device_id = $2 AND seq <= $3 AND pos < $4);

-- name: one_time_keys
-- param: user_id text
-- param: device_id text
-- column: algorithm text
-- column: keys bigint
SELECT algorithm, count(*) FROM one_time_key WHERE user_id = $1 AND device_id = $2 GROUP BY algorithm;

-- name: fallback_keys
-- param: user_id text
-- param: device_id text
-- column: algorithm text
SELECT algorithm FROM fallback_key WHERE user_id = $1 AND device_id = $2 AND NOT used;

-- name: device_lists_changed
-- why: users with whom a room is shared, and oneself
-- param: user_id text
-- param: since_xmin xid8
-- param: since text
-- column: user_id text
SELECT d.user_id FROM device_list d
WHERE d.pos >= $2 AND NOT pg_visible_in_snapshot(d.pos, $3::pg_snapshot)
  AND (d.user_id = $1 OR EXISTS (
       SELECT 1 FROM membership a JOIN membership b ON b.room_nid = a.room_nid AND b.user_id = d.user_id AND b.membership = 'join'
       WHERE a.user_id = $1 AND a.membership = 'join'));

-- name: members_met
-- why: who came into the user's rooms or left them, and everybody in rooms that he entered (his other devices meet them: himself, too) or left. shares: they are in a room together now
-- param: user_id text
-- param: since_xmin xid8
-- param: since text
-- param: room_nids bigint[]
-- param: moved_nids bigint[]
-- column: user_id text
-- column: shares boolean
SELECT c.user_id, (
    SELECT true FROM membership a JOIN membership b ON b.room_nid = a.room_nid AND b.user_id = c.user_id AND b.membership = 'join'
    WHERE a.user_id = $1 AND a.membership = 'join' LIMIT 1) IS NOT NULL AS shares
FROM (SELECT s.state_key AS user_id
      FROM unnest($4::bigint[]) w(room_nid)
      JOIN current_state s ON s.room_nid = w.room_nid AND s.pos >= $2 AND NOT pg_visible_in_snapshot(s.pos, $3::pg_snapshot) AND s.type = 'm.room.member'
      JOIN event e ON e.event_nid = s.event_nid
      CROSS JOIN LATERAL (SELECT membership FROM membership WHERE room_nid = w.room_nid AND user_id = s.state_key OFFSET 0) n
      LEFT JOIN event b ON b.event_nid = e.replaces_nid
      WHERE (n.membership = 'join') <> coalesce(position('"membership":"join"'::bytea IN b.json) > 0, false)
      UNION
      SELECT m.user_id FROM unnest($5::bigint[]) w(room_nid)
      CROSS JOIN LATERAL (SELECT user_id FROM membership WHERE room_nid = w.room_nid AND membership = 'join' OFFSET 0) m) c;

-- name: timelines
-- why: the newest events of each room, newest first; of rooms with only_new those that the token does not know. The oldest one looked at comes in any case: beyond it there may be more
-- param: room_nids bigint[]
-- param: until bigint[]
-- param: only_new bigint[]
-- param: since_xmin xid8
-- param: since text
-- param: delivered bigint[]
-- param: types text[]
-- param: not_types text[]
-- param: senders text[]
-- param: not_senders text[]
-- param: sweep bigint
-- param: row_limit bigint
-- column: ordinal bigint
-- column: matches boolean
-- column: goes_on boolean
-- column: has_gap boolean
-- column: event_nid bigint
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
SELECT w.ordinal, t.matches, t.goes_on, (SELECT true FROM backward_edge b WHERE b.child_nid = t.event_nid LIMIT 1) IS NOT NULL AS has_gap, t.event_nid, t.room_pos, t.pos, t.depth, t.origin_server_ts, t.snapshot_nid, t.redacted_by, t.replaces_nid, t.flags::bigint, t.event_id, t.type, t.state_key, t.sender, t.json
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS w(room_nid, until, only_new, ordinal)
CROSS JOIN LATERAL (
    SELECT m.* FROM (
        SELECT n.*, n.is_new AND n.nth = $11 AS goes_on, n.is_new AND n.event_nid <> ALL($6::bigint[])
               AND ($7::text[] IS NULL OR n.type LIKE ANY($7)) AND ($8::text[] IS NULL OR NOT n.type LIKE ANY($8))
               AND ($9::text[] IS NULL OR n.sender = ANY($9)) AND ($10::text[] IS NULL OR n.sender <> ALL($10)) AS matches
        FROM (
            SELECT p.*, row_number() OVER (ORDER BY p.room_pos DESC) AS nth,
                   w.only_new = 0 OR p.room_pos > 0 AND p.pos >= $4 AND NOT pg_visible_in_snapshot(p.pos, $5::pg_snapshot) AS is_new
            FROM (
                SELECT e.* FROM event e WHERE e.room_nid = w.room_nid AND e.room_pos <= w.until AND e.flags & 7 = 0
                ORDER BY e.room_pos DESC LIMIT $11) p) n) m
    WHERE m.matches OR m.goes_on
    ORDER BY m.room_pos DESC LIMIT $12) t
ORDER BY w.ordinal, t.room_pos DESC;

-- name: states
-- why: the current state of each room, or what changed in it. lazy: the whole comes without members
-- param: room_nids bigint[]
-- param: only_new bigint[]
-- param: since_xmin xid8
-- param: since text
-- param: lazy boolean
-- column: ordinal bigint
-- column: event_nid bigint
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
SELECT w.ordinal, e.event_nid, e.room_pos, e.pos, e.depth, e.origin_server_ts, e.snapshot_nid, e.redacted_by, e.replaces_nid, e.flags::bigint, e.event_id, e.type, e.state_key, e.sender, e.json
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS w(room_nid, only_new, ordinal)
CROSS JOIN LATERAL (
    SELECT c.event_nid FROM current_state c
    WHERE c.room_nid = w.room_nid AND w.only_new = 0 AND c.event_nid IS NOT NULL AND NOT ($5 AND c.type = 'm.room.member')
    UNION ALL
    SELECT c.event_nid FROM current_state c
    WHERE c.room_nid = w.room_nid AND w.only_new <> 0 AND c.pos >= $3 AND NOT pg_visible_in_snapshot(c.pos, $4::pg_snapshot) AND c.event_nid IS NOT NULL) c
JOIN event e ON e.event_nid = c.event_nid
ORDER BY w.ordinal;

-- name: member_events
-- why: for lazy loading: single members of rooms
-- param: room_nids bigint[]
-- param: user_ids text[]
-- column: ordinal bigint
-- column: event_nid bigint
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
SELECT w.ordinal, e.event_nid, e.room_pos, e.pos, e.depth, e.origin_server_ts, e.snapshot_nid, e.redacted_by, e.replaces_nid, e.flags::bigint, e.event_id, e.type, e.state_key, e.sender, e.json
FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS w(room_nid, user_id, ordinal)
JOIN current_state c ON c.room_nid = w.room_nid AND c.type = 'm.room.member' AND c.state_key = w.user_id
JOIN event e ON e.event_nid = c.event_nid
ORDER BY w.ordinal;

-- name: events_of
-- why: by nid; with only_new just those that the token does not know
-- param: nids bigint[]
-- param: only_new boolean
-- param: since text
-- column: room_nid bigint
-- column: event_nid bigint
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
SELECT e.room_nid, e.event_nid, e.room_pos, e.pos, e.depth, e.origin_server_ts, e.snapshot_nid, e.redacted_by, e.replaces_nid, e.flags::bigint, e.event_id, e.type, e.state_key, e.sender, e.json FROM event e 
WHERE e.event_nid = ANY($1) AND (NOT $2 OR NOT pg_visible_in_snapshot(e.pos, $3::pg_snapshot));

-- name: invite_states
-- why: what an invited or knocking user of ours may know of a room that is here
-- param: user_id text
-- param: room_nids bigint[]
-- column: ordinal bigint
-- column: event_nid bigint
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
SELECT w.ordinal, e.event_nid, e.room_pos, e.pos, e.depth, e.origin_server_ts, e.snapshot_nid, e.redacted_by, e.replaces_nid, e.flags::bigint, e.event_id, e.type, e.state_key, e.sender, e.json
FROM unnest($2::bigint[]) WITH ORDINALITY AS w(room_nid, ordinal)
JOIN membership m ON m.room_nid = w.room_nid AND m.user_id = $1
JOIN event i ON i.event_nid = m.event_nid
CROSS JOIN LATERAL (VALUES ('m.room.create', ''), ('m.room.name', ''), ('m.room.avatar', ''), ('m.room.topic', ''), ('m.room.join_rules', ''),
    ('m.room.canonical_alias', ''), ('m.room.encryption', ''), ('m.room.member', $1), ('m.room.member', nullif(i.sender, $1))) k(type, state_key)
JOIN current_state c ON c.room_nid = w.room_nid AND c.type = k.type AND c.state_key = k.state_key
JOIN event e ON e.event_nid = c.event_nid
ORDER BY w.ordinal;

-- name: summaries
-- why: heroes: the first five others that are in or invited, else the first five that were
-- param: user_id text
-- param: room_nids bigint[]
-- column: ordinal bigint
-- column: joined bigint
-- column: invited bigint
-- column: heroes text[]
SELECT w.ordinal, s.joined, s.invited, coalesce(s.present, s.former) AS heroes
FROM unnest($2::bigint[]) WITH ORDINALITY AS w(room_nid, ordinal)
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE membership = 'join') AS joined, count(*) FILTER (WHERE membership = 'invite') AS invited,
           (array_agg(user_id ORDER BY since_pos, user_id) FILTER (WHERE membership IN ('join', 'invite') AND user_id <> $1))[1:5] AS present,
           (array_agg(user_id ORDER BY since_pos, user_id) FILTER (WHERE membership IN ('leave', 'ban') AND user_id <> $1))[1:5] AS former
    FROM membership WHERE room_nid = w.room_nid) s
ORDER BY w.ordinal;

-- name: visibility_settings
-- why: how long each room has its present setting, and what the reader's own membership event replaced
-- param: room_nids bigint[]
-- param: member_nids bigint[]
-- column: ordinal bigint
-- column: json bytea
-- column: set_pos bigint
-- column: replaced bigint
-- column: member_replaced bigint
SELECT w.ordinal, e.json, e.room_pos AS set_pos, e.replaces_nid AS replaced, m.replaces_nid AS member_replaced
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS w(room_nid, member_nid, ordinal)
JOIN event m ON m.event_nid = w.member_nid
LEFT JOIN current_state c ON c.room_nid = w.room_nid AND c.type = 'm.room.history_visibility' AND c.state_key = ''
LEFT JOIN event e ON e.event_nid = c.event_nid
ORDER BY w.ordinal;

-- name: receipts_new
-- why: private ones are their sender's
-- param: user_id text
-- param: room_ids text[]
-- param: only_new bigint[]
-- param: since_xmin xid8
-- param: since text
-- column: ordinal bigint
-- column: user_id text
-- column: receipt_type text
-- column: thread_id text
-- column: event_id text
-- column: data bytea
SELECT w.ordinal, p.user_id, p.receipt_type, p.thread_id, p.event_id, p.data
FROM unnest($2::text[], $3::bigint[]) WITH ORDINALITY AS w(room_id, only_new, ordinal)
JOIN receipt p ON p.room_id = w.room_id
WHERE (w.only_new = 0 OR p.pos >= $4 AND NOT pg_visible_in_snapshot(p.pos, $5::pg_snapshot)) AND (p.receipt_type <> 'm.read.private' OR p.user_id = $1)
ORDER BY w.ordinal, p.event_id, p.receipt_type, p.user_id, p.thread_id;

-- name: read_positions
-- param: user_id text
-- param: room_ids text[]
-- column: ordinal bigint
-- column: thread_id text
-- column: room_pos bigint
SELECT w.ordinal, p.thread_id, max(p.room_pos) AS room_pos
FROM unnest($2::text[]) WITH ORDINALITY AS w(room_id, ordinal)
CROSS JOIN LATERAL (VALUES ('m.read'), ('m.read.private')) k(receipt_type)
JOIN receipt p ON p.room_id = w.room_id AND p.user_id = $1 AND p.receipt_type = k.receipt_type
GROUP BY w.ordinal, p.thread_id;

-- name: unread_events
-- why: what may notify between a place and the end of what is told, newest first. json only of those whose words matter: mentions, threads, edits
-- param: user_id text
-- param: room_nids bigint[]
-- param: after_pos bigint[]
-- param: until bigint[]
-- param: words bytea[]
-- param: row_limit bigint
-- column: ordinal bigint
-- column: room_pos bigint
-- column: type text
-- column: json bytea
SELECT w.ordinal, t.room_pos, t.type, CASE WHEN t.wanted THEN t.json END
FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS w(room_nid, after_pos, until, ordinal)
CROSS JOIN LATERAL (
    SELECT e.room_pos, e.type, e.json,
           EXISTS (SELECT 1 FROM unnest($5::bytea[]) k(word) WHERE position(k.word IN e.json) > 0) AS wanted
    FROM event e
    WHERE e.room_nid = w.room_nid AND e.room_pos > w.after_pos AND e.room_pos <= w.until AND e.flags & 7 = 0 AND e.sender <> $1 AND e.redacted_by IS NULL
      AND (e.state_key IS NULL OR e.type = 'm.room.tombstone')
      AND e.type IN ('m.room.message', 'm.room.encrypted', 'm.sticker', 'm.call.invite', 'm.poll.start', 'org.matrix.msc3381.poll.start', 'm.room.tombstone')
    ORDER BY e.room_pos DESC LIMIT $6) t
ORDER BY w.ordinal, t.room_pos DESC;

-- name: receipts_put
-- why: a receipt never goes back in the timeline; places that are unknown here count as new
-- param: room_ids text[]
-- param: user_ids text[]
-- param: types text[]
-- param: thread_ids text[]
-- param: event_ids text[]
-- param: datas bytea[]
-- column: room_id text
-- column: user_id text
-- column: receipt_type text
-- column: thread_id text
-- column: event_id text
-- column: pos xid8
INSERT INTO receipt AS old (room_id, user_id, receipt_type, thread_id, event_id, data, room_pos)
SELECT DISTINCT ON (w.r, w.u, w.t, w.h) w.r, w.u, w.t, w.h, w.e, w.d, coalesce(e.room_pos, 0)
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[]) WITH ORDINALITY AS w(r, u, t, h, e, d, ordinal)
LEFT JOIN event e ON e.event_id = w.e
ORDER BY w.r, w.u, w.t, w.h, coalesce(e.room_pos, 0) DESC, w.ordinal DESC
ON CONFLICT (room_id, user_id, receipt_type, thread_id) DO UPDATE
SET event_id = excluded.event_id, data = excluded.data, room_pos = excluded.room_pos, pos = pg_current_xact_id()
WHERE old.event_id <> excluded.event_id AND (old.room_pos < excluded.room_pos OR excluded.room_pos = 0)
RETURNING room_id, user_id, receipt_type, thread_id, event_id, pos;

-- name: joined_in
-- why: may this user do that here?
-- param: room_id text
-- param: user_id text
-- column: room_nid bigint
-- column: membership text
SELECT r.room_nid, m.membership FROM room r LEFT JOIN membership m ON m.room_nid = r.room_nid AND m.user_id = $2 WHERE r.room_id = $1;

-- name: joined_of
-- why: which of these are in their rooms; for what other servers tell
-- param: room_ids text[]
-- param: user_ids text[]
-- column: ordinal bigint
SELECT w.ordinal
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(room_id, user_id, ordinal)
CROSS JOIN LATERAL (SELECT room_nid FROM room WHERE room_id = w.room_id OFFSET 0) r
CROSS JOIN LATERAL (SELECT 1 FROM membership WHERE room_nid = r.room_nid AND user_id = w.user_id AND membership = 'join' OFFSET 0) m;

-- name: sharing_of
-- why: with which of these users is a room shared?
-- param: user_id text
-- param: others text[]
-- column: other text
SELECT w.other FROM unnest($2::text[]) w(other)
WHERE w.other = $1 OR EXISTS (
    SELECT 1 FROM membership a JOIN membership b ON b.room_nid = a.room_nid AND b.user_id = w.other AND b.membership = 'join'
    WHERE a.user_id = $1 AND a.membership = 'join');

-- name: rooms_of
-- param: user_ids text[]
-- column: user_id text
-- column: room_id text
SELECT w.user_id, r.room_id FROM unnest($1::text[]) w(user_id)
CROSS JOIN LATERAL (SELECT room_nid FROM membership WHERE user_id = w.user_id AND membership = 'join' OFFSET 0) m
JOIN room r ON r.room_nid = m.room_nid;

-- name: servers_of
-- why: other servers in a user's rooms
-- param: user_id text
-- param: own_server text
-- column: server text
SELECT DISTINCT b.server FROM membership a
JOIN membership b ON b.room_nid = a.room_nid AND b.membership = 'join'
WHERE a.user_id = $1 AND a.membership = 'join' AND b.server <> $2;

-- name: account_exists
-- param: user_id text
-- column: there boolean
SELECT EXISTS (SELECT 1 FROM account WHERE user_id = $1);
