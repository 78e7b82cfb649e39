/* A job: one piece of work for the handler threads, from its arrival to its answer, parked or not (private to lib/kit). The table
 * of live jobs finds the one that a caller cancels. */
#ifndef MYELIN_KIT_JOB_H
#define MYELIN_KIT_JOB_H

#include "lib/kit/wire.h"
#include "lib/kit/worker_internal.h"

struct job {
    struct lane_item item; /* first */
    struct park_entry park;
    struct job *next, **link; /* of the table's chain */
    struct arena *arena;      /* the job itself and the frames of its message */
    struct wire_message message;
    int router; /* which socket it came from, and the answer goes to */
    int64_t received_us, deadline_ms;
    int64_t parked_at_ms, parked_ms; /* when it was parked last; how long so far */
    size_t bytes;
    const char *name; /* of the handler that parked it */
    atomic_bool is_cancelled;
    void (*own)(struct call *call, void *context); /* worker_enqueue; no message then */
    void *own_context;
};

struct jobs *jobs_create(void);
void jobs_destroy(struct jobs **jobs);
struct job *job_create(struct arena *arena); /* takes the arena over */
void jobs_add(struct jobs *jobs, struct job *job);
void jobs_end(struct jobs *jobs, struct job **job); /* out of the table, and freed */
/* Drops the job if it is parked, and lets a queued one be dropped when its turn comes. A running one goes on. */
void jobs_cancel(struct jobs *jobs, struct park *park, int router, struct slice identity, uint64_t correlation);
size_t jobs_count(struct jobs *jobs);
size_t jobs_bytes(struct jobs *jobs); /* of their messages */

#endif
