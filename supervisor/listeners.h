/* What can be wrong with the addresses of the configuration, found before anything starts: a frontend that cannot listen would be
 * restarted for ever, and one that shares a port with another instance's (SO_REUSEPORT) would take half of its clients. */
#ifndef MYELIN_SUPERVISOR_LISTENERS_H
#define MYELIN_SUPERVISOR_LISTENERS_H

#include "lib/base/arena.h"
#include "lib/kit/settings.h"

/* NULL, or what is wrong with the way they are written. */
const char *listeners_malformed(struct arena *arena, const struct settings *settings);
const char *bus_listen_wrong(struct arena *arena, const struct settings *settings);

/* Binds and gives up each address in turn, for at most 2 s when somebody else has it: a supervisor that was killed leaves its
 * frontend a moment. NULL, or which one cannot be had and why. */
const char *listeners_taken(struct arena *arena, const struct settings *settings);

#endif
