-- Statements of accounts: users, tokens, devices, keys, to-device messages, account data. Rooms are only read here.

-- name: horizon
-- column: horizon xid8
SELECT pg_snapshot_xmin(pg_current_snapshot());

-- ================================================================ accounts

-- name: accounts_find
-- param: user_ids text[]
-- column: user_id text
-- column: password_hash text
-- column: is_admin boolean
-- column: is_guest boolean
-- column: is_deactivated boolean
SELECT user_id, password_hash, is_admin, is_guest, is_deactivated FROM account WHERE user_id = ANY($1);

-- name: account_insert
-- why: a taken name ends the whole batch (account_pkey)
-- param: user_id text
-- param: password_hash text
-- param: created_ts bigint
-- param: is_admin boolean
-- param: is_guest boolean
INSERT INTO account (user_id, password_hash, created_ts, is_admin, is_guest) VALUES ($1, $2, $3, $4, $5);

-- name: account_set_password
-- param: user_id text
-- param: password_hash text
UPDATE account SET password_hash = $2 WHERE user_id = $1 AND NOT is_deactivated;

-- name: account_rehash_password
-- why: only if nobody changed it meanwhile
-- param: user_id text
-- param: old_hash text
-- param: new_hash text
UPDATE account SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2;

-- name: account_deactivate
-- param: user_id text
UPDATE account SET is_deactivated = true, password_hash = NULL WHERE user_id = $1;

-- name: profile_clear
-- param: user_id text
DELETE FROM profile WHERE user_id = $1;

-- name: account_data_clear
-- param: user_id text
DELETE FROM account_data WHERE user_id = $1;

-- name: cross_signing_clear
-- param: user_id text
DELETE FROM cross_signing_key WHERE user_id = $1;

-- name: nonce_insert
-- param: nonce text
-- param: created_ts bigint
INSERT INTO registration_nonce (nonce, created_ts) VALUES ($1, $2);

-- name: nonce_take
-- param: nonce text
-- param: not_before bigint
-- column: created_ts bigint
DELETE FROM registration_nonce WHERE nonce = $1 AND created_ts >= $2 RETURNING created_ts;

-- name: nonce_expire
-- param: before bigint
-- param: row_limit bigint
DELETE FROM registration_nonce t USING (
    SELECT nonce FROM registration_nonce WHERE created_ts < $1 ORDER BY created_ts LIMIT $2 FOR UPDATE SKIP LOCKED) o WHERE t.nonce = o.nonce;

-- ================================================================ user-interactive authentication

-- name: ui_session_insert
-- param: session_id text
-- param: operation text
-- param: request bytea
-- param: created_ts bigint
INSERT INTO ui_auth_session (session_id, operation, request, created_ts) VALUES ($1, $2, $3, $4);

-- name: ui_session_find
-- param: session_id text
-- param: operation text
-- param: not_before bigint
-- column: stages text
-- column: request bytea
SELECT stages, request FROM ui_auth_session WHERE session_id = $1 AND operation = $2 AND created_ts >= $3;

-- name: ui_session_complete
-- param: session_id text
-- param: stages text
-- param: request bytea
UPDATE ui_auth_session SET stages = $2, request = $3 WHERE session_id = $1;

-- name: ui_session_expire
-- param: before bigint
-- param: row_limit bigint
DELETE FROM ui_auth_session t USING (
    SELECT session_id FROM ui_auth_session WHERE created_ts < $1 ORDER BY created_ts LIMIT $2 FOR UPDATE SKIP LOCKED) o
WHERE t.session_id = o.session_id;

-- ================================================================ sessions and devices

-- name: device_open
-- why: the name is for a new device only; what is known keeps its own; no row: the user has too many
-- param: user_id text
-- param: device_id text
-- param: display_name text
-- param: now bigint
-- param: address text
-- param: user_agent text
-- param: most bigint
INSERT INTO device (user_id, device_id, display_name, created_ts, last_seen_ts, last_seen_ip, user_agent)
SELECT $1, $2, $3, $4, $4, coalesce($5, ''), coalesce($6, '')
WHERE (SELECT count(*) FROM device WHERE user_id = $1 AND device_id <> $2) < $7
ON CONFLICT (user_id, device_id) DO UPDATE SET last_seen_ts = excluded.last_seen_ts, last_seen_ip = excluded.last_seen_ip,
    user_agent = excluded.user_agent;

