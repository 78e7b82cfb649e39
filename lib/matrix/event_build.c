/* New events of this server: Server-Server API "Adding hashes and signatures to outgoing events", up to the signature, which
 * is the signing worker's. */
#include "lib/matrix/event.h"

#include "lib/base/base64.h"
#include "lib/matrix/ids.h"
#include "lib/matrix/json_tree.h"

enum { V1_ID_HASH_BYTES = 18 };

static struct slice hash_at(struct slices hashes, size_t index)
{
    return index < hashes.len ? hashes.at[index] : SLICE_ABSENT;
}

/* Versions 1 and 2 want [event id, {"sha256": reference hash}]. Nobody checks these hashes, so one we do not have is left out. */
static void put_references(struct json_writer *w, const struct room_version *version, const char *key, struct slices ids,
                           struct slices hashes)
{
    json_put_array(w, key);
    for (size_t i = 0; i < ids.len; i++) {
        if (version->event_id_format != EVENT_ID_V1) {
            json_add_string(w, ids.at[i]);
            continue;
        }
        json_begin_array(w);
        json_add_string(w, ids.at[i]);
        json_begin_object(w);
        json_put_string(w, "sha256", hash_at(hashes, i));
        json_end_object(w);
        json_end_array(w);
    }
    json_end_array(w);
}

/* A redaction's target goes where the version wants it, whatever the client wrote there. */
static struct slice content_of(struct arena *arena, const struct room_version *version, const struct event_draft *draft)
{
    if (slice_is_absent(draft->redacts) || !version->redacts_in_content)
        return draft->content;
    struct json *content = json_tree_copy(arena, json_parse(arena, draft->content, JSON_LAX, NULL));
    json_tree_put_string(arena, content, SLICE("redacts"), draft->redacts);
    return json_canonical(arena, content, NULL);
}

/* Versions 1 and 2: "$opaque_id:domain". A hash of all the rest serves as the opaque part: unique without a random source. */
static void put_v1_id(struct arena *arena, struct json *event, struct slice sender)
{
    struct slice hash = slice_sub(event_content_hash(arena, event), 0, V1_ID_HASH_BYTES);
    struct slice parts[] = {SLICE("$"), base64_encode_url(arena, hash), SLICE(":"), id_server_name(sender)};
    json_tree_put_string(arena, event, SLICE("event_id"), arena_concat(arena, parts, 4));
}

static void put_content_hash(struct arena *arena, struct json *event)
{
    struct json *hashes = json_tree_copy(arena, NULL);
    json_tree_put_string(arena, hashes, SLICE("sha256"), base64_encode(arena, event_content_hash(arena, event)));
    json_tree_put(arena, event, SLICE("hashes"), hashes);
}

struct slice event_build(struct arena *arena, const struct room_version *version, const struct event_draft *draft,
                         struct slice room_id, int64_t depth, struct slices prev_events, struct slices auth_events)
{
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    put_references(&w, version, "auth_events", auth_events, draft->auth_hashes);
    json_put_raw(&w, "content", content_of(arena, version, draft));
    json_put_i64(&w, "depth", depth);
    json_put_i64(&w, "origin_server_ts", draft->origin_server_ts);
    put_references(&w, version, "prev_events", prev_events, draft->prev_hashes);
    if (!version->redacts_in_content)
        json_put_string(&w, "redacts", draft->redacts);
    json_put_string(&w, "room_id", room_id);
    json_put_string(&w, "sender", draft->sender);
    json_put_string(&w, "state_key", draft->state_key);
    json_put_string(&w, "type", draft->type);
    json_end_object(&w);
    struct json *event = json_parse(arena, json_done(&w), version->strict_canonical_json ? JSON_CANONICAL : JSON_LAX, NULL);
    if (!event)
        return SLICE_ABSENT;
    event = json_tree_copy(arena, event);
    if (version->event_id_format == EVENT_ID_V1)
        put_v1_id(arena, event, draft->sender);
    put_content_hash(arena, event);
    json_tree_put(arena, event, SLICE("signatures"),
                  json_tree_copy(arena, NULL)); /* a PDU has the member; whoever signs fills it */
    return json_canonical(arena, event, NULL);
}
