/* A PDU, parsed once: the fields that rules look at, next to the JSON as received. Everything borrows from the arena the
 * event was parsed in. Server-Server API "PDUs" and the room version's "Event format". Pure; any thread. */
#ifndef MYELIN_MATRIX_EVENT_H
#define MYELIN_MATRIX_EVENT_H

#include "lib/base/json.h"
#include "lib/matrix/room_version.h"
#include "proto/fault.h"

enum {
    PDU_BYTES_MAX = 65536,
    MATRIX_ID_BYTES_MAX = 255,
    PREV_EVENTS_MAX = 20, /* spec: Server-Server API, "Size limits" and event schema */
    AUTH_EVENTS_MAX = 10,
};

struct event {
    const struct room_version *version;
    struct slice event_id; /* v3+: computed from the reference hash; v1, v2: the field */
    struct slice room_id;  /* v12 create events carry none: then it is derived from event_id */
    struct slice type;
    struct slice state_key; /* absent for message events */
    struct slice sender;
    struct slice redacts; /* from the place the version says; absent if none */
    struct slices prev_events, auth_events;
    int64_t depth;
    int64_t origin_server_ts;
    const struct json *content;       /* always an object */
    const struct json *unsigned_data; /* may be NULL */
    const struct json *json;          /* the whole object */
    struct slice raw;                 /* canonical bytes as signed, without "unsigned"; what is stored and sent to servers */
    bool rejected;                    /* for rules that look at auth events: "if any was rejected" */
};

/* Checks the event format of the version and the size limits. `text` is any JSON form; event->raw is canonical without
 * `unsigned` (and without event_id from v3 on, where it is not part of a PDU). BAD_JSON, TOO_LARGE; *why (optional) is static text.
 */
enum fault event_parse(struct arena *arena, const struct room_version *version, struct slice text, struct event **out,
                       const char **why);

/* The same without the limits on how many prev and auth events there are: history was made before there were any ("the response of
 * backfill MUST NOT be validated on these specific restrictions"). What is stored is parsed so. */
enum fault event_parse_history(struct arena *arena, const struct room_version *version, struct slice text, struct event **out,
                               const char **why);

/* Hashes: "Calculating the content hash", "Calculating the reference hash". 32 bytes in the arena. */
struct slice event_content_hash(struct arena *arena, const struct json *event);
struct slice event_reference_hash(struct arena *arena, const struct room_version *version, const struct json *event);
bool event_content_hash_matches(struct arena *arena, const struct event *event);
struct slice event_id_from_hash(struct arena *arena, const struct room_version *version, struct slice hash);

/* "Redactions" of the version: canonical bytes of the redacted event; keeps signatures and hashes; `unsigned` is dropped. */
struct slice event_redact(struct arena *arena, const struct room_version *version, const struct json *event);
/* The bytes a server signs: the redacted event without signatures and unsigned. */
struct slice event_signing_bytes(struct arena *arena, const struct room_version *version, const struct json *event);

/* Servers that must have signed it: sender's; for v1/v2 also event_id's; restricted joins: join_authorised_via_users_server's;
 * third-party invites: none from the sender ("Validating hashes and signatures on received events"). Each once. An empty name
 * stands for a signer that does not exist: json_signature finds none, and the event is to be dropped. */
size_t event_required_signers(const struct event *event, struct slice out[3]);

/* A new event of this server, up to signing. fields: everything but hashes and signatures. */
struct event_draft {
    struct slice type;
    struct slice state_key; /* absent for message events */
    struct slice sender;
    struct slice content; /* raw JSON object */
    struct slice redacts; /* absent unless m.room.redaction */
    int64_t origin_server_ts;
    /* Versions 1 and 2 only, may be left empty: base64 reference hashes of prev_events and auth_events, in their order. */
    struct slices prev_hashes, auth_hashes;
};
/* Builds the JSON object with hashes and empty signatures: canonical bytes. room_id absent for a v12 create event.
 * Versions 1 and 2: chooses the event_id. Absent when content is not JSON that the version allows. */
struct slice event_build(struct arena *arena, const struct room_version *version, const struct event_draft *draft,
                         struct slice room_id, int64_t depth, struct slices prev_events, struct slices auth_events);
/* Splices {"server":{"key_id":"sig"}} into canonical event bytes (keeps others' signatures). */
struct slice event_add_signature(struct arena *arena, struct slice event_json, struct slice server, struct slice key_id,
                                 struct slice signature_base64);
/* The signature of server by key_id on this object, absent if none; next_key iterates: pass absent first. */
struct slice json_signature(const struct json *object, struct slice server, struct slice key_id);
struct slices json_signature_key_ids(struct arena *arena, const struct json *object, struct slice server); /* ed25519 only */

static inline bool event_is_state(const struct event *event)
{
    return !slice_is_absent(event->state_key);
}
static inline bool event_is(const struct event *event, const char *type)
{
    return slice_eq(event->type, slice_from_cstr(type));
}
bool event_is_state_of(const struct event *event, const char *type, struct slice state_key);

/* The form clients see: event_id, room_id, sender, type, content, origin_server_ts, state_key, redacts (both places for
 * v11 as the spec says), unsigned: `unsigned_json` raw object or absent. Client-Server API "Room event format". */
void event_for_client(struct json_writer *w, const struct event *event, struct slice unsigned_json);

#endif