-- name: tokens_drop
-- why: all access tokens of these devices
-- param: user_id text
-- param: device_ids text[]
-- column: token_hash bytea
-- column: pos xid8
DELETE FROM access_token WHERE user_id = $1 AND device_id = ANY($2) RETURNING token_hash, pg_current_xact_id();

-- name: tokens_drop_all
-- param: user_id text
-- column: token_hash bytea
-- column: pos xid8
DELETE FROM access_token WHERE user_id = $1 RETURNING token_hash, pg_current_xact_id();

-- name: token_drop
-- param: token_hash bytea
-- column: token_hash bytea
-- column: pos xid8
DELETE FROM access_token WHERE token_hash = $1 RETURNING token_hash, pg_current_xact_id();

-- name: refresh_tokens_drop
-- param: user_id text
-- param: device_ids text[]
DELETE FROM refresh_token WHERE user_id = $1 AND device_id = ANY($2);

-- name: token_insert
-- why: with its device or not at all
-- param: token_hash bytea
-- param: user_id text
-- param: device_id text
-- param: expires_ts bigint
-- param: created_ts bigint
INSERT INTO access_token (token_hash, user_id, device_id, expires_ts, created_ts)
SELECT $1, user_id, device_id, $4, $5 FROM device WHERE user_id = $2 AND device_id = $3 FOR KEY SHARE;

-- name: refresh_token_insert
-- param: token_hash bytea
-- param: user_id text
-- param: device_id text
-- param: created_ts bigint
INSERT INTO refresh_token (token_hash, user_id, device_id, created_ts)
SELECT $1, user_id, device_id, $4 FROM device WHERE user_id = $2 AND device_id = $3 FOR KEY SHARE;

-- name: refresh_token_take
-- why: locked, so that two uses of one token follow each other
-- param: token_hash bytea
-- column: user_id text
-- column: device_id text
-- column: is_deactivated boolean
SELECT r.user_id, r.device_id, a.is_deactivated FROM refresh_token r JOIN account a USING (user_id)
WHERE r.token_hash = $1 FOR UPDATE OF r;

-- name: refresh_tokens_settle
-- why: the one used now stays; the one before it is used up, and so is one that was given for it but never arrived
-- param: user_id text
-- param: device_id text
-- param: token_hash bytea
DELETE FROM refresh_token WHERE user_id = $1 AND device_id = $2 AND token_hash <> $3;

-- name: devices_of
-- param: user_id text
-- column: device_id text
-- column: display_name text
-- column: last_seen_ts bigint
-- column: last_seen_ip text
SELECT device_id, display_name, last_seen_ts, last_seen_ip FROM device WHERE user_id = $1 ORDER BY created_ts, device_id;

-- name: device_find
-- param: user_id text
-- param: device_id text
-- column: device_id text
-- column: display_name text
-- column: last_seen_ts bigint
-- column: last_seen_ip text
SELECT device_id, display_name, last_seen_ts, last_seen_ip FROM device WHERE user_id = $1 AND device_id = $2;

-- name: device_rename
-- param: user_id text
-- param: device_id text
-- param: display_name text
-- column: device_id text
UPDATE device SET display_name = $3 WHERE user_id = $1 AND device_id = $2 RETURNING device_id;

-- name: devices_drop
-- param: user_id text
-- param: device_ids text[]
DELETE FROM device WHERE user_id = $1 AND device_id = ANY($2);

-- name: device_keys_drop
-- param: user_id text
-- param: device_ids text[]
-- column: device_id text
DELETE FROM device_key WHERE user_id = $1 AND device_id = ANY($2) RETURNING device_id;

