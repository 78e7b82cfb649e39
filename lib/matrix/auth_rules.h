/* "Authorization rules" of each room version: one numbered step of the spec at a time. Pure; any thread. */
#ifndef MYELIN_MATRIX_AUTH_RULES_H
#define MYELIN_MATRIX_AUTH_RULES_H

#include "lib/matrix/event.h"

/* The state an event is judged against: looked up by (type, state_key); NULL when there is none. */
struct state_view {
    const struct event *(*get)(const struct state_view *view, const char *type, struct slice state_key);
    void *context;
};
/* A view over a plain list of events (auth events): linear search. */
struct event_list_view {
    struct state_view view;
    const struct event *const *events;
    size_t count;
};
struct event_list_view event_list_view(const struct event *const *events, size_t count);

/* The (type, state_key) pairs an event needs among its auth events: Server-Server API "Auth events selection". */
struct state_need {
    const char *type;
    struct slice state_key;
};
enum { STATE_NEEDS_MAX = 8 };
size_t auth_needs(const struct event *event, struct state_need needs[STATE_NEEDS_MAX]);
/* As above before the event exists. */
size_t auth_needs_of_draft(const struct room_version *version, struct slice type, struct slice state_key, struct slice sender,
                           const struct json *content, struct state_need needs[STATE_NEEDS_MAX]);

/* Steps on the event's own auth_events (duplicates, entries that are not needed, rejected ones, wrong room; v12's create).
 * auth: the events of event->auth_events, in that order. */
enum fault auth_check_auth_events(const struct event *event, const struct event *const *auth, size_t count,
                                  struct slice create_room_id, const char **why);
/* Steps on the state. FAULT_OK or FAULT_REJECTED; *why names the rule. The create event comes from the view, for v12 too.
 * signature_ok: verifies third-party invite signatures, called with (public_key_base64, signature_base64, message). NULL = no. */
enum fault auth_check_state(struct arena *arena, const struct event *event, const struct state_view *state, const char **why);

/* Power levels ("m.room.power_levels" and its defaults). */
struct power_levels {
    const struct json *content; /* NULL when there is no event */
    const struct room_version *version;
    const struct event *create; /* for creators */
};
#define POWER_INFINITE INT64_MAX /* creators of v12 */
struct power_levels power_levels_from(const struct state_view *state, const struct room_version *version);
int64_t power_of_user(const struct power_levels *levels, struct slice user_id);
int64_t power_to_send(const struct power_levels *levels, struct slice type, bool is_state);
int64_t power_to(const struct power_levels *levels, const char *action);      /* "ban", "kick", "redact", "invite" */
int64_t power_to_notify(const struct power_levels *levels, const char *what); /* "room" */
bool user_is_creator(const struct event *create, struct slice user_id); /* v12: sender and additional_creators; else the creator */

/* ACL: "m.room.server_acl". acl may be NULL: everyone may. */
bool server_acl_allows(const struct json *acl_content, struct slice server_name);

#endif
