/* Presence, in memory of every replica (Client-Server API "Presence"). A user is online while his devices sync; who shares a room
 * with him hears of changes. Off by configuration: then everybody is offline and nothing is sent. */
#ifndef MYELIN_SYNC_PRESENCE_H
#define MYELIN_SYNC_PRESENCE_H

#include "workers/sync/work.h"

enum presence_state { PRESENCE_OFFLINE, PRESENCE_UNAVAILABLE, PRESENCE_ONLINE };

bool presence_state_from(struct slice name, enum presence_state *out);
/* A device syncs. state: its set_presence; absent: online; offline: it does not want to be seen. */
void presence_seen(struct call *call, struct slice user_id, struct slice state);
/* A user of ours says it himself. status_msg absent: none. */
void presence_set(struct call *call, struct slice user_id, enum presence_state state, struct slice status_msg);
/* The content of m.presence, with fresh ages; absent when nothing is known of him. */
struct slice presence_content(struct arena *arena, struct slice user_id);
void presence_heard(struct worker *worker, struct slice user_id, struct slice payload); /* a hint; any thread */
void presence_tick(struct worker *worker); /* the timer's: who went away; wakes those who should hear of changes */
/* From another server. */
void presence_from_remote(struct call *call, struct slice user_id, const struct json *push);

/* Sets work->presence. */
enum fault presence_collect(struct sync_work *work);

#endif