-- name: one_time_keys_drop
-- param: user_id text
-- param: device_ids text[]
DELETE FROM one_time_key WHERE user_id = $1 AND device_id = ANY($2);

-- name: fallback_keys_drop
-- param: user_id text
-- param: device_ids text[]
DELETE FROM fallback_key WHERE user_id = $1 AND device_id = ANY($2);

-- name: to_device_drop
-- param: user_id text
-- param: device_ids text[]
DELETE FROM to_device WHERE user_id = $1 AND device_id = ANY($2);

-- name: account_data_empty
-- why: {} stands for deleted
-- param: user_id text
-- param: types text[]
-- column: pos xid8
UPDATE account_data SET content = '{}', pos = pg_current_xact_id()
WHERE user_id = $1 AND room_id = '' AND type = ANY($2) AND content <> '{}' RETURNING pos;

-- ================================================================ device lists

-- name: device_list_bump
-- why: devices of a user of ours changed ('' stands for the cross-signing keys): local listeners by pos, other servers by the outbox
-- param: user_id text
-- param: device_ids text[]
-- param: now bigint
-- column: pos xid8
WITH bumped AS (
    INSERT INTO device_list (user_id, stream_id) VALUES ($1, cardinality($2::text[]))
    ON CONFLICT (user_id) DO UPDATE SET stream_id = device_list.stream_id + excluded.stream_id, pos = excluded.pos
    RETURNING stream_id, pos),
waiting AS (
    INSERT INTO device_list_pending (user_id, device_id, stream_id, created_ts)
    SELECT $1, d, b.stream_id - cardinality($2::text[]) + n, $3 FROM bumped b, unnest($2::text[]) WITH ORDINALITY AS u(d, n)
    ON CONFLICT (user_id, device_id) DO UPDATE SET stream_id = excluded.stream_id, created_ts = excluded.created_ts)
SELECT pos FROM bumped;

-- name: device_list_touch
-- why: signatures of one user on another's keys: his clients are to look again
-- param: user_ids text[]
-- column: user_id text
-- column: pos xid8
INSERT INTO device_list (user_id, stream_id) SELECT u, 0 FROM unnest($1::text[]) AS t(u)
ON CONFLICT (user_id) DO UPDATE SET pos = excluded.pos RETURNING user_id, pos;

-- name: device_list_pending_of
-- param: user_id text
-- column: device_id text
-- column: stream_id bigint
-- column: keys bytea
-- column: display_name text
-- column: is_there boolean
SELECT p.device_id, p.stream_id, k.keys, d.display_name, d.device_id IS NOT NULL
FROM device_list_pending p
LEFT JOIN device d ON d.user_id = p.user_id AND d.device_id = p.device_id
LEFT JOIN device_key k ON k.user_id = p.user_id AND k.device_id = p.device_id
WHERE p.user_id = $1 ORDER BY p.stream_id;

-- name: device_list_pending_done
-- param: user_id text
-- param: device_ids text[]
-- param: stream_ids bigint[]
DELETE FROM device_list_pending p USING unnest($2::text[], $3::bigint[]) AS t(d, s)
WHERE p.user_id = $1 AND p.device_id = t.d AND p.stream_id = t.s;

-- name: device_list_pending_users
-- param: before bigint
-- column: user_id text
SELECT DISTINCT user_id FROM (SELECT user_id FROM device_list_pending WHERE created_ts < $1 ORDER BY created_ts LIMIT 100) p;

-- name: devices_to_introduce
-- why: all devices of a user as pending: he joined a room, maybe with servers that never heard of him
-- param: user_id text
-- column: device_id text
SELECT device_id FROM device WHERE user_id = $1;

-- name: servers_of_user
-- why: other servers that share a joined room with the user
-- param: user_id text
-- param: own_server text
-- column: server text
SELECT DISTINCT o.server FROM membership m JOIN membership o ON o.room_nid = m.room_nid AND o.membership = 'join' AND o.server <> $2
WHERE m.user_id = $1 AND m.membership = 'join';

