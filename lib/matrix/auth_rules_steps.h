/* Shared between the files of the authorisation rules; nobody else includes it. A rule of the spec is a step: it allows, it
 * rejects and says why, or it has nothing to say and the next one is asked. */
#ifndef MYELIN_MATRIX_AUTH_RULES_STEPS_H
#define MYELIN_MATRIX_AUTH_RULES_STEPS_H

#include "lib/matrix/auth_rules.h"
#include "lib/matrix/power_levels.h"

enum verdict { VERDICT_NEXT, VERDICT_ALLOW, VERDICT_REJECT };

struct auth_case {
    struct arena *arena;
    const struct event *event;
    const struct state_view *state;
    const struct event *create; /* NULL only while the create event itself is judged */
    struct power_levels levels; /* of the state */
    const char *why;            /* set with VERDICT_REJECT: static text */
};

static inline enum verdict reject(struct auth_case *judged, const char *why)
{
    judged->why = why;
    return VERDICT_REJECT;
}

enum membership {
    MEMBERSHIP_NONE,
    MEMBERSHIP_JOIN,
    MEMBERSHIP_INVITE,
    MEMBERSHIP_LEAVE,
    MEMBERSHIP_BAN,
    MEMBERSHIP_KNOCK,
    MEMBERSHIP_OTHER
};

enum membership membership_of(const struct state_view *state, struct slice user_id); /* auth_member.c */
enum verdict auth_member(struct auth_case *judged);                                  /* auth_member.c */
enum verdict auth_member_third_party_invite(struct auth_case *judged);               /* auth_member_third_party.c */
enum verdict auth_rules_power_levels(struct auth_case *judged);                      /* auth_rules_power_levels.c */

#endif
