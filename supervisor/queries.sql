-- The registry (DESIGN §13): one row per live worker of every machine.

-- name: worker_beat
-- why: our children's heartbeats and removal of rows that nobody keeps alive, in one statement; answers with everybody else's workers
-- param: instances bigint[]
-- param: kinds text[]
-- param: endpoints text[]
-- param: publishers text[]
-- param: versions text[]
-- param: draining bigint[]
-- param: queued bigint[]
-- param: running bigint[]
-- param: host text
-- param: gone bigint[]
-- param: removing boolean
-- column: instance bigint
-- column: kind text
-- column: endpoint text
-- column: publisher text
-- column: version text
-- column: draining boolean
-- column: host text
WITH beat AS (
    INSERT INTO worker (instance, kind, endpoint, publisher, version, draining, queued, running, host, heartbeat)
    SELECT u.instance, u.kind, u.endpoint, u.publisher, u.version, u.draining <> 0, u.queued, u.running, $9::text, clock_timestamp()
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[])
        AS u (instance, kind, endpoint, publisher, version, draining, queued, running)
    ON CONFLICT (instance) DO UPDATE SET draining = excluded.draining, queued = excluded.queued, running = excluded.running,
        heartbeat = excluded.heartbeat
), stale AS (
    SELECT w.instance FROM worker w
    WHERE $11::boolean AND w.heartbeat < clock_timestamp() - interval '3 seconds' AND w.instance <> ALL ($1::bigint[])
        OR w.instance = ANY ($10::bigint[])
    FOR UPDATE SKIP LOCKED
), removed AS (
    DELETE FROM worker w USING stale s WHERE w.instance = s.instance
)
SELECT w.instance, w.kind, w.endpoint, w.publisher, w.version, w.draining, w.host
FROM worker w
WHERE w.heartbeat >= clock_timestamp() - interval '3 seconds' AND w.instance <> ALL ($1::bigint[]) AND w.instance <> ALL ($10::bigint[])
ORDER BY w.instance;

-- name: worker_announce
-- why: the supervisors of other machines look at once instead of within their next second
-- param: host text
-- column: told bigint
SELECT count(pg_notify('myelin_workers', $1::text));

-- name: server_claim
-- why: the first start of an installation fixes its name; every later one is told which it is
-- param: name text
-- column: server_name text
-- column: first boolean
WITH fixed AS (
    UPDATE cluster SET server_name = $1::text WHERE server_name = '' AND $1::text <> '' RETURNING server_name
)
SELECT f.server_name, true AS first FROM fixed f UNION ALL SELECT c.server_name, false FROM cluster c WHERE c.server_name <> '';

-- pg_snapshot_xmin is the oldest transaction at work that has a number, in any database of the cluster. Who has none, however long he
-- reads, does not hold it: backend_xmin does not matter here. Ours are ended above the limit: the roles of workers, and where these
-- share our login and SET ROLE, what calls itself a worker. Migrations and psql do not. A bulk
-- write (lib/kit/db.h) has six times as long.

-- name: horizon_holders
-- why: who holds pg_snapshot_xmin back, oldest first: the transactions of all databases that have a number (readers have none)
-- param: roles text[]
-- param: end_after_ms bigint
-- column: pid bigint
-- column: role text
-- column: application text
-- column: state text
-- column: query text
-- column: age_ms bigint
-- column: ended boolean
WITH held AS MATERIALIZED (
    SELECT a.pid, a.usename::text AS role, a.application_name AS application, a.state, left(a.query, 200) AS query,
           (extract(epoch FROM clock_timestamp() - a.xact_start) * 1000)::bigint AS age_ms,
           a.backend_type = 'client backend' AND (a.usename = ANY ($1::text[])
               OR a.usename = session_user AND (a.application_name LIKE 'myelin-%' OR a.application_name = 'myelin slots')) AS is_ours
    FROM pg_stat_activity a
    WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()
    UNION ALL
    SELECT 0, p.owner::text, '', 'prepared', left(p.gid, 200), (extract(epoch FROM clock_timestamp() - p.prepared) * 1000)::bigint, false
    FROM pg_prepared_xacts p
)
SELECT h.pid::bigint AS pid, coalesce(h.role, '') AS role, coalesce(h.application, '') AS application, coalesce(h.state, '') AS state,
       coalesce(h.query, '') AS query, coalesce(h.age_ms, 0) AS age_ms,
       CASE WHEN h.is_ours AND h.age_ms > $2::bigint * CASE WHEN h.application LIKE '% bulk' THEN 6 ELSE 1 END THEN pg_terminate_backend(h.pid) ELSE false END AS ended
FROM held h
ORDER BY h.age_ms DESC NULLS LAST;

-- name: table_sizes
-- why: metrics, once a minute; row_count is what the last vacuum or analyze counted
-- column: table_name text
-- column: row_count bigint
-- column: bytes bigint
SELECT c.relname::text AS table_name, greatest(c.reltuples, 0)::bigint AS row_count, pg_total_relation_size(c.oid) AS bytes
FROM pg_class c
WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind = 'r'
ORDER BY c.relname;
