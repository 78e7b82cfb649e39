/* Which members a device was told of (lazy loading): a fixed table of hashes. What falls out of it is told again, which is allowed.
 */
#ifndef MYELIN_SYNC_LAZY_H
#define MYELIN_SYNC_LAZY_H

#include "lib/base/slice.h"

/* The hash of one device's knowledge of one member event. */
uint64_t lazy_hash(struct slice user_id, struct slice device_id, int64_t member_event_nid);
/* …and of having been told, at some time, some member event of this user in this room: what changed since was told as a change. */
uint64_t lazy_speaker_hash(struct slice user_id, struct slice device_id, struct slice room_id, struct slice speaker);
bool lazy_was_sent(uint64_t hash);
void lazy_note(uint64_t hash);
/* Was this the device's last token too? Then its answer got lost, and with it what was noted. Notes the token. */
bool lazy_is_repeated(struct slice user_id, struct slice device_id, struct slice since);

#endif
