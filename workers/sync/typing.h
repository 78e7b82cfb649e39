/* Who is typing, in memory of every replica: changes travel as stream hints (Client-Server API "Typing Notifications"). */
#ifndef MYELIN_SYNC_TYPING_H
#define MYELIN_SYNC_TYPING_H

#include "workers/sync/work.h"

/* Typing and presence share one clock of changes: milliseconds, made unique. Tokens carry it. */
int64_t ephemeral_serial(void);      /* of the newest change */
int64_t ephemeral_next_serial(void); /* for a change that happens now */
/* What a token's serial means here: of a replica whose clock is ahead, somewhat less. */
int64_t ephemeral_after(int64_t serial);

struct slice typing_pack(struct arena *arena, struct slice user_id, bool typing, int64_t timeout_ms);
void typing_heard(struct worker *worker, struct slice room_id, struct slice payload); /* a hint; any thread */
void typing_expire(struct worker *worker);                                            /* the timer's */
/* True when this differs from what is known, or it was told long ago: other servers should hear it. */
bool typing_is_news(struct slice room_id, struct slice user_id, bool typing);

/* Sets room->typing of rooms where it changed since the token. */
void typing_collect(struct sync_work *work);
/* The rooms among these (keys of the map) where it changed after the serial: malloc'ed ids; SIZE_MAX: more than `most`, none are
 * given. */
size_t typing_changed(const struct map *mine, int64_t after, char **ids, size_t most);
/* The m.typing event of one room when it changed after the serial; absent otherwise. */
struct slice typing_event(struct arena *arena, struct slice room_id, int64_t after);

#endif
