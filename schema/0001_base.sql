-- The base of the store. Conventions (DESIGN §7, §8):
--   *_nid           interned bigint id, inside only; text ids at the edge
--   pos             the transaction that wrote the row: its place in every stream. "new since H0" is pos >= H0 and pos < H1
--   COLLATE "C"     all text keys; the cluster is created with it and refused otherwise
-- Each table has one writing kind: schema/OWNERS.

-- ---------------------------------------------------------------- supervisor
CREATE TABLE worker (                       -- the registry: who is alive
    instance    bigint PRIMARY KEY,
    kind        text NOT NULL,
    endpoint    text NOT NULL,
    publisher   text NOT NULL DEFAULT '',
    version     text NOT NULL,
    host        text NOT NULL,
    draining    boolean NOT NULL DEFAULT false,
    queued      bigint NOT NULL DEFAULT 0,
    running     bigint NOT NULL DEFAULT 0,
    heartbeat   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE cluster (                      -- one row: facts of the whole installation
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    server_name text NOT NULL DEFAULT '',   -- set at first start, refused when it changes
    epoch       bigint NOT NULL DEFAULT 1,  -- grows with a restore into another cluster: stream positions start over
    home        text NOT NULL DEFAULT '',   -- where this is: "<system identifier>/<oid of this table>"; lib/kit/migrate_epoch.c
    created_ts  bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint
);
INSERT INTO cluster DEFAULT VALUES;

-- ---------------------------------------------------------------- accounts
CREATE TABLE account (                      -- a user of ours
    user_id         text COLLATE "C" PRIMARY KEY,   -- "@local:server"
    password_hash   text,                   -- libsodium argon2id or imported bcrypt; NULL: no password login
    created_ts      bigint NOT NULL,
    is_admin        boolean NOT NULL DEFAULT false,
    is_guest        boolean NOT NULL DEFAULT false,
    is_deactivated  boolean NOT NULL DEFAULT false,
    is_suspended    boolean NOT NULL DEFAULT false,
    appservice_id   text
);
CREATE INDEX account_guest ON account (user_id) WHERE is_guest;
CREATE TABLE profile (                      -- one row per field, displayname and avatar_url among them
    user_id         text COLLATE "C" NOT NULL REFERENCES account ON DELETE CASCADE,
    field           text COLLATE "C" NOT NULL,
    value           bytea NOT NULL,         -- JSON
    PRIMARY KEY (user_id, field)
);
CREATE TABLE device (
    user_id         text COLLATE "C" NOT NULL REFERENCES account ON DELETE CASCADE,
    device_id       text COLLATE "C" NOT NULL,
    display_name    text,
    created_ts      bigint NOT NULL,
    last_seen_ts    bigint NOT NULL DEFAULT 0,
    last_seen_ip    text NOT NULL DEFAULT '',
    user_agent      text NOT NULL DEFAULT '',
    PRIMARY KEY (user_id, device_id)
);
CREATE TABLE access_token (
    token_hash      bytea PRIMARY KEY,      -- SHA-256 of the token
    user_id         text COLLATE "C" NOT NULL REFERENCES account ON DELETE CASCADE,
    device_id       text COLLATE "C",
    expires_ts      bigint,                 -- NULL: never
    created_ts      bigint NOT NULL
);
CREATE INDEX access_token_device ON access_token (user_id, device_id);
CREATE TABLE refresh_token (
    token_hash      bytea PRIMARY KEY,
    user_id         text COLLATE "C" NOT NULL REFERENCES account ON DELETE CASCADE,
    device_id       text COLLATE "C" NOT NULL,
    created_ts      bigint NOT NULL
);
CREATE INDEX refresh_token_device ON refresh_token (user_id, device_id);
CREATE TABLE account_data (
    user_id         text COLLATE "C" NOT NULL,
    room_id         text COLLATE "C" NOT NULL DEFAULT '',   -- '' is global
    type            text COLLATE "C" NOT NULL,
    content         bytea NOT NULL,         -- JSON object; {} stands for deleted
    pos             xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (user_id, room_id, type)
);
CREATE INDEX account_data_pos ON account_data (user_id, pos);
CREATE TABLE filter (
    user_id         text COLLATE "C" NOT NULL,
    filter_id       bigint NOT NULL,        -- dense per user
    definition      bytea NOT NULL,
    definition_hash bytea NOT NULL,         -- equal filters share an id
    PRIMARY KEY (user_id, filter_id),
    UNIQUE (user_id, definition_hash)
);
CREATE TABLE device_key (                   -- identity keys of devices: ours and, cached, of remote users
    user_id         text COLLATE "C" NOT NULL,
    device_id       text COLLATE "C" NOT NULL,
    keys            bytea NOT NULL,         -- the signed JSON object as uploaded
    PRIMARY KEY (user_id, device_id)
);
CREATE TABLE one_time_key (
    user_id         text COLLATE "C" NOT NULL,
    device_id       text COLLATE "C" NOT NULL,
    algorithm       text COLLATE "C" NOT NULL,
    key_id          text COLLATE "C" NOT NULL,
    key             bytea NOT NULL,
    added           bigint GENERATED ALWAYS AS IDENTITY,    -- claimed oldest first
    PRIMARY KEY (user_id, device_id, algorithm, key_id)
);
CREATE INDEX one_time_key_added ON one_time_key (user_id, device_id, algorithm, added);
CREATE TABLE fallback_key (
    user_id         text COLLATE "C" NOT NULL,
    device_id       text COLLATE "C" NOT NULL,
    algorithm       text COLLATE "C" NOT NULL,
    key_id          text COLLATE "C" NOT NULL,
    key             bytea NOT NULL,
    used            boolean NOT NULL DEFAULT false,
    PRIMARY KEY (user_id, device_id, algorithm)
);
CREATE TABLE cross_signing_key (
    user_id         text COLLATE "C" NOT NULL,
    usage           text COLLATE "C" NOT NULL,              -- master, self_signing, user_signing
    key             bytea NOT NULL,
    PRIMARY KEY (user_id, usage)
);
CREATE TABLE key_signature (                -- made by users on devices and master keys
    signer_user_id  text COLLATE "C" NOT NULL,
    signer_key_id   text COLLATE "C" NOT NULL,
    target_user_id  text COLLATE "C" NOT NULL,
    target_id       text COLLATE "C" NOT NULL,              -- device id or public key
    signature       text NOT NULL,
    PRIMARY KEY (target_user_id, target_id, signer_user_id, signer_key_id)
);
CREATE TABLE device_list (                  -- one row per user whose devices we follow: when they last changed
    user_id         text COLLATE "C" PRIMARY KEY,
    stream_id       bigint NOT NULL DEFAULT 1,              -- of m.device_list_update, for our users
    is_stale        boolean NOT NULL DEFAULT false,         -- remote: something changed since it was cached; ask again before use
    cached_pos      xid8,                   -- remote: when device_key and cross_signing_key were filled; NULL: never
    pos             xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX device_list_pos ON device_list (pos);
CREATE TABLE device_list_pending (          -- changes of our users that other servers were not told of yet: an outbox
    user_id         text COLLATE "C" NOT NULL,
    device_id       text COLLATE "C" NOT NULL,              -- '' stands for the cross-signing keys
    stream_id       bigint NOT NULL,        -- of m.device_list_update
    created_ts      bigint NOT NULL,
    PRIMARY KEY (user_id, device_id)
);
CREATE INDEX device_list_pending_ts ON device_list_pending (created_ts);
CREATE TABLE to_device (
    user_id         text COLLATE "C" NOT NULL,
    device_id       text COLLATE "C" NOT NULL,
    seq             bigint GENERATED ALWAYS AS IDENTITY,
    event           bytea NOT NULL,         -- {"type":…,"sender":…,"content":…}
    pos             xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (user_id, device_id, seq)
);
CREATE TABLE to_device_seen (               -- transaction ids of sendToDevice and message ids of m.direct_to_device
    sender          text COLLATE "C" NOT NULL,
    txn_id          text COLLATE "C" NOT NULL,
    seen_ts         bigint NOT NULL,
    PRIMARY KEY (sender, txn_id)
);
CREATE INDEX to_device_seen_ts ON to_device_seen (seen_ts);
CREATE TABLE registration_nonce (           -- of the shared-secret route
    nonce           text COLLATE "C" PRIMARY KEY,
    created_ts      bigint NOT NULL
);
CREATE INDEX registration_nonce_ts ON registration_nonce (created_ts);
CREATE TABLE ui_auth_session (              -- user-interactive authentication: completed stages
    session_id      text COLLATE "C" PRIMARY KEY,           -- its hash, as with tokens
    stages          text NOT NULL DEFAULT '',
    operation       text NOT NULL,          -- "handler user path": a session is good for one endpoint of one user
    request         bytea NOT NULL,         -- the original request without "auth", which later stages may leave out: encrypted
    created_ts      bigint NOT NULL
);
CREATE INDEX ui_auth_session_ts ON ui_auth_session (created_ts);

-- ---------------------------------------------------------------- events: rooms
CREATE SEQUENCE nid_block INCREMENT 1000;   -- each events process takes blocks and hands event, room and snapshot nids out of memory

CREATE TABLE room (
    room_nid        bigint PRIMARY KEY,
    room_id         text COLLATE "C" NOT NULL UNIQUE,
    room_version    text COLLATE "C" NOT NULL,
    version         bigint NOT NULL DEFAULT 0,              -- grows with each write batch: the only arbiter between writers
    extremities     bigint[] NOT NULL DEFAULT '{}',         -- event nids of the forward extremities
    depth           bigint NOT NULL DEFAULT 0,              -- of the deepest extremity
    head_pos        bigint NOT NULL DEFAULT 0,              -- last room_pos given upwards
    tail_pos        bigint NOT NULL DEFAULT 0,              -- last room_pos given downwards (≤ 0): back-filled history
    snapshot_nid    bigint NOT NULL DEFAULT 0,              -- the resolved current state; 0: we know no state (invites only)
    is_public       boolean NOT NULL DEFAULT false          -- in the published directory
);
CREATE TABLE state_key (                    -- interned (type, state_key), shared by all rooms
    state_key_nid   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type            text COLLATE "C" NOT NULL,
    state_key       text COLLATE "C" NOT NULL,
    UNIQUE (type, state_key)
);
CREATE TABLE event (
    event_nid       bigint PRIMARY KEY,
    event_id        text COLLATE "C" NOT NULL UNIQUE,
    room_nid        bigint NOT NULL,
    room_pos        bigint,                 -- NULL: outlier, has no place in the timeline
    pos             xid8 NOT NULL DEFAULT pg_current_xact_id(),
    depth           bigint NOT NULL,
    type            text COLLATE "C" NOT NULL,
    state_key       text COLLATE "C",       -- NULL: message event
    sender          text COLLATE "C" NOT NULL,
    origin_server_ts bigint NOT NULL,
    flags           integer NOT NULL,       -- enum event_flag in lib/store/event_row.h
    snapshot_nid    bigint NOT NULL DEFAULT 0,              -- the state before the event; 0: unknown (outliers)
    prev_nids       bigint[] NOT NULL,      -- known ones; missing ones are rows of backward_edge
    auth_nids       bigint[] NOT NULL,
    redacted_by     bigint,                 -- event nid of the redaction that applies
    replaces_nid    bigint,                 -- state events: the event of this (type, state_key) in the state before; NULL: none or unknown
    notify_total    bigint NOT NULL DEFAULT 0,              -- running count of notifying events of the room up to this one
    json            bytea NOT NULL          -- canonical PDU as signed, without unsigned
);
CREATE UNIQUE INDEX event_room_pos ON event (room_nid, room_pos) WHERE room_pos IS NOT NULL;
CREATE INDEX event_room_stream ON event (room_nid, pos) WHERE room_pos IS NOT NULL;
CREATE INDEX event_local_pos ON event (pos) WHERE flags & 16 <> 0;      -- EVENT_LOCAL: what the sender catches up from
ALTER TABLE event ALTER COLUMN json SET COMPRESSION lz4;
CREATE TABLE event_destination (            -- servers beyond the room's members that must get a local event: who was kicked, invited…
    event_nid       bigint NOT NULL,
    server          text COLLATE "C" NOT NULL,
    PRIMARY KEY (event_nid, server)
);
CREATE TABLE backward_edge (                -- prev events that we do not have: where history can be fetched
    room_nid        bigint NOT NULL,
    event_id        text COLLATE "C" NOT NULL,
    child_nid       bigint NOT NULL,
    PRIMARY KEY (room_nid, event_id, child_nid)
);
CREATE INDEX backward_edge_child ON backward_edge (child_nid);
CREATE TABLE redaction (                    -- redactions whose target may come later
    redacts         text COLLATE "C" NOT NULL,
    event_nid       bigint NOT NULL,
    room_nid        bigint NOT NULL,
    PRIMARY KEY (redacts, event_nid)
);
CREATE TABLE state_snapshot (               -- layered deltas: lib/store/README.md
    snapshot_nid    bigint PRIMARY KEY,
    room_nid        bigint NOT NULL,
    base_nid        bigint NOT NULL,        -- 0: none, the delta is the whole
    depth           integer NOT NULL,       -- layers below this one
    entries         bigint NOT NULL,        -- size of the whole state
    delta           bytea NOT NULL          -- sorted varint pairs state_key_nid → event_nid (0: removed)
);
CREATE INDEX state_snapshot_room ON state_snapshot (room_nid);
CREATE TABLE state_reset (                  -- resolutions that lost members or power: what they were made from, for repair
    room_nid        bigint NOT NULL,
    event_nid       bigint NOT NULL,        -- the event that was being received
    found_ts        bigint NOT NULL,
    inputs          bytea[] NOT NULL,       -- of each side: what the others did not have, as a delta
    settled         bytea NOT NULL,         -- what came of it
    least_joined    bigint NOT NULL,        -- joined members among the disputed entries of the input with the fewest
    left_joined     bigint NOT NULL,
    power_lost      boolean NOT NULL,
    PRIMARY KEY (room_nid, event_nid)
);
CREATE TABLE current_state (                -- room.snapshot_nid as rows
    room_nid        bigint NOT NULL,
    type            text COLLATE "C" NOT NULL,
    state_key       text COLLATE "C" NOT NULL,
    event_nid       bigint,                 -- NULL: removed by a resolution
    pos             xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (room_nid, type, state_key)
);
CREATE INDEX current_state_pos ON current_state (room_nid, pos);
CREATE TABLE membership (                   -- current membership of everyone, local and remote; also of rooms we only have an invite of
    room_nid        bigint NOT NULL,
    user_id         text COLLATE "C" NOT NULL,
    server          text COLLATE "C" NOT NULL,
    membership      text COLLATE "C" NOT NULL,              -- join, invite, knock, leave, ban
    event_nid       bigint NOT NULL,
    is_local        boolean NOT NULL,
    is_forgotten    boolean NOT NULL DEFAULT false,
    stripped_state  bytea,                  -- JSON array: of invites and knocks
    displayname     text,
    avatar_url      text,
    since_pos       bigint NOT NULL DEFAULT 0,              -- room_pos of the event
    pos             xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (room_nid, user_id)
);
CREATE INDEX membership_user ON membership (user_id, membership);
CREATE INDEX membership_user_pos ON membership (user_id, pos);
CREATE INDEX membership_server ON membership (room_nid, server) WHERE membership = 'join';
CREATE INDEX membership_by_server ON membership (server, room_nid) WHERE membership = 'join';
CREATE TABLE event_txn (                    -- client transaction ids: idempotence of sends
    user_id         text COLLATE "C" NOT NULL,
    device_id       text COLLATE "C" NOT NULL,
    room_nid        bigint NOT NULL,
    scope           text COLLATE "C" NOT NULL,              -- what else tells one request path from another: "send m.room.message"
    txn_id          text COLLATE "C" NOT NULL,
    event_nid       bigint NOT NULL,
    created_ts      bigint NOT NULL,
    PRIMARY KEY (user_id, device_id, room_nid, scope, txn_id)
);
CREATE INDEX event_txn_event ON event_txn (event_nid);
CREATE INDEX event_txn_created ON event_txn (created_ts);

-- ---------------------------------------------------------------- rooms: directory
CREATE TABLE room_alias (
    alias           text COLLATE "C" PRIMARY KEY,
    room_id         text COLLATE "C" NOT NULL,
    creator         text COLLATE "C" NOT NULL,
    created_ts      bigint NOT NULL
);
CREATE INDEX room_alias_room ON room_alias (room_id);
CREATE TABLE published_room (
    room_id         text COLLATE "C" PRIMARY KEY,
    published_ts    bigint NOT NULL
);

-- ---------------------------------------------------------------- sync
CREATE TABLE receipt (
    room_id         text COLLATE "C" NOT NULL,
    user_id         text COLLATE "C" NOT NULL,
    receipt_type    text COLLATE "C" NOT NULL,              -- m.read, m.read.private, m.fully_read is account data
    thread_id       text COLLATE "C" NOT NULL DEFAULT '',   -- '' unthreaded
    event_id        text COLLATE "C" NOT NULL,
    room_pos        bigint NOT NULL DEFAULT 0,              -- of event_id when known: what counts are computed from
    data            bytea NOT NULL,         -- {"ts":…}
    pos             xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (room_id, user_id, receipt_type, thread_id)
);
CREATE INDEX receipt_pos ON receipt (room_id, pos);

-- ---------------------------------------------------------------- federation
CREATE TABLE received_transaction (
    origin          text COLLATE "C" NOT NULL,
    txn_id          text COLLATE "C" NOT NULL,
    answer          bytea NOT NULL,
    received_ts     bigint NOT NULL,
    PRIMARY KEY (origin, txn_id)
);
CREATE INDEX received_transaction_ts ON received_transaction (received_ts);

-- ---------------------------------------------------------------- keys
CREATE TABLE server_key (
    server_name     text COLLATE "C" NOT NULL,
    key_id          text COLLATE "C" NOT NULL,
    public_key      bytea NOT NULL,         -- 32 bytes
    valid_until_ts  bigint NOT NULL,        -- Unix ms; for old keys their expired_ts
    is_old          boolean NOT NULL,       -- from old_verify_keys: good for events before valid_until_ts only
    fetched_ts      bigint NOT NULL,
    answer          bytea NOT NULL,         -- the server's signed answer, for vouching as a notary
    PRIMARY KEY (server_name, key_id)
);
CREATE INDEX server_key_fetched ON server_key (fetched_ts);

-- ---------------------------------------------------------------- sender
CREATE TABLE sender_slot (                  -- 64 rows at most: how far each slot has handed local events to its destinations
    slot            integer PRIMARY KEY,
    owner           bigint NOT NULL DEFAULT 0,              -- the worker (instance) that took it last: fences off one that lost it unawares
    distributed_pos xid8 NOT NULL           -- each local event below it was delivered, or its destination has owed_pos
);
CREATE TABLE destination (                  -- servers that fail or are owed something; the row goes when all is well
    server          text COLLATE "C" PRIMARY KEY,
    slot            integer NOT NULL,
    owed_pos        xid8,                   -- local events from it on are still owed (back-off); NULL: none
    failing_since_ts bigint NOT NULL DEFAULT 0,
    retry_ts        bigint NOT NULL DEFAULT 0,              -- not before; 0 with a back-off: it talked to us, try now
    backoff_ms      bigint NOT NULL DEFAULT 0
);
CREATE INDEX destination_slot ON destination (slot);
CREATE INDEX destination_woken ON destination (slot) WHERE retry_ts = 0 AND backoff_ms > 0;
CREATE TABLE outgoing_edu (
    edu_nid         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    server          text COLLATE "C" NOT NULL,
    slot            integer NOT NULL,
    priority        integer NOT NULL,       -- enum edu_priority in workers/sender/edu_queue.h: lowest first
    type            text COLLATE "C" NOT NULL,
    coalesce_key    text COLLATE "C",       -- a newer one replaces an unsent older one
    content         bytea NOT NULL,
    created_ts      bigint NOT NULL
);
CREATE INDEX outgoing_edu_server ON outgoing_edu (server, priority, edu_nid);
CREATE INDEX outgoing_edu_slot ON outgoing_edu (slot, server);
CREATE INDEX outgoing_edu_created ON outgoing_edu (created_ts);
CREATE UNIQUE INDEX outgoing_edu_coalesce ON outgoing_edu (server, type, coalesce_key) WHERE coalesce_key IS NOT NULL;
CREATE INDEX event_destination_server ON event_destination (server, event_nid);  -- what a server is owed: workers/sender/queries.sql

-- ---------------------------------------------------------------- views (read by every kind)
CREATE VIEW event_full AS                   -- struct event_row of lib/store/event_row.h
    SELECT e.event_nid, e.room_nid, e.room_pos, e.pos, e.depth, e.origin_server_ts, e.snapshot_nid, e.redacted_by, e.replaces_nid,
           e.flags::bigint AS flags, e.event_id, e.type, e.state_key, e.sender, e.json, e.prev_nids, e.auth_nids,
           r.room_id, r.room_version
    FROM event e JOIN room r USING (room_nid);

-- ---------------------------------------------------------------- guards
-- Ends the transaction as a lost race (SQLSTATE 40001), for statements like: SELECT conflict_unless(EXISTS (…updated row…)).
CREATE FUNCTION conflict_unless(held boolean) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT coalesce(held, false) THEN
        RAISE EXCEPTION 'lost a race' USING ERRCODE = '40001';
    END IF;
    RETURN true;
END $$;
