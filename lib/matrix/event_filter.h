/* RoomEventFilter and EventFilter of the Client-Server API ("Filtering"). Pure; borrows from the parsed filter. */
#ifndef MYELIN_MATRIX_EVENT_FILTER_H
#define MYELIN_MATRIX_EVENT_FILTER_H

#include "lib/base/json.h"
#include "proto/fault.h"

struct event_filter {
    const struct json *types, *not_types; /* arrays of patterns ('*' matches any run); NULL: not given */
    const struct json *senders, *not_senders;
    const struct json *rooms, *not_rooms;
    const struct json *rel_types, *not_rel_types; /* rel_type of the event itself (MSC3874) */
    int64_t limit;
    bool limit_given, has_contains_url, contains_url;
    bool lazy_load_members, include_redundant_members, unread_thread_notifications;
};

/* json may be NULL: everything passes. BAD_JSON when a member has the wrong type. limit is clamped to 1…limit_max, otherwise
 * limit_default. */
enum fault event_filter_parse(const struct json *json, int64_t limit_default, int64_t limit_max, struct event_filter *out);
bool event_filter_allows_type(const struct event_filter *filter, struct slice type);
bool event_filter_allows_room(const struct event_filter *filter, struct slice room_id);
/* content may be NULL when it is not at hand: then contains_url and rel_types are not looked at. */
bool event_filter_allows(const struct event_filter *filter, struct slice type, struct slice sender, const struct json *content);

#endif
