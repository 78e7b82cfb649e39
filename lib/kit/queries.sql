-- What the kit itself asks the database, in every kind that has one.

-- name: stream_horizon
-- why: every transaction below it has ended (DESIGN §8)
-- column: horizon xid8
SELECT pg_snapshot_xmin(pg_current_snapshot()) AS horizon;

-- name: mark_bulk
-- why: for the length of this transaction; supervisor/queries.sql, horizon_holders
-- column: name text
SELECT set_config('application_name', current_setting('application_name') || ' bulk', true) AS name;

-- name: token_requester
-- why: who an access token stands for
-- param: token_hash bytea
-- column: user_id text
-- column: device_id text
-- column: expires_ts bigint
-- column: is_admin boolean
-- column: is_guest boolean
-- column: is_deactivated boolean
-- column: is_suspended boolean
-- column: appservice_id text
SELECT t.user_id, t.device_id, t.expires_ts, a.is_admin, a.is_guest, a.is_deactivated, a.is_suspended, a.appservice_id
FROM access_token t JOIN account a USING (user_id) WHERE t.token_hash = $1;
