/* Events of our own users: drafts become events on the room's current state: prev and auth events, depth, hashes, authorisation,
 * signature. */
#ifndef MYELIN_EVENTS_COMPOSE_H
#define MYELIN_EVENTS_COMPOSE_H

#include "workers/events/room_write.h"

/* Adds the drafts to the write one after another, each on the state the one before left. All are signed in one call.
 * REJECTED with *why naming the rule and *failed the draft; BAD_JSON, TOO_LARGE for drafts that are no events. Nothing is written
 * then. */
enum fault compose(struct room_write *write, const struct event_draft *drafts, size_t count, const char **why, size_t *failed);

/* Only builds: the event of one draft on the current state, authorised and signed, or (template_only) its unsigned template, then
 * authorised only when asked. */
enum fault compose_one(struct call *call, struct hot_room *room, const struct event_draft *draft, bool template_only,
                       bool authorise, struct slice *json, struct slice *event_id, const char **why);

/* Signs finished events in one call to the signer: event->raw has our signature then. */
enum fault compose_sign(struct call *call, const struct room_version *version, struct event **events, size_t count);

#endif
