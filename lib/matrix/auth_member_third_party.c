/* Rule 5.4.1 of the authorisation rules: an invitation that redeems an m.room.third_party_invite. The identity server's
 * signature over {mxid, token} is what entitles the invited user; it is verified against the keys in the room's state. */
#include "lib/base/base64.h"
#include "lib/matrix/auth_rules_steps.h"
#include "lib/matrix/ed25519.h"

enum { KEY_BYTES = 32, SIGNATURE_BYTES = 64 };
/* A real invitation carries one or two keys and one signature. Two events of 64 KiB could ask for half a million checks, which
 * is half a minute of a core: past this many we call it forged. */
enum { VERIFICATIONS_MAX = 512 };

struct bytes_list {
    struct slice *at;
    size_t count;
};

static void add_decoded(struct arena *arena, struct bytes_list *list, const struct json *text, size_t size)
{
    struct slice bytes = json_is(text, JSON_STRING) ? base64_decode(arena, text->text) : SLICE_ABSENT;
    if (!slice_is_absent(bytes) && bytes.len == size)
        list->at[list->count++] = bytes;
}

/* 5.4.1.7.1 and 5.4.1.7.2 */
static struct bytes_list public_keys(struct arena *arena, const struct json *content)
{
    const struct json *keys = json_get_array(content, "public_keys");
    struct bytes_list list = {arena_new_array(arena, 1 + (keys ? keys->count : 0), struct slice), 0};
    add_decoded(arena, &list, json_get_cstr(content, "public_key"), KEY_BYTES);
    json_each (key, keys)
        add_decoded(arena, &list, json_get_cstr(key, "public_key"), KEY_BYTES);
    return list;
}

/* "signatures": {server: {"ed25519:id": signature}} */
static struct bytes_list signatures(struct arena *arena, const struct json *of_signed)
{
    const struct json *servers = json_get_object(of_signed, "signatures");
    size_t count = 0;
    json_each (server, servers)
        count += server->count;
    struct bytes_list list = {arena_new_array(arena, count + 1, struct slice), 0};
    json_each (server, servers) {
        if (!json_is(server, JSON_OBJECT))
            continue;
        json_each (signature, server)
            if (slice_starts_with(signature->key, SLICE("ed25519:")))
                add_decoded(arena, &list, signature, SIGNATURE_BYTES);
    }
    return list;
}

/* 5.4.1.7. If any signature in signed matches any public key in the m.room.third_party_invite event, allow. */
static bool any_signature_matches(struct arena *arena, const struct json *of_signed, const struct json *invite_content)
{
    static const char *const not_signed[] = {"signatures", "unsigned", NULL};
    struct slice message = json_canonical(arena, of_signed, not_signed);
    struct bytes_list keys = public_keys(arena, invite_content), given = signatures(arena, of_signed);
    size_t left = VERIFICATIONS_MAX;
    for (size_t k = 0; k < keys.count; k++)
        for (size_t s = 0; s < given.count && left; s++, left--)
            if (ed25519_verify(keys.at[k], given.at[s], message))
                return true;
    return false;
}

enum verdict auth_member_third_party_invite(struct auth_case *judged)
{
    const struct event *event = judged->event;
    const struct json *of_signed = json_get_object(json_get_cstr(event->content, "third_party_invite"), "signed");
    /* 5.4.1.1 */
    if (membership_of(judged->state, event->state_key) == MEMBERSHIP_BAN)
        return reject(judged, "third-party invite: the target is banned");
    /* 5.4.1.2 */
    if (!of_signed)
        return reject(judged, "third-party invite: there is no signed object");
    /* 5.4.1.3 */
    struct slice mxid = json_get_string(of_signed, "mxid"), token = json_get_string(of_signed, "token");
    if (slice_is_absent(mxid) || slice_is_absent(token))
        return reject(judged, "third-party invite: signed has no mxid or no token");
    /* 5.4.1.4 */
    if (!slice_eq(mxid, event->state_key))
        return reject(judged, "third-party invite: the mxid is not the state_key");
    /* 5.4.1.5 */
    const struct event *offer = judged->state->get(judged->state, "m.room.third_party_invite", token);
    if (!offer)
        return reject(judged, "third-party invite: the room has no such token");
    /* 5.4.1.6 */
    if (!slice_eq(event->sender, offer->sender))
        return reject(judged, "third-party invite: the sender is not who offered it");
    /* 5.4.1.7 */
    if (any_signature_matches(judged->arena, of_signed, offer->content))
        return VERDICT_ALLOW;
    /* 5.4.1.8 */
    return reject(judged, "third-party invite: no signature matches a key of the room");
}
