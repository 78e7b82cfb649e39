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