-- name: device_lists_stale
-- why: other servers say that devices changed; only of users who share a room with one of ours, and not of a device without keys (matters = 0) that had none here
-- param: user_ids text[]
-- param: device_ids text[]
-- param: matters bigint[]
-- param: own_server text
-- column: user_id text
-- column: pos xid8
INSERT INTO device_list (user_id, stream_id, is_stale)
SELECT DISTINCT u, 0, true FROM unnest($1::text[], $2::text[], $3::bigint[]) AS t(u, d, m)
WHERE (m <> 0 OR (SELECT 1 FROM device_key k WHERE k.user_id = u AND k.device_id = d) IS NOT NULL)
  AND EXISTS (SELECT 1 FROM membership r WHERE r.user_id = u AND r.membership = 'join'
              AND EXISTS (SELECT 1 FROM membership l WHERE l.room_nid = r.room_nid AND l.server = $4 AND l.membership = 'join'))
ON CONFLICT (user_id) DO UPDATE SET is_stale = true, pos = excluded.pos
RETURNING user_id, pos;

-- name: remote_lists
-- why: is what we cached of these users' keys good? Only while rooms are shared without a break since then did updates reach us
-- param: user_ids text[]
-- param: own_server text
-- column: user_id text
-- column: is_shared boolean
-- column: is_fresh boolean
-- column: pos xid8
SELECT t.u,
       EXISTS (SELECT 1 FROM membership r WHERE r.user_id = t.u AND r.membership = 'join'
               AND EXISTS (SELECT 1 FROM membership l WHERE l.room_nid = r.room_nid AND l.server = $2 AND l.membership = 'join')),
       coalesce(NOT d.is_stale AND d.cached_pos IS NOT NULL AND
           EXISTS (SELECT 1 FROM membership r WHERE r.user_id = t.u AND r.membership = 'join' AND r.pos < d.cached_pos
                   AND EXISTS (SELECT 1 FROM membership l WHERE l.room_nid = r.room_nid AND l.server = $2 AND l.membership = 'join'
                               AND l.pos < d.cached_pos)), false),
       coalesce(d.pos, '0'::xid8)
FROM unnest($1::text[]) AS t(u) LEFT JOIN device_list d ON d.user_id = t.u;

-- name: remote_list_cached
-- why: first of the batch that fills the cache: ends it when something changed since the other server was asked; wakes nobody
-- param: user_id text
-- param: seen_pos xid8
-- column: done boolean
WITH kept AS (
    INSERT INTO device_list (user_id, stream_id, is_stale, cached_pos, pos) VALUES ($1, 0, false, pg_current_xact_id(), '3'::xid8)
    ON CONFLICT (user_id) DO UPDATE SET is_stale = false, cached_pos = excluded.cached_pos WHERE device_list.pos = $2
    RETURNING 1)
SELECT conflict_unless(EXISTS (SELECT 1 FROM kept));

-- name: remote_keys_clear
-- param: user_id text
WITH gone AS (DELETE FROM cross_signing_key WHERE user_id = $1) DELETE FROM device_key WHERE user_id = $1;

-- name: remote_device_keys_insert
-- param: user_id text
-- param: device_ids text[]
-- param: keys bytea[]
INSERT INTO device_key (user_id, device_id, keys) SELECT $1, d, k FROM unnest($2::text[], $3::bytea[]) AS t(d, k) ON CONFLICT DO NOTHING;

-- ================================================================ keys

-- name: device_key_find
-- param: user_id text
-- param: device_id text
-- column: keys bytea
SELECT keys FROM device_key WHERE user_id = $1 AND device_id = $2;

-- name: device_key_set
-- param: user_id text
-- param: device_id text
-- param: keys bytea
INSERT INTO device_key (user_id, device_id, keys) SELECT $1, $2, $3 FROM device WHERE user_id = $1 AND device_id = $2
ON CONFLICT (user_id, device_id) DO UPDATE SET keys = excluded.keys;

