/* Fetching what is missing around a gap: events by id and the state at an event, as outliers. See gap.c for when. */
#ifndef MYELIN_FEDERATION_GAP_FETCH_H
#define MYELIN_FEDERATION_GAP_FETCH_H

#include "lib/store/room_read.h"
#include "workers/federation/pdu_check.h"

struct gap {
    struct call *call;
    const struct room_facts *room;
    const struct room_version *version;
    struct slices servers; /* who may be asked: the origin, then a few others of the room */
    struct slice server;   /* who is asked now */
};

enum fault gap_unknown(struct gap *gap, struct slices ids, struct slices *unknown);
/* Keeps the good ones of this room, oldest first. */
void gap_keep_and_sort(const struct gap *gap, struct checked_pdu *pdus, size_t *count);
/* Everything in ids, and the auth events below, known here afterwards as far as the server has them. What was had of it stays when
 * a fault ends it. */
enum fault gap_fetch_events(struct gap *gap, struct slices ids);
/* The state after an event that we do not have: what the server says stood before it, and the event itself, last. Appends to ids,
 * which has `room` places. MISSING_EVENTS: part of it could not be had, so nothing may be judged by it. */
enum fault gap_fetch_state(struct gap *gap, struct slice event_id, struct slice *ids, size_t room, size_t *count);

#endif
