/* The first events of a room (Client-Server API "Creation"): create, the creator's join, power levels, alias, preset, initial
 * state, name, topic. */
#ifndef MYELIN_ROOMS_ROOM_EVENTS_H
#define MYELIN_ROOMS_ROOM_EVENTS_H

#include "lib/kit/worker.h"
#include "lib/matrix/room_version.h"

enum { ROOM_EVENTS_MAX = 512 };

struct room_events {
    struct slice types[ROOM_EVENTS_MAX], state_keys[ROOM_EVENTS_MAX], senders[ROOM_EVENTS_MAX], contents[ROOM_EVENTS_MAX];
    size_t count;
};

/* A later event of the same type and key replaces the earlier one's content, as initial_state does with the preset's. False: too
 * many. */
bool room_events_set(struct room_events *events, struct slice type, struct slice state_key, struct slice content);
/* From the body of createRoom. member: the content of the creator's join. NULL, or what is wrong with the body. */
const char *room_events_compose(struct call *call, const struct room_version *version, struct slice alias, struct slice member,
                                struct room_events *out);
void room_events_request(const struct room_events *events, struct slice creator, struct slice version_id,
                         struct room_create_request *request);

/* The create event's content; extra: members of creation_content, additional: trusted creators of version 12 (arrays or NULL). */
struct slice create_content(struct call *call, const struct room_version *version, const struct json *extra,
                            const struct json *additional);
/* Default power levels of a new room; override may be NULL; trusted: users that get the creator's power (versions before 12).
 * anyone_invites: private rooms; in public ones inviting takes 50. */
struct slice power_levels_content(struct call *call, const struct room_version *version, const struct json *override,
                                  const struct json *trusted, bool anyone_invites);

#endif
