/* The handler threads of a worker (private to lib/kit). As many run as the settings say; while some wait for what takes long, other
 * workers mostly, who wait for other servers, stand-ins take their place: so a few dead servers never stop what needs none of them.
 * Stand-ins are bounded, too: two for each thread, but eight at least. */
#ifndef MYELIN_KIT_CREW_H
#define MYELIN_KIT_CREW_H

#include "lib/kit/worker_internal.h"

void crew_start(struct worker *worker);
void crew_join(struct worker *worker); /* after lanes_close: until the last has left */
int crew_wanted(const struct worker *worker);
int crew_places(const struct worker *worker);
struct thread *crew_thread(const struct worker *worker, int place); /* it may be nobody's now: then it does nothing */

/* The handler thread itself says so; see wait_long in wait.h. */
void crew_rest(struct thread *thread);
void crew_resume(struct thread *thread);

/* handlers.c: runs a job to its end, or parks it. */
struct job;
void handler_work(struct thread *thread, struct job *job);

#endif
