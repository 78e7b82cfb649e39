/* Which events an event needs to be authorised (Server-Server API "Auth events selection"), and the authorisation rules that
 * look at the auth events an event names: rules 2 and 3 of version 12, rule 2 before. They depend on nothing but the events
 * themselves, so an event passes them once, when it arrives; state resolution does not ask again. */
#include "lib/matrix/auth_rules.h"

static void need(struct state_need *needs, size_t *count, const char *type, struct slice state_key)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp(needs[i].type, type) == 0 && slice_eq(needs[i].state_key, state_key))
            return;
    needs[(*count)++] = (struct state_need){type, state_key};
}

static void need_member(struct state_need *needs, size_t *count, struct slice user_id)
{
    if (!slice_is_absent(user_id))
        need(needs, count, "m.room.member", user_id);
}

/* "If type is m.room.member" */
static void need_for_member(const struct room_version *version, struct slice target, const struct json *content,
                            struct state_need *needs, size_t *count)
{
    struct slice membership = json_get_string(content, "membership");
    bool is_join = slice_eq(membership, SLICE("join")), is_invite = slice_eq(membership, SLICE("invite"));

    need_member(needs, count, target);
    if (is_join || is_invite || slice_eq(membership, SLICE("knock")))
        need(needs, count, "m.room.join_rules", SLICE(""));
    struct slice token = json_string(json_path(content, "third_party_invite.signed.token"));
    if (is_invite && !slice_is_absent(token))
        need(needs, count, "m.room.third_party_invite", token);
    if (is_join && version->restricted_join)
        need_member(needs, count, json_get_string(content, "join_authorised_via_users_server"));
}

size_t auth_needs_of_draft(const struct room_version *version, struct slice type, struct slice state_key, struct slice sender,
                           const struct json *content, struct state_need needs[STATE_NEEDS_MAX])
{
    size_t count = 0;
    if (slice_eq(type, SLICE("m.room.create")))
        return 0;
    if (!version->room_id_is_create_hash)
        need(needs, &count, "m.room.create", SLICE(""));
    need(needs, &count, "m.room.power_levels", SLICE(""));
    need_member(needs, &count, sender);
    if (slice_eq(type, SLICE("m.room.member")))
        need_for_member(version, state_key, content, needs, &count);
    return count;
}

size_t auth_needs(const struct event *event, struct state_need needs[STATE_NEEDS_MAX])
{
    return auth_needs_of_draft(event->version, event->type, event->state_key, event->sender, event->content, needs);
}

static enum fault rejected(const char **why, const char *text)
{
    if (why)
        *why = text;
    return FAULT_REJECTED;
}

static bool is_needed(const struct event *entry, const struct state_need *needs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (event_is_state_of(entry, needs[i].type, needs[i].state_key))
            return true;
    return false;
}

/* Entries are few (each pair at most once, STATE_NEEDS_MAX pairs), but the list is the sender's: once the entries are known
 * to be needed, more of them than needs means that a pair repeats, and there is nothing left to compare at length. */
static bool has_duplicate_pairs(const struct event *const *auth, size_t count, size_t need_count)
{
    if (count > need_count)
        return true;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (slice_eq(auth[i]->type, auth[j]->type) && slice_eq(auth[i]->state_key, auth[j]->state_key))
                return true;
    return false;
}

enum fault auth_check_auth_events(const struct event *event, const struct event *const *auth, size_t count,
                                  struct slice create_room_id, const char **why)
{
    struct state_need needs[STATE_NEEDS_MAX];
    size_t need_count = auth_needs(event, needs);

    /* 1. The create event is judged by itself: rule 1 allows or rejects before its auth_events would be looked at. */
    if (event_is(event, "m.room.create"))
        return FAULT_OK;
    /* 2 (version 12): the room id is that of an accepted create event. */
    if (event->version->room_id_is_create_hash && (slice_is_absent(create_room_id) || !slice_eq(event->room_id, create_room_id)))
        return rejected(why, "the room_id is not that of an accepted m.room.create");

    /* Not a rule of the page: without all of the entries none of the rules can be applied. */
    if (count != event->auth_events.len)
        return rejected(why, "auth_events: an event is missing");
    bool has_create = false;
    for (size_t i = 0; i < count; i++) {
        if (!auth[i])
            return rejected(why, "auth_events: an event is missing");
        has_create = has_create || event_is_state_of(auth[i], "m.room.create", SLICE(""));
    }
    /* 3.2. Before 3.1, which then has few entries to compare. */
    for (size_t i = 0; i < count; i++)
        if (!is_needed(auth[i], needs, need_count))
            return rejected(why, "auth_events: an entry is not among those the selection names");
    /* 3.1 */
    if (has_duplicate_pairs(auth, count, need_count))
        return rejected(why, "auth_events: two entries of the same type and state_key");
    /* 3.3 */
    for (size_t i = 0; i < count; i++)
        if (auth[i]->rejected)
            return rejected(why, "auth_events: an entry was rejected");
    /* 2.4 of versions 1 to 11 */
    if (!event->version->room_id_is_create_hash && !has_create)
        return rejected(why, "auth_events: there is no m.room.create");
    /* 3.5 */
    for (size_t i = 0; i < count; i++)
        if (!slice_eq(auth[i]->room_id, event->room_id))
            return rejected(why, "auth_events: an entry is of another room");
    return FAULT_OK;
}
