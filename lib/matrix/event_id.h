/* Small things about ids that are hashes (room version 3 and later). Pure; any thread. */
#ifndef MYELIN_MATRIX_EVENT_ID_H
#define MYELIN_MATRIX_EVENT_ID_H

#include "lib/base/arena.h"
#include "lib/matrix/room_version.h"

/* What follows the sigil of an id that is a hash: 43 characters of the version's base64 alphabet. */
bool event_hash_text_is_valid(const struct room_version *version, struct slice text);
/* Version 12: the room's id is its create event's with '!' instead of '$'; and back. */
struct slice room_id_from_create(struct arena *arena, struct slice create_event_id);
struct slice create_id_from_room(struct arena *arena, struct slice room_id);

#endif
