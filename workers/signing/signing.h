/* The signing worker's parts, for its main(). */
#ifndef MYELIN_SIGNING_SIGNING_H
#define MYELIN_SIGNING_SIGNING_H

#include "lib/kit/worker.h"

enum fault signing_start(struct worker *worker);
void signing_stop(struct worker *worker);

/* seal.c: from now on no files, no new sockets, no other programs, for every thread of the process. Refused system calls fail with
 * EPERM instead of killing us, so that a library's odd wish costs that wish and not the signer. */
void signing_seal(struct worker *worker);

#endif
