/* Who is meant and whether the password is his: for login and for user-interactive authentication. */
#ifndef MYELIN_ACCOUNTS_CREDENTIALS_H
#define MYELIN_ACCOUNTS_CREDENTIALS_H

#include "lib/kit/call.h"

/* The user that `identifier` (m.id.user) or the older `user` member names. Absent: none, or of a kind that we do not know. */
struct slice credentials_user(struct call *call, const struct json *credentials);
/* OK: *user_id is the account's own spelling. FORBIDDEN: no such user, no password, or another one. USER_DEACTIVATED. An outdated
 * hash is replaced on the way. */
enum fault credentials_check(struct call *call, struct slice typed_user_id, struct slice password, struct slice *user_id);

#endif
