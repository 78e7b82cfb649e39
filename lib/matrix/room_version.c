/* The room versions as one table: a row per page under "Room Versions". What a version adds, all later ones keep, so each
 * ADDED_IN_n is the list of its page's "added in" boxes on top of the versions before. */
#include "lib/matrix/room_version.h"

#define ADDED_IN_5 .enforce_key_validity = true
#define ADDED_IN_6 ADDED_IN_5, .strict_canonical_json = true, .limit_notifications_power = true
#define ADDED_IN_7 ADDED_IN_6, .knock = true
#define ADDED_IN_8 ADDED_IN_7, .restricted_join = true
#define ADDED_IN_10 ADDED_IN_8, .knock_restricted = true, .integer_power_levels = true
#define ADDED_IN_11 ADDED_IN_10, .implicit_room_creator = true, .byte_limits = true, .redacts_in_content = true
#define ADDED_IN_12 ADDED_IN_11, .privileged_creators = true, .room_id_is_create_hash = true
#define UNTIL_5 .special_aliases_auth = true

static const struct room_version versions[] = {
    {"1", true, STATE_RES_V1, EVENT_ID_V1, REDACT_V1, UNTIL_5},
    {"2", true, STATE_RES_V2, EVENT_ID_V1, REDACT_V1, UNTIL_5},
    {"3", true, STATE_RES_V2, EVENT_ID_V3, REDACT_V1, UNTIL_5},
    {"4", true, STATE_RES_V2, EVENT_ID_V4, REDACT_V1, UNTIL_5},
    {"5", true, STATE_RES_V2, EVENT_ID_V4, REDACT_V1, UNTIL_5, ADDED_IN_5},
    {"6", true, STATE_RES_V2, EVENT_ID_V4, REDACT_V6, ADDED_IN_6},
    {"7", true, STATE_RES_V2, EVENT_ID_V4, REDACT_V6, ADDED_IN_7},
    {"8", true, STATE_RES_V2, EVENT_ID_V4, REDACT_V8, ADDED_IN_8},
    {"9", true, STATE_RES_V2, EVENT_ID_V4, REDACT_V9, ADDED_IN_8},
    {"10", true, STATE_RES_V2, EVENT_ID_V4, REDACT_V9, ADDED_IN_10},
    {"11", true, STATE_RES_V2, EVENT_ID_V4, REDACT_V11, ADDED_IN_11},
    {"12", true, STATE_RES_V2_1, EVENT_ID_V4, REDACT_V11, ADDED_IN_12},
};

enum { VERSION_COUNT = sizeof versions / sizeof versions[0] };

const struct room_version *room_version_find(struct slice id)
{
    for (size_t i = 0; i < VERSION_COUNT; i++)
        if (slice_eq(id, slice_from_cstr(versions[i].id)))
            return &versions[i];
    return NULL;
}

const struct room_version *room_version_at(size_t index)
{
    return index < VERSION_COUNT ? &versions[index] : NULL;
}
