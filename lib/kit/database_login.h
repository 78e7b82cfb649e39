/* How a worker's sessions come to their role (settings: database_logins). Either each kind logs in as its own role, which it cannot
 * leave: so it is in the private cluster. Or all log in with the URL's one login and switch (SET ROLE), for databases where an
 * operator was given a single login: then the role is a fence against mistakes, RESET ROLE leaves it. */
#ifndef MYELIN_KIT_DATABASE_LOGIN_H
#define MYELIN_KIT_DATABASE_LOGIN_H

#include "lib/base/arena.h"

/* The URL with another user, in libpq's form of words; the URL itself when it cannot be read (connecting tells why). */
struct slice database_login_url(struct arena *arena, const char *url, const char *user);

#endif