-- name: device_signatures_drop
-- why: signatures were for the keys that are replaced now
-- param: user_id text
-- param: target_id text
DELETE FROM key_signature WHERE target_user_id = $1 AND target_id = $2;

-- name: one_time_keys_insert
-- param: user_id text
-- param: device_id text
-- param: algorithms text[]
-- param: key_ids text[]
-- param: keys bytea[]
INSERT INTO one_time_key (user_id, device_id, algorithm, key_id, key)
SELECT $1, $2, a, i, k FROM unnest($3::text[], $4::text[], $5::bytea[]) AS t(a, i, k) ON CONFLICT DO NOTHING;

-- name: one_time_keys_known
-- why: ids in use already, with their keys: the same again is fine, another key is not
-- param: user_id text
-- param: device_id text
-- param: algorithms text[]
-- param: key_ids text[]
-- column: algorithm text
-- column: key_id text
-- column: key bytea
SELECT o.algorithm, o.key_id, o.key FROM unnest($3::text[], $4::text[]) AS t(a, i)
JOIN one_time_key o ON o.user_id = $1 AND o.device_id = $2 AND o.algorithm = t.a AND o.key_id = t.i;

-- name: device_hold
-- why: it cannot be deleted before the end of this transaction, and what belongs to it be left behind
-- param: user_id text
-- param: device_id text
-- column: device_id text
SELECT device_id FROM device WHERE user_id = $1 AND device_id = $2 FOR KEY SHARE;

-- name: one_time_keys_trim
-- why: the oldest go
-- param: user_id text
-- param: device_id text
-- param: most bigint
DELETE FROM one_time_key WHERE user_id = $1 AND device_id = $2 AND added <= (
    SELECT added FROM one_time_key WHERE user_id = $1 AND device_id = $2 ORDER BY added DESC OFFSET $3 LIMIT 1);

-- name: one_time_key_counts
-- param: user_id text
-- param: device_id text
-- column: algorithm text
-- column: held bigint
SELECT algorithm, count(*) FROM one_time_key WHERE user_id = $1 AND device_id = $2 GROUP BY algorithm ORDER BY algorithm;

-- name: fallback_key_set
-- param: user_id text
-- param: device_id text
-- param: algorithm text
-- param: key_id text
-- param: key bytea
INSERT INTO fallback_key (user_id, device_id, algorithm, key_id, key) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (user_id, device_id, algorithm) DO UPDATE SET key_id = excluded.key_id, key = excluded.key,
    used = fallback_key.used AND fallback_key.key_id = excluded.key_id AND fallback_key.key = excluded.key;

-- name: one_time_key_claim
-- why: the oldest; one that another claim holds right now is passed over, so that nobody gets it twice
-- param: user_id text
-- param: device_id text
-- param: algorithm text
-- column: key_id text
-- column: key bytea
DELETE FROM one_time_key o USING (
    SELECT key_id FROM one_time_key WHERE user_id = $1 AND device_id = $2 AND algorithm = $3
    ORDER BY added LIMIT 1 FOR UPDATE SKIP LOCKED) oldest
WHERE o.user_id = $1 AND o.device_id = $2 AND o.algorithm = $3 AND o.key_id = oldest.key_id
RETURNING o.key_id, o.key;

-- name: fallback_key_claim
-- param: user_id text
-- param: device_id text
-- param: algorithm text
-- column: key_id text
-- column: key bytea
-- column: pos xid8
UPDATE fallback_key SET used = true WHERE user_id = $1 AND device_id = $2 AND algorithm = $3
RETURNING key_id, key, pg_current_xact_id();

-- name: device_keys_of
-- param: user_ids text[]
-- column: user_id text
-- column: device_id text
-- column: keys bytea
-- column: display_name text
SELECT k.user_id, k.device_id, k.keys, d.display_name
FROM device_key k LEFT JOIN device d ON d.user_id = k.user_id AND d.device_id = k.device_id
WHERE k.user_id = ANY($1) ORDER BY k.user_id, k.device_id;

