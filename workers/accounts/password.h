/* Passwords: hashing and checking, at most two at once, because each takes 64 MiB and a core for 60 ms (facts/STACK.md §9). */
#ifndef MYELIN_ACCOUNTS_PASSWORD_H
#define MYELIN_ACCOUNTS_PASSWORD_H

#include "lib/base/arena.h"
#include "proto/fault.h"

enum { PASSWORD_BYTES_MAX = 512 };

enum password_verdict {
    PASSWORD_WRONG,
    PASSWORD_RIGHT,
    PASSWORD_RIGHT_OUTDATED, /* right, but the stored hash is of another kind or cost: store a new one */
};

void passwords_start(bool cheap);
bool password_is_acceptable(struct slice password); /* not empty, not too long, no NUL */
struct slice password_hash(struct arena *arena, struct slice password);
/* stored absent: there is no such user or he has no password. Takes as long then, so that time does not tell. */
enum password_verdict password_check(struct arena *arena, struct slice password, struct slice stored);

#endif
