/* The authorisation rules on the state ("Authorisation rules" of each room version), one function per step in the order of
 * the page. The pages of the versions are one list with rows that only some versions have; numbers in the comments are those
 * of version 12, and where a rule is older or has gone its versions are named. */
#include "lib/matrix/auth_rules.h"

#include "lib/matrix/auth_rules_steps.h"
#include "lib/matrix/ids.h"

static const struct event *list_view_get(const struct state_view *view, const char *type, struct slice state_key)
{
    const struct event_list_view *list = (const struct event_list_view *)view;
    for (size_t i = 0; i < list->count; i++)
        if (list->events[i] && event_is_state_of(list->events[i], type, state_key))
            return list->events[i];
    return NULL;
}

struct event_list_view event_list_view(const struct event *const *events, size_t count)
{
    return (struct event_list_view){.view = {.get = list_view_get}, .events = events, .count = count};
}

/* 1.4 (version 12): "an array of strings where each string passes the same user ID validation applied to sender" */
static bool additional_creators_are_valid(const struct json *creators)
{
    if (!json_is(creators, JSON_ARRAY))
        return false;
    json_each (creator, creators)
        if (!json_is(creator, JSON_STRING) || !user_id_is_valid(creator->text))
            return false;
    return true;
}

static bool domains_match(struct slice id, struct slice other)
{
    struct slice domain = id_server_name(id);
    return !slice_is_absent(domain) && slice_eq(domain, id_server_name(other));
}

/* 1. If type is m.room.create */
static enum verdict create_event(struct auth_case *judged)
{
    const struct event *event = judged->event;
    if (!event_is(event, "m.room.create"))
        return VERDICT_NEXT;
    /* 1.1 */
    if (event->prev_events.len)
        return reject(judged, "m.room.create has prev_events");
    /* 1.2: changed in version 12, where the room id is the hash of this event */
    if (event->version->room_id_is_create_hash) {
        if (json_get_cstr(event->json, "room_id"))
            return reject(judged, "m.room.create has a room_id");
    } else if (!domains_match(event->room_id, event->sender)) {
        return reject(judged, "m.room.create: the domain of the room_id is not the sender's");
    }
    /* 1.3 */
    const struct json *version = json_get_cstr(event->content, "room_version");
    if (version && (!json_is(version, JSON_STRING) || !room_version_find(version->text)))
        return reject(judged, "m.room.create: room_version is not recognised");
    /* 1.4 of versions 1 to 10 */
    if (!event->version->implicit_room_creator && !json_get_cstr(event->content, "creator"))
        return reject(judged, "m.room.create has no creator");
    /* 1.4 of version 12 */
    const struct json *additional = json_get_cstr(event->content, "additional_creators");
    if (event->version->privileged_creators && additional && !additional_creators_are_valid(additional))
        return reject(judged, "m.room.create: additional_creators is not a list of user ids");
    return VERDICT_ALLOW;
}

/* 4. m.federate */
static enum verdict federation(struct auth_case *judged)
{
    if (json_get_bool(judged->create->content, "m.federate", true) || domains_match(judged->event->sender, judged->create->sender))
        return VERDICT_NEXT;
    return reject(judged, "the room does not federate and the sender is of another server");
}

/* 4 of versions 1 to 5. If type is m.room.aliases */
static enum verdict aliases(struct auth_case *judged)
{
    const struct event *event = judged->event;
    if (!event->version->special_aliases_auth || !event_is(event, "m.room.aliases"))
        return VERDICT_NEXT;
    if (!event_is_state(event))
        return reject(judged, "m.room.aliases has no state_key");
    struct slice domain = id_server_name(event->sender);
    if (slice_is_absent(domain) || !slice_eq(domain, event->state_key))
        return reject(judged, "m.room.aliases: the state_key is not the sender's domain");
    return VERDICT_ALLOW;
}

/* 6. If the sender's current membership state is not join, reject. */
static enum verdict sender_is_joined(struct auth_case *judged)
{
    if (membership_of(judged->state, judged->event->sender) != MEMBERSHIP_JOIN)
        return reject(judged, "the sender is not joined");
    return VERDICT_NEXT;
}

/* 7. If type is m.room.third_party_invite: allow if and only if the sender may invite. */
static enum verdict third_party_invite(struct auth_case *judged)
{
    if (!event_is(judged->event, "m.room.third_party_invite"))
        return VERDICT_NEXT;
    if (power_of_user(&judged->levels, judged->event->sender) < power_to(&judged->levels, "invite"))
        return reject(judged, "m.room.third_party_invite: the sender's power is below the invite level");
    return VERDICT_ALLOW;
}

/* 8. If the event type's required power level is greater than the sender's power level, reject. */
static enum verdict required_power(struct auth_case *judged)
{
    const struct event *event = judged->event;
    if (power_to_send(&judged->levels, event->type, event_is_state(event)) > power_of_user(&judged->levels, event->sender))
        return reject(judged, "the sender's power is below what the event type requires");
    return VERDICT_NEXT;
}

/* 9. If the event has a state_key that starts with an @ and does not match the sender, reject. */
static enum verdict owned_state_key(struct auth_case *judged)
{
    const struct event *event = judged->event;
    if (event_is_state(event) && slice_starts_with(event->state_key, SLICE("@")) && !slice_eq(event->state_key, event->sender))
        return reject(judged, "the state_key is another user's id");
    return VERDICT_NEXT;
}

/* 11 of versions 1 and 2. If type is m.room.redaction. Later versions judge redactions when they are carried out. */
static enum verdict redaction(struct auth_case *judged)
{
    const struct event *event = judged->event;
    if (event->version->event_id_format != EVENT_ID_V1 || !event_is(event, "m.room.redaction"))
        return VERDICT_NEXT;
    if (power_of_user(&judged->levels, event->sender) >= power_to(&judged->levels, "redact"))
        return VERDICT_ALLOW;
    if (domains_match(event->redacts, event->event_id))
        return VERDICT_ALLOW;
    return reject(judged, "m.room.redaction: the sender's power is below the redact level");
}

/* Steps 2 and 3 look at the auth events: auth_rules_events.c. */
static enum verdict (*const steps_after_create[])(struct auth_case *judged) = {
    federation,              /* 4 */
    aliases,                 /* versions 1 to 5 */
    auth_member,             /* 5 */
    sender_is_joined,        /* 6 */
    third_party_invite,      /* 7 */
    required_power,          /* 8 */
    owned_state_key,         /* 9 */
    auth_rules_power_levels, /* 10 */
    redaction,               /* versions 1 and 2 */
};

static enum verdict judge(struct auth_case *judged)
{
    enum verdict verdict = create_event(judged);
    if (verdict != VERDICT_NEXT)
        return verdict;
    judged->levels = power_levels_from(judged->state, judged->event->version);
    judged->create = judged->levels.create;
    if (!judged->create)
        return reject(judged, "the room has no m.room.create");
    for (size_t i = 0; verdict == VERDICT_NEXT && i < sizeof steps_after_create / sizeof *steps_after_create; i++)
        verdict = steps_after_create[i](judged);
    return verdict; /* 11. Otherwise, allow. */
}

enum fault auth_check_state(struct arena *arena, const struct event *event, const struct state_view *state, const char **why)
{
    struct auth_case judged = {.arena = arena, .event = event, .state = state};
    if (judge(&judged) != VERDICT_REJECT)
        return FAULT_OK;
    if (why)
        *why = judged.why;
    return FAULT_REJECTED;
}