-- name: cross_signing_keys_of
-- param: user_ids text[]
-- column: user_id text
-- column: usage text
-- column: key bytea
SELECT user_id, usage, key FROM cross_signing_key WHERE user_id = ANY($1);

-- name: signatures_of
-- why: made by the owner of the keys or by whoever looks; others are nobody's business
-- param: user_ids text[]
-- param: viewer text
-- column: target_user_id text
-- column: target_id text
-- column: signer_user_id text
-- column: signer_key_id text
-- column: signature text
SELECT target_user_id, target_id, signer_user_id, signer_key_id, signature FROM key_signature
WHERE target_user_id = ANY($1) AND (signer_user_id = target_user_id OR signer_user_id = $2);

-- name: cross_signing_key_set
-- param: user_id text
-- param: usage text
-- param: key bytea
INSERT INTO cross_signing_key (user_id, usage, key) VALUES ($1, $2, $3)
ON CONFLICT (user_id, usage) DO UPDATE SET key = excluded.key;

-- name: signatures_insert
-- param: signer text
-- param: signer_key_ids text[]
-- param: target_user_ids text[]
-- param: target_ids text[]
-- param: signatures text[]
INSERT INTO key_signature (signer_user_id, signer_key_id, target_user_id, target_id, signature)
SELECT $1, k, u, t, s FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS n(k, u, t, s)
ON CONFLICT (target_user_id, target_id, signer_user_id, signer_key_id) DO UPDATE SET signature = excluded.signature;

-- name: device_list_stream_id
-- param: user_id text
-- column: stream_id bigint
SELECT stream_id FROM device_list WHERE user_id = $1;

-- name: list_changes
-- why: /keys/changes: who shares a room with the user now, and changed devices or came to share one in between
-- param: user_id text
-- param: from_pos xid8
-- param: to_pos xid8
-- column: changed text
SELECT d.user_id FROM device_list d WHERE d.pos >= $2 AND d.pos < $3 AND (d.user_id = $1 OR EXISTS (
    SELECT 1 FROM membership m JOIN membership o ON o.room_nid = m.room_nid AND o.user_id = d.user_id AND o.membership = 'join'
    WHERE m.user_id = $1 AND m.membership = 'join'))
UNION
SELECT o.user_id FROM membership m JOIN membership o ON o.room_nid = m.room_nid AND o.membership = 'join'
WHERE m.user_id = $1 AND m.membership = 'join' AND (m.pos >= $2 AND m.pos < $3 OR o.pos >= $2 AND o.pos < $3) AND o.user_id <> $1;

-- name: list_departures
-- why: /keys/changes: who left rooms shared with the user, or was in those that he left, and shares none now
-- param: user_id text
-- param: from_pos xid8
-- param: to_pos xid8
-- column: gone text
SELECT DISTINCT o.user_id FROM membership m JOIN membership o ON o.room_nid = m.room_nid
WHERE m.user_id = $1 AND o.user_id <> $1
  AND (m.membership = 'join' AND o.membership IN ('leave', 'ban') AND o.pos >= $2 AND o.pos < $3
       OR m.membership IN ('leave', 'ban') AND m.pos >= $2 AND m.pos < $3 AND o.membership = 'join')
  AND NOT EXISTS (SELECT 1 FROM membership a JOIN membership b ON b.room_nid = a.room_nid AND b.user_id = o.user_id AND b.membership = 'join'
                  WHERE a.user_id = $1 AND a.membership = 'join');

-- ================================================================ to-device messages

-- name: to_device_was_seen
-- param: sender text
-- param: txn_id text
-- column: seen boolean
SELECT EXISTS (SELECT 1 FROM to_device_seen WHERE sender = $1 AND txn_id = $2);

