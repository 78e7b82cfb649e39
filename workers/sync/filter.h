/* The client's filter for /sync (Client-Server API "Filtering": Filter, RoomFilter). Borrows from its JSON. */
#ifndef MYELIN_SYNC_FILTER_H
#define MYELIN_SYNC_FILTER_H

#include "lib/matrix/event_filter.h"

struct sync_filter {
    struct event_filter timeline, state, ephemeral, room_account_data, account_data, presence;
    struct event_filter rooms; /* of the room part itself: rooms and not_rooms only */
    bool timeline_empty;       /* limit 0 */
    bool include_leave;
    bool federation_format;
    const struct json *event_fields; /* array of dotted paths; NULL: all */
};

/* json may be NULL: everything passes. BAD_JSON when a member has the wrong type. */
enum fault sync_filter_parse(const struct json *json, struct sync_filter *out);
/* Patterns of event types as LIKE patterns of SQL; at == NULL when there are none. */
struct slices sync_filter_patterns(struct arena *arena, const struct json *patterns);
struct slices sync_filter_texts(struct arena *arena, const struct json *texts);
/* A rendered event cut down to event_fields. */
void sync_filter_fields(struct json_writer *w, struct arena *arena, const struct json *fields, struct slice event);

#endif
