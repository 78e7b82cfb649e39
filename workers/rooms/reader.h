/* Who reads a room, and until where: the first step of every read endpoint. */
#ifndef MYELIN_ROOMS_READER_H
#define MYELIN_ROOMS_READER_H

#include "lib/store/departure.h"
#include "lib/store/render.h"
#include "lib/store/room_read.h"
#include "lib/store/visibility.h"

struct reader {
    struct room_facts room;
    struct membership_row membership; /* membership.membership absent: never in */
    bool joined;
    bool departed; /* was in the room and left or was banned: sees it as it was then */
    struct event_row departure;
    int64_t until; /* timeline: room_pos not beyond; INT64_MAX while joined */
};

/* True: reader is filled. False: *answer. Members, those who were, and anyone where history is world-readable. */
bool reader_open(struct call *call, struct reader *reader, struct reply *answer);
/* Renders visible events; rows that are not visible are skipped. */
enum fault render_visible(struct call *call, const struct reader *reader, const struct event_rows *rows, struct json_writer *w,
                          size_t *shown);
/* Drops the rows that the reader may not see; memberships beside them for rendering. */
enum fault keep_visible(struct call *call, struct slice user_id, struct event_rows *rows, struct slice **memberships);
/* The state the reader sees: current, or as it was when he left. */
enum fault reader_state(struct call *call, const struct reader *reader, struct event_rows *out);
/* The state at a point of his timeline: after the last event before that place. Where we do not know it (before the room's first
 * state, in history that came without) or he may not see it, the next one; else the one he sees now. */
enum fault reader_state_at(struct call *call, const struct reader *reader, int64_t before, struct event_rows *out);

#endif
