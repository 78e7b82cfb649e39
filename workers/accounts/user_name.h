/* User names as people type them, and the user ids they stand for. Pure. */
#ifndef MYELIN_ACCOUNTS_USER_NAME_H
#define MYELIN_ACCOUNTS_USER_NAME_H

#include "lib/base/arena.h"

struct slice text_lower(struct arena *arena, struct slice text); /* ASCII letters only */
/* "@local:server" of a name that someone wants to register, capitals made small. Absent: not a valid name. */
struct slice user_id_to_register(struct arena *arena, struct slice username, struct slice server);
/* "@alice:server" or "alice", as typed at login. Absent: not a user of this server. */
struct slice user_id_to_log_in(struct arena *arena, struct slice typed, struct slice server);

#endif
