/* m.room.canonical_alias set by a client: each alias that it adds must point to the room (Client-Server API "Room aliases"). */
#ifndef MYELIN_EVENTS_CANONICAL_ALIAS_H
#define MYELIN_EVENTS_CANONICAL_ALIAS_H

#include "lib/kit/call.h"

/* INVALID_PARAM: no alias by its grammar; BAD_ALIAS: it does not point to this room; BAD_JSON: wrong types. Aliases that the
 * standing event lists already are not looked at. NOT_FOUND: no such room. */
enum fault canonical_alias_check(struct call *call, struct slice room_id, const struct json *content);

#endif