-- name: to_device_deliver
-- why: once per transaction; device "*" stands for all of the user's; unknown ones get nothing, nor does one that is being deleted
-- param: sender text
-- param: txn_id text
-- param: now bigint
-- param: user_ids text[]
-- param: device_ids text[]
-- param: events bytea[]
-- column: user_id text
-- column: pos xid8
WITH fresh AS (INSERT INTO to_device_seen (sender, txn_id, seen_ts) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING 1)
INSERT INTO to_device (user_id, device_id, event)
SELECT d.user_id, d.device_id, w.e FROM unnest($4::text[], $5::text[], $6::bytea[]) AS w(u, i, e)
JOIN device d ON d.user_id = w.u AND (w.i = '*' OR d.device_id = w.i)
WHERE EXISTS (SELECT 1 FROM fresh)
FOR KEY SHARE OF d
RETURNING user_id, pos;

-- name: to_device_seen_expire
-- param: before bigint
-- param: row_limit bigint
DELETE FROM to_device_seen t USING (
    SELECT sender, txn_id FROM to_device_seen WHERE seen_ts < $1 ORDER BY seen_ts LIMIT $2 FOR UPDATE SKIP LOCKED) o
WHERE t.sender = o.sender AND t.txn_id = o.txn_id;

-- ================================================================ account data and filters

-- name: account_data_find
-- param: user_id text
-- param: room_id text
-- param: type text
-- column: content bytea
SELECT content FROM account_data WHERE user_id = $1 AND room_id = $2 AND type = $3 AND content <> '{}';

-- name: account_data_lock
-- why: for reading, changing and writing back, also when there is no row yet
-- param: user_id text
-- column: locked boolean
SELECT pg_advisory_xact_lock(hashtextextended($1, 7)) IS NOT NULL;

-- name: account_data_set
-- why: no row: the user has too many
-- param: user_id text
-- param: room_id text
-- param: type text
-- param: content bytea
-- param: most bigint
-- column: pos xid8
INSERT INTO account_data (user_id, room_id, type, content) SELECT $1, $2, $3, $4
WHERE EXISTS (SELECT 1 FROM account_data WHERE user_id = $1 AND room_id = $2 AND type = $3)
   OR (SELECT count(*) FROM (SELECT 1 FROM account_data WHERE user_id = $1 LIMIT $5) c) < $5
ON CONFLICT (user_id, room_id, type) DO UPDATE SET content = excluded.content, pos = excluded.pos RETURNING pos;

-- name: filter_put
-- why: equal ones share an id; at most $4 of a user
-- param: user_id text
-- param: definition bytea
-- param: definition_hash bytea
-- param: most bigint
-- column: filter_id bigint
INSERT INTO filter (user_id, filter_id, definition, definition_hash)
SELECT $1, n, $2, $3 FROM (SELECT coalesce(max(filter_id) + 1, 0) AS n FROM filter WHERE user_id = $1) f
WHERE n < $4 OR EXISTS (SELECT 1 FROM filter WHERE user_id = $1 AND definition_hash = $3)
ON CONFLICT (user_id, definition_hash) DO UPDATE SET definition = excluded.definition RETURNING filter_id;

-- name: filter_find
-- param: user_id text
-- param: filter_id bigint
-- column: definition bytea
SELECT definition FROM filter WHERE user_id = $1 AND filter_id = $2;

-- ================================================================ profiles

-- name: profile_of
-- param: user_id text
-- column: is_deactivated boolean
-- column: field text
-- column: value bytea
SELECT a.is_deactivated, p.field, p.value FROM account a LEFT JOIN profile p USING (user_id) WHERE a.user_id = $1 ORDER BY p.field;

-- name: profile_set
-- why: unless the whole would pass the limit: then no row comes back
-- param: user_id text
-- param: field text
-- param: value bytea
-- param: bytes_max bigint
-- column: pos xid8
INSERT INTO profile (user_id, field, value)
SELECT $1, $2, $3 WHERE octet_length($2) + octet_length($3) + (
    SELECT coalesce(sum(octet_length(field) + octet_length(value) + 6), 0) FROM profile WHERE user_id = $1 AND field <> $2) < $4
ON CONFLICT (user_id, field) DO UPDATE SET value = excluded.value RETURNING pg_current_xact_id();

-- name: profile_delete
-- param: user_id text
-- param: field text
-- column: pos xid8
DELETE FROM profile WHERE user_id = $1 AND field = $2 RETURNING pg_current_xact_id();

