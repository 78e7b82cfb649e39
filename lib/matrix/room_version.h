/* What differs between room versions (spec "Room Versions"), as one row of facts per version. Pure. */
#ifndef MYELIN_MATRIX_ROOM_VERSION_H
#define MYELIN_MATRIX_ROOM_VERSION_H

#include "lib/base/slice.h"

enum state_res { STATE_RES_V1, STATE_RES_V2, STATE_RES_V2_1 };
enum event_id_format { EVENT_ID_V1 /* chosen by the sender */, EVENT_ID_V3 /* base64 hash */, EVENT_ID_V4 /* URL-safe */ };
enum redaction_rules { REDACT_V1, REDACT_V6, REDACT_V8, REDACT_V9, REDACT_V11 };

struct room_version {
    const char *id; /* "12" */
    bool stable;
    enum state_res state_res;
    enum event_id_format event_id_format;
    enum redaction_rules redaction_rules;
    bool strict_canonical_json;     /* v6: numbers checked */
    bool enforce_key_validity;      /* v5 */
    bool special_aliases_auth;      /* v1–5: m.room.aliases rule */
    bool limit_notifications_power; /* v6 */
    bool knock;                     /* v7 */
    bool restricted_join;           /* v8 */
    bool knock_restricted;          /* v10 */
    bool integer_power_levels;      /* v10: no stringy levels */
    bool implicit_room_creator;     /* v11: create's sender, not content.creator */
    bool byte_limits; /* v11: type and state_key up to 255 bytes; before, servers counted code points, and such events are there */
    bool redacts_in_content;     /* v11: redaction's target in content.redacts */
    bool privileged_creators;    /* v12: creators have infinite power, additional_creators */
    bool room_id_is_create_hash; /* v12: room id = "!" + create event's hash, create not in auth_events */
};

const struct room_version *room_version_find(struct slice id); /* NULL when unknown */
const struct room_version *room_version_at(size_t index);      /* for listing; NULL past the end */

#endif
