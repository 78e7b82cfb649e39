/* Every blocking point has a name that can be listed live (DESIGN §6): who blocks says so before, and that it is over after. The
 * list
 * (`myelin calls`) then shows for each thread what it works on and what it waits for. Only threads that have a call at hand are
 * known, handlers and those between worker_call_begin and worker_call_end; for others it is nothing to do. Not nested. */
#ifndef MYELIN_KIT_WAIT_H
#define MYELIN_KIT_WAIT_H

#include "lib/base/slice.h"

/* what: static, "database"; on: which one, absent if that is clear. It must stay where it is until the end. */
void wait_begin(const char *what, struct slice on);
/* Between the two: what is waited for takes long, so another thread may run in the place of this one until wait_end. */
void wait_long(void);
void wait_end(void);

#endif