-- name: member_events_of
-- why: the user's own member event in each room he is in
-- param: user_id text
-- column: room_id text
-- column: json bytea
SELECT r.room_id, e.json FROM membership m JOIN room r USING (room_nid) JOIN event e ON e.event_nid = m.event_nid
WHERE m.user_id = $1 AND m.membership = 'join' ORDER BY m.room_nid;

-- name: rooms_to_leave
-- param: user_id text
-- column: room_id text
-- column: room_version text
-- column: we_are_in boolean
SELECT r.room_id, r.room_version, r.snapshot_nid <> 0 AND EXISTS (SELECT 1 FROM membership o WHERE o.room_nid = m.room_nid AND o.is_local AND o.membership = 'join')
FROM membership m JOIN room r USING (room_nid)
WHERE m.user_id = $1 AND m.membership IN ('join', 'invite', 'knock') ORDER BY m.room_nid;

-- name: to_device_delete
-- why: acknowledged by the device; rows that came to light later than the token stay
-- param: user_id text
-- param: device_id text
-- param: up_to_seq bigint
-- param: below_pos xid8
DELETE FROM to_device WHERE user_id = $1 AND device_id = $2 AND seq <= $3 AND pos < $4;

-- name: device_list_introduce
-- why: devices that did not change are told of again, under the number they have
-- param: user_id text
-- param: device_ids text[]
WITH number AS (SELECT coalesce((SELECT stream_id FROM device_list WHERE user_id = $1), 0) AS n)
INSERT INTO device_list_pending (user_id, device_id, stream_id, created_ts)
SELECT $1, d, number.n, 0 FROM number, unnest($2::text[]) AS t(d) ON CONFLICT DO NOTHING;

-- name: guests_out_of_place
-- why: a hundred at a time; the next sweep goes on
-- scan: account the guests alone, by the index that has only them
-- param: room_id text
-- column: room_id text
-- column: user_id text
SELECT r.room_id, a.user_id FROM account a
CROSS JOIN LATERAL (SELECT room_nid FROM membership WHERE user_id = a.user_id AND membership = 'join' OFFSET 0) m
JOIN room r ON r.room_nid = m.room_nid AND ($1::text IS NULL OR r.room_id = $1)
WHERE a.is_guest AND NOT EXISTS (
    SELECT 1 FROM current_state s JOIN event e ON e.event_nid = s.event_nid
    WHERE s.room_nid = m.room_nid AND s.type = 'm.room.guest_access' AND s.state_key = '' AND position('"guest_access":"can_join"'::bytea IN e.json) > 0)
LIMIT 100;

-- name: device_lists_forget
-- why: one page of the table; keys of remote users who share no room with ours; last is empty at the end
-- param: after_user text
-- param: own_server text
-- param: row_limit bigint
-- column: last text
-- column: removed bigint
WITH page AS MATERIALIZED (SELECT user_id FROM device_list WHERE user_id > $1 ORDER BY user_id LIMIT $3),
alone AS MATERIALIZED (
    SELECT p.user_id FROM page p
    WHERE right(p.user_id, length($2) + 1) <> ':' || $2
      AND NOT EXISTS (SELECT 1 FROM membership r WHERE r.user_id = p.user_id AND r.membership = 'join'
                      AND EXISTS (SELECT 1 FROM membership l WHERE l.room_nid = r.room_nid AND l.server = $2 AND l.membership = 'join'))),
lists AS (DELETE FROM device_list d USING alone a WHERE d.user_id = a.user_id RETURNING 1),
keys AS (DELETE FROM device_key k USING alone a WHERE k.user_id = a.user_id RETURNING 1),
cross_keys AS (DELETE FROM cross_signing_key k USING alone a WHERE k.user_id = a.user_id RETURNING 1)
SELECT coalesce((SELECT user_id FROM page ORDER BY user_id DESC LIMIT 1), '') AS last, (SELECT count(*) FROM lists) AS removed;
