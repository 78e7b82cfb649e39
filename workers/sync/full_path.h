/* The SQL path of /sync: always right, for every request. */
#ifndef MYELIN_SYNC_FULL_PATH_H
#define MYELIN_SYNC_FULL_PATH_H

#include "workers/sync/work.h"

/* Reads everything that is new since request->since into work, and writes the answer. work->anything: is there something that is
 * worth an answer before the time is over? work->topics: what to park on. */
enum fault full_path_run(struct call *call, const struct sync_request *request, struct sync_work *work, struct slice *answer);

#endif
