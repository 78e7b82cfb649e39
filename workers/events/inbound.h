/* One PDU of another server on its way into the room: what we know around it. */
#ifndef MYELIN_EVENTS_INBOUND_H
#define MYELIN_EVENTS_INBOUND_H

#include "workers/events/resolve.h"

struct known_event {
    struct slice event_id;
    int64_t nid; /* 0: unknown here */
    int64_t flags, snapshot_nid, state_key_nid;
    bool is_create, is_foreign /* known, but in another room */;
};

struct inbound {
    struct event *event;
    struct known_event self;
    struct known_event *prev, *auth; /* in the event's order */
    struct slices missing;           /* auth events that are unknown, and prev events without a known state */
    struct slices missing_prev;      /* the latter */
    struct slices absent_prev;       /* those of them that have no place in the timeline: history can be fetched there */
};

/* NUL in ids and types cannot be stored and is in no valid event we accept: BAD_JSON. */
enum fault inbound_parse(struct call *call, const struct room_version *version, struct slice room_id, struct slice pdu,
                         struct inbound *out, const char **why);
/* What stands before an event is known when it was judged by it. Back-filled history may have come without. */
bool known_event_has_state(const struct known_event *known);
/* Looks the event, its prev and its auth events up in one trip. FORBIDDEN with *why: one of them is of another room. */
enum fault inbound_lookup(struct call *call, const struct hot_room *room, struct inbound *inbound, const char **why);
/* Steps 1 to 5 of "Checks performed on receipt of a PDU" that need no state: its own auth events allow it. REJECTED with *why. */
enum fault inbound_check_auth_events(struct call *call, struct hot_room *room, const struct inbound *inbound, const char **why);
/* The event against a state of its room. REJECTED with *why. */
enum fault inbound_check_state(struct room_write *write, const struct event *event, struct state_map state, const char **why);

#endif
