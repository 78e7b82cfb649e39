/* The inner wall around a worker: system calls that no worker needs once it runs fail with EPERM, in all threads and for good. The
 * outer wall, around files, is supervisor/confine.h. A kind with a seal of its own (workers/signing/seal.c) does not need this one.
 */
#ifndef MYELIN_KIT_SANDBOX_H
#define MYELIN_KIT_SANDBOX_H

#include "lib/kit/settings.h"

/* Call when sockets, libraries and threads are in place: what a started worker still does is open files, connect sockets and start
 * threads, but no program and no process. Sockets of the internet are left to kinds with REACH_SERVERS, and to all when the bus or
 * the database is on other machines. A kernel that refuses is told in the log, and the worker goes on without.
 * Does nothing when the setting `sandbox` is off. */
void sandbox_enter(enum service kind, const struct settings *settings);

#endif
