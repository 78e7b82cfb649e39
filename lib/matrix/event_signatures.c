/* Signatures on events and other objects: finding them, adding them, and who must have signed an event (spec appendix
 * "Checking for a Signature"; Server-Server API "Validating hashes and signatures on received events"). */
#include "lib/matrix/event.h"

#include "lib/matrix/ids.h"
#include "lib/matrix/json_tree.h"

static const struct json *signatures_of(const struct json *object, struct slice server)
{
    return json_get(json_get_object(object, "signatures"), server);
}

struct slice json_signature(const struct json *object, struct slice server, struct slice key_id)
{
    return json_string(json_get(signatures_of(object, server), key_id));
}

/* "Removes any signing key identifiers with algorithms it doesn't understand." */
struct slices json_signature_key_ids(struct arena *arena, const struct json *object, struct slice server)
{
    const struct json *signatures = signatures_of(object, server);
    if (!json_is(signatures, JSON_OBJECT))
        return (struct slices){0};
    struct slice *ids = arena_new_array(arena, signatures->count, struct slice);
    size_t count = 0;
    json_each (signature, signatures)
        if (signature->type == JSON_STRING && slice_starts_with(signature->key, SLICE("ed25519:")))
            ids[count++] = signature->key;
    return (struct slices){ids, count};
}

struct slice event_add_signature(struct arena *arena, struct slice event_json, struct slice server, struct slice key_id,
                                 struct slice signature_base64)
{
    const struct json *parsed = json_parse(arena, event_json, JSON_LAX, NULL);
    if (!json_is(parsed, JSON_OBJECT))
        return SLICE_ABSENT;
    struct json *event = json_tree_copy(arena, parsed);
    struct json *signatures = json_tree_copy(arena, json_get_object(event, "signatures"));
    struct json *of_server = json_tree_copy(arena, json_get(signatures, server));
    json_tree_put_string(arena, of_server, key_id, signature_base64);
    json_tree_put(arena, signatures, server, of_server);
    json_tree_put(arena, event, SLICE("signatures"), signatures);
    return json_canonical(arena, event, NULL);
}

/* An invite that redeems an m.room.third_party_invite: its sender is the one who invited the address, while the server that
 * sends it may be the invited user's. The authorisation rules then demand the identity server's signature instead. */
static bool is_third_party_invite(const struct event *event)
{
    return event_is(event, "m.room.member") && slice_eq(json_get_string(event->content, "membership"), SLICE("invite")) &&
           json_get_cstr(event->content, "third_party_invite");
}

/* A server that cannot be named is an empty one, whose signature nobody has: the check then fails, as it must. */
static void add_signer(struct slice out[3], size_t *count, struct slice user_or_event_id)
{
    struct slice server = id_server_name(user_or_event_id);
    if (slice_is_absent(server))
        server = SLICE("");
    for (size_t i = 0; i < *count; i++)
        if (slice_eq(out[i], server))
            return;
    out[(*count)++] = server;
}

size_t event_required_signers(const struct event *event, struct slice out[3])
{
    size_t count = 0;
    if (!is_third_party_invite(event))
        add_signer(out, &count, event->sender);
    if (event->version->event_id_format == EVENT_ID_V1)
        add_signer(out, &count, event->event_id);
    /* Authorisation rules of version 8, 4.2: whatever the membership is. */
    const struct json *authoriser = json_get_cstr(event->content, "join_authorised_via_users_server");
    if (event->version->restricted_join && event_is(event, "m.room.member") && authoriser)
        add_signer(out, &count, json_string(authoriser));
    return count;
}

bool event_is_state_of(const struct event *event, const char *type, struct slice state_key)
{
    return event_is_state(event) && event_is(event, type) && slice_eq(event->state_key, state_key);
}
