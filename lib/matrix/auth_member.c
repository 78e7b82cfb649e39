/* Rule 5 of the authorisation rules: m.room.member. One function per membership, numbered as on the page of version 12; what
 * only some versions have is asked of the version's row. */
#include "lib/matrix/auth_rules_steps.h"
#include "lib/matrix/ids.h"

static enum membership membership_from(struct slice text)
{
    static const struct {
        const char *text;
        enum membership membership;
    } known[] = {
        {"join", MEMBERSHIP_JOIN}, {"invite", MEMBERSHIP_INVITE}, {"leave", MEMBERSHIP_LEAVE},
        {"ban", MEMBERSHIP_BAN},   {"knock", MEMBERSHIP_KNOCK},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (slice_eq(text, slice_from_cstr(known[i].text)))
            return known[i].membership;
    return MEMBERSHIP_OTHER;
}

enum membership membership_of(const struct state_view *state, struct slice user_id)
{
    const struct event *member = state->get(state, "m.room.member", user_id);
    return member ? membership_from(json_get_string(member->content, "membership")) : MEMBERSHIP_NONE;
}

static enum membership sender_membership(const struct auth_case *judged)
{
    return membership_of(judged->state, judged->event->sender);
}

static enum membership target_membership(const struct auth_case *judged)
{
    return membership_of(judged->state, judged->event->state_key);
}

static bool sender_is_target(const struct auth_case *judged)
{
    return slice_eq(judged->event->sender, judged->event->state_key);
}

static bool sender_may(const struct auth_case *judged, const char *action)
{
    return power_of_user(&judged->levels, judged->event->sender) >= power_to(&judged->levels, action);
}

static bool sender_outranks_target(const struct auth_case *judged)
{
    return power_of_user(&judged->levels, judged->event->state_key) < power_of_user(&judged->levels, judged->event->sender);
}

/* A room without m.room.join_rules, or one that names no rule, is by invitation. */
static struct slice join_rule(const struct auth_case *judged)
{
    const struct event *rules = judged->state->get(judged->state, "m.room.join_rules", SLICE(""));
    const struct json *rule = rules ? json_get_cstr(rules->content, "join_rule") : NULL;
    return rule ? json_string(rule) : SLICE("invite");
}

static bool rule_is_by_invitation(const struct room_version *version, struct slice rule)
{
    return slice_eq(rule, SLICE("invite")) || (version->knock && slice_eq(rule, SLICE("knock")));
}

static bool rule_is_restricted(const struct room_version *version, struct slice rule)
{
    return (version->restricted_join && slice_eq(rule, SLICE("restricted"))) ||
           (version->knock_restricted && slice_eq(rule, SLICE("knock_restricted")));
}

static bool rule_allows_knocks(const struct room_version *version, struct slice rule)
{
    return slice_eq(rule, SLICE("knock")) || (version->knock_restricted && slice_eq(rule, SLICE("knock_restricted")));
}

/* 5.2 (version 8): "If the event is not validly signed by the homeserver of the user ID denoted by the key, reject." The
 * signature is checked with all others before the rules are asked: event_required_signers() names that server. Left for here:
 * a value that denotes no user, which nobody can have signed for. */
static enum verdict authoriser(struct auth_case *judged)
{
    const struct json *user = json_get_cstr(judged->event->content, "join_authorised_via_users_server");
    if (!judged->event->version->restricted_join || !user)
        return VERDICT_NEXT;
    if (!json_is(user, JSON_STRING) || !user_id_is_valid(user->text))
        return reject(judged, "m.room.member: join_authorised_via_users_server is not a user id");
    return VERDICT_NEXT;
}

/* 5.3.1 */
static bool is_first_join_of_creator(const struct auth_case *judged)
{
    const struct event *event = judged->event, *create = judged->create;
    if (event->prev_events.len != 1 || !slice_eq(event->prev_events.at[0], create->event_id))
        return false;
    if (event->version->implicit_room_creator) /* version 11: not the additional creators of version 12 either */
        return slice_eq(event->state_key, create->sender);
    return user_is_creator(create, event->state_key);
}

/* 5.3.5.2 */
static bool authoriser_may_invite(const struct auth_case *judged)
{
    struct slice user = json_get_string(judged->event->content, "join_authorised_via_users_server");
    return !slice_is_absent(user) && membership_of(judged->state, user) == MEMBERSHIP_JOIN &&
           power_of_user(&judged->levels, user) >= power_to(&judged->levels, "invite");
}

/* 5.3. If membership is join */
static enum verdict join(struct auth_case *judged)
{
    const struct room_version *version = judged->event->version;
    if (is_first_join_of_creator(judged))
        return VERDICT_ALLOW;
    if (!sender_is_target(judged))
        return reject(judged, "join: the sender is not the state_key");
    enum membership current = sender_membership(judged);
    if (current == MEMBERSHIP_BAN)
        return reject(judged, "join: the sender is banned");
    bool is_in_or_invited = current == MEMBERSHIP_JOIN || current == MEMBERSHIP_INVITE;
    struct slice rule = join_rule(judged);
    if (rule_is_by_invitation(version, rule) && is_in_or_invited)
        return VERDICT_ALLOW;
    if (rule_is_restricted(version, rule)) {
        if (is_in_or_invited)
            return VERDICT_ALLOW;
        if (!authoriser_may_invite(judged))
            return reject(judged, "join: restricted, and no joined member who may invite vouches for it");
        return VERDICT_ALLOW;
    }
    if (slice_eq(rule, SLICE("public")))
        return VERDICT_ALLOW;
    return reject(judged, "join: the join rule does not allow it");
}

/* 5.4. If membership is invite */
static enum verdict invite(struct auth_case *judged)
{
    if (json_get_cstr(judged->event->content, "third_party_invite"))
        return auth_member_third_party_invite(judged);
    if (sender_membership(judged) != MEMBERSHIP_JOIN)
        return reject(judged, "invite: the sender is not joined");
    enum membership target = target_membership(judged);
    if (target == MEMBERSHIP_JOIN || target == MEMBERSHIP_BAN)
        return reject(judged, "invite: the target is joined or banned");
    if (!sender_may(judged, "invite"))
        return reject(judged, "invite: the sender's power is below the invite level");
    return VERDICT_ALLOW;
}

/* 5.5.1. Knocks: since version 7 */
static enum verdict leave_by_oneself(struct auth_case *judged)
{
    enum membership current = sender_membership(judged);
    bool knocked = judged->event->version->knock && current == MEMBERSHIP_KNOCK;
    if (current == MEMBERSHIP_INVITE || current == MEMBERSHIP_JOIN || knocked)
        return VERDICT_ALLOW;
    return reject(judged, "leave: the sender is not joined, invited or knocking");
}

/* 5.5. If membership is leave */
static enum verdict leave(struct auth_case *judged)
{
    if (sender_is_target(judged))
        return leave_by_oneself(judged);
    if (sender_membership(judged) != MEMBERSHIP_JOIN)
        return reject(judged, "kick: the sender is not joined");
    if (target_membership(judged) == MEMBERSHIP_BAN && !sender_may(judged, "ban"))
        return reject(judged, "unban: the sender's power is below the ban level");
    if (!sender_may(judged, "kick"))
        return reject(judged, "kick: the sender's power is below the kick level");
    if (!sender_outranks_target(judged))
        return reject(judged, "kick: the target's power is not below the sender's");
    return VERDICT_ALLOW;
}

/* 5.6. If membership is ban */
static enum verdict ban(struct auth_case *judged)
{
    if (sender_membership(judged) != MEMBERSHIP_JOIN)
        return reject(judged, "ban: the sender is not joined");
    if (!sender_may(judged, "ban"))
        return reject(judged, "ban: the sender's power is below the ban level");
    if (!sender_outranks_target(judged))
        return reject(judged, "ban: the target's power is not below the sender's");
    return VERDICT_ALLOW;
}

/* 5.7. If membership is knock (version 7) */
static enum verdict knock(struct auth_case *judged)
{
    if (!rule_allows_knocks(judged->event->version, join_rule(judged)))
        return reject(judged, "knock: the join rule does not allow it");
    if (!sender_is_target(judged))
        return reject(judged, "knock: the sender is not the state_key");
    enum membership current = sender_membership(judged);
    if (current == MEMBERSHIP_BAN || current == MEMBERSHIP_INVITE || current == MEMBERSHIP_JOIN)
        return reject(judged, "knock: the sender is banned, invited or joined");
    return VERDICT_ALLOW;
}

/* 5. If type is m.room.member */
enum verdict auth_member(struct auth_case *judged)
{
    const struct event *event = judged->event;
    if (!event_is(event, "m.room.member"))
        return VERDICT_NEXT;
    /* 5.1 */
    const struct json *membership = json_get_cstr(event->content, "membership");
    if (!event_is_state(event) || !membership)
        return reject(judged, "m.room.member has no state_key or no membership");
    /* 5.2 */
    if (authoriser(judged) == VERDICT_REJECT)
        return VERDICT_REJECT;
    switch (membership_from(json_string(membership))) {
    case MEMBERSHIP_JOIN:
        return join(judged);
    case MEMBERSHIP_INVITE:
        return invite(judged);
    case MEMBERSHIP_LEAVE:
        return leave(judged);
    case MEMBERSHIP_BAN:
        return ban(judged);
    case MEMBERSHIP_KNOCK:
        if (event->version->knock)
            return knock(judged);
        break;
    case MEMBERSHIP_NONE:
    case MEMBERSHIP_OTHER:
        break;
    }
    /* 5.8 */
    return reject(judged, "m.room.member: the membership is unknown");
}
