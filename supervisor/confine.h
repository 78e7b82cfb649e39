/* The outer wall around a worker: which files it may touch, by Landlock. Made here, because the supervisor knows where things lie,
 * and put on between fork and exec, because a process can confine only the thread that asks. The inner wall is lib/kit/sandbox.h.
 * What stands behind no wall: files that are open already, connecting to Unix sockets, looking at names and sizes. */
#ifndef MYELIN_SUPERVISOR_CONFINE_H
#define MYELIN_SUPERVISOR_CONFINE_H

#include "lib/kit/settings.h"

int confine_version(void); /* Landlock's version in this kernel; 0: it has none */
/* What the kind may touch, as a descriptor that is closed on exec; the caller's. -1: not to be confined (the setting, the kernel).
 */
int confine_kind(struct arena *arena, enum service kind, const char *program, const struct settings *settings);
/* In the child. A ruleset of -1 is no wall. */
bool confine_self(int ruleset);

#endif
