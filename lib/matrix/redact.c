/* What survives a redaction, as one table over the versions' "Redactions" sections. Every server must strip exactly the same,
 * or event ids and signatures stop matching: a row here is never changed, only followed by one for a later version. */
#include "lib/matrix/redact.h"

#include "lib/matrix/json_tree.h"

/* A key is kept from version rules `since` up to and including `until`. */
struct kept_key {
    const char *type; /* of the event; unused for top-level keys */
    const char *key;
    enum redaction_rules since, until;
};

#define ALWAYS REDACT_V1, REDACT_V11

static const struct kept_key top_level[] = {
    {NULL, "event_id", ALWAYS},
    {NULL, "type", ALWAYS},
    {NULL, "room_id", ALWAYS},
    {NULL, "sender", ALWAYS},
    {NULL, "state_key", ALWAYS},
    {NULL, "content", ALWAYS},
    {NULL, "hashes", ALWAYS},
    {NULL, "signatures", ALWAYS},
    {NULL, "depth", ALWAYS},
    {NULL, "prev_events", ALWAYS},
    {NULL, "auth_events", ALWAYS},
    {NULL, "origin_server_ts", ALWAYS},
    {NULL, "prev_state", REDACT_V1, REDACT_V9},
    {NULL, "origin", REDACT_V1, REDACT_V9},
    {NULL, "membership", REDACT_V1, REDACT_V9},
};

static const struct kept_key in_content[] = {
    {"m.room.member", "membership", ALWAYS},
    {"m.room.member", "join_authorised_via_users_server", REDACT_V9, REDACT_V11},
    {"m.room.member", "third_party_invite", REDACT_V11, REDACT_V11}, /* of which only `signed`: see below */
    {"m.room.create", "creator", REDACT_V1, REDACT_V9},              /* later all of it: see below */
    {"m.room.join_rules", "join_rule", ALWAYS},
    {"m.room.join_rules", "allow", REDACT_V8, REDACT_V11},
    {"m.room.power_levels", "ban", ALWAYS},
    {"m.room.power_levels", "events", ALWAYS},
    {"m.room.power_levels", "events_default", ALWAYS},
    {"m.room.power_levels", "invite", REDACT_V11, REDACT_V11},
    {"m.room.power_levels", "kick", ALWAYS},
    {"m.room.power_levels", "redact", ALWAYS},
    {"m.room.power_levels", "state_default", ALWAYS},
    {"m.room.power_levels", "users", ALWAYS},
    {"m.room.power_levels", "users_default", ALWAYS},
    {"m.room.aliases", "aliases", REDACT_V1, REDACT_V1},
    {"m.room.history_visibility", "history_visibility", ALWAYS},
    {"m.room.redaction", "redacts", REDACT_V11, REDACT_V11},
};

struct redaction {
    enum redaction_rules rules;
    struct slice type;
};

static bool row_keeps(const struct kept_key *row, const struct redaction *redaction, struct slice key)
{
    return redaction->rules >= row->since && redaction->rules <= row->until && slice_eq(key, slice_from_cstr(row->key));
}

static bool keep_top_level(const struct json *member, const void *context)
{
    for (size_t i = 0; i < sizeof top_level / sizeof top_level[0]; i++)
        if (row_keeps(&top_level[i], context, member->key))
            return true;
    return false;
}

static bool keep_in_content(const struct json *member, const void *context)
{
    const struct redaction *redaction = context;
    for (size_t i = 0; i < sizeof in_content / sizeof in_content[0]; i++)
        if (slice_eq(redaction->type, slice_from_cstr(in_content[i].type)) && row_keeps(&in_content[i], redaction, member->key))
            return true;
    return false;
}

static bool keep_signed(const struct json *member, const void *context)
{
    (void)context;
    return slice_eq(member->key, SLICE("signed"));
}

/* Version 11 "allows the `signed` key of the `third_party_invite` key". An object without one stays behind empty; what is
 * not even an object goes: so do Synapse and those who follow it. */
static bool keep_in_member(const struct json *member, const void *context)
{
    if (slice_eq(member->key, SLICE("third_party_invite")) && member->type != JSON_OBJECT)
        return false;
    return keep_in_content(member, context);
}

static struct json *redact_content(struct arena *arena, const struct redaction *redaction, const struct json *content)
{
    if (!slice_eq(redaction->type, SLICE("m.room.member")))
        return json_tree_filter(arena, content, keep_in_content, redaction);
    struct json *kept = json_tree_filter(arena, content, keep_in_member, redaction);
    const struct json *invite = json_get_object(kept, "third_party_invite");
    if (invite)
        json_tree_put(arena, kept, invite->key, json_tree_filter(arena, invite, keep_signed, NULL));
    return kept;
}

struct json *redact_tree(struct arena *arena, const struct room_version *version, const struct json *event)
{
    struct redaction redaction = {.rules = version->redaction_rules, .type = json_get_string(event, "type")};
    struct json *kept = json_tree_filter(arena, event, keep_top_level, &redaction);
    const struct json *content = json_get_cstr(event, "content");
    bool whole_content = redaction.rules >= REDACT_V11 && slice_eq(redaction.type, SLICE("m.room.create"));
    if (content && !whole_content)
        json_tree_put(arena, kept, content->key, redact_content(arena, &redaction, content));
    return kept;
}
