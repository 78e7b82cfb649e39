/* Telling `sender` that a server talks to us, so that it forgets its back-off: at most once in ALIVE_MS per server. Any thread. */
#ifndef MYELIN_FEDERATION_ALIVE_H
#define MYELIN_FEDERATION_ALIVE_H

#include "lib/kit/call.h"

enum { ALIVE_MS = 10000 };

void alive_start(void);
void alive_note(struct call *call, struct slice server);

#endif
