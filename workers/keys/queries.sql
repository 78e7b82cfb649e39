-- Other servers' keys. One row per key; the answer that named it last is kept with it, for vouching.

-- name: server_keys_of
-- why: newest answer first: its keys come before those that it names no more
-- param: server_name text
-- column: key_id text
-- column: public_key bytea
-- column: valid_until_ts bigint
-- column: is_old boolean
-- column: fetched_ts bigint
-- column: answer bytea
SELECT key_id, public_key, valid_until_ts, is_old, fetched_ts, answer FROM server_key
WHERE server_name = $1 ORDER BY fetched_ts DESC, key_id LIMIT 200;

-- name: server_keys_store
-- why: two workers may have asked at the same moment: the newer answer stays
-- param: server_name text
-- param: key_ids text[]
-- param: public_keys bytea[]
-- param: valid_until_ts bigint[]
-- param: old bigint[]
-- param: fetched_ts bigint
-- param: answer bytea
INSERT INTO server_key (server_name, key_id, public_key, valid_until_ts, is_old, fetched_ts, answer)
SELECT $1, k, p, v, o <> 0, $6, $7 FROM unnest($2::text[], $3::bytea[], $4::bigint[], $5::bigint[]) AS n(k, p, v, o) ORDER BY k
ON CONFLICT (server_name, key_id) DO UPDATE SET public_key = excluded.public_key, valid_until_ts = excluded.valid_until_ts,
    is_old = excluded.is_old, fetched_ts = excluded.fetched_ts, answer = excluded.answer
WHERE server_key.fetched_ts <= excluded.fetched_ts;

-- name: server_keys_trim
-- why: no more of a server than are ever read; one that invents keys cannot fill the table
-- param: server_name text
DELETE FROM server_key k USING (
    SELECT key_id FROM server_key WHERE server_name = $1 ORDER BY fetched_ts DESC, key_id OFFSET 200) o
WHERE k.server_name = $1 AND k.key_id = o.key_id;

-- name: server_keys_expire
-- param: before bigint
-- param: row_limit bigint
DELETE FROM server_key k USING (
    SELECT server_name, key_id FROM server_key WHERE fetched_ts < $1 AND valid_until_ts < $1 ORDER BY fetched_ts LIMIT $2 FOR UPDATE SKIP LOCKED) o
WHERE k.server_name = o.server_name AND k.key_id = o.key_id;
