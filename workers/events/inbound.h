/* One PDU of another server on its way into the room: what we know around it. */
#ifndef MYELIN_EVENTS_INBOUND_H
#define MYELIN_EVENTS_INBOUND_H

#include "workers/events/resolve.h"

struct known_event {
    struct slice event_id;
    int64_t nid; /* 0: unknown here */
    int64_t flags, snapshot_nid, state_key_nid;
    bool is_create;
};

struct inbound {
    struct event *event;
    struct known_event self;
    struct known_event *prev, *auth; /* in the event's order */
    struct slices missing;           /* auth events, and prev events without a known state */
    struct slices missing_prev;
};

/* NUL in ids and types cannot be stored and is in no valid event we accept: BAD_JSON. */
enum fault inbound_parse(struct call *call, const struct room_version *version, struct slice room_id, struct slice pdu,
                         struct inbound *out, const char **why);
/* Looks the event, its prev and its auth events up in one trip. */
enum fault inbound_lookup(struct call *call, struct inbound *inbound);
/* Steps 1 to 5 of "Checks performed on receipt of a PDU" that need no state: its own auth events allow it. REJECTED with *why. */
enum fault inbound_check_auth_events(struct call *call, struct hot_room *room, const struct inbound *inbound, const char **why);
/* The event against a state of its room. REJECTED with *why. */
enum fault inbound_check_state(struct room_write *write, const struct event *event, struct state_map state, const char **why);

#endif
