/* The fast path of /sync: answers from memory, without SQL, or says that it is not sure (README.md, "Two paths"). */
#ifndef MYELIN_SYNC_FAST_PATH_H
#define MYELIN_SYNC_FAST_PATH_H

#include "workers/sync/work.h"

enum fast_answer { FAST_UNSURE, FAST_NOTHING, FAST_TOLD };

/* NOTHING: body is the empty answer (for a time that is over), topics are what to park on. TOLD: body. */
enum fast_answer fast_path_run(struct call *call, const struct sync_request *request, struct slice *body, struct slices *topics);

/* Taken before the SQL path reads; what is heard later than it is not in its answer. */
struct fast_mark {
    int64_t heard;
};
struct fast_mark fast_path_mark(void);
/* The SQL path answered, or (parked) found nothing and keeps the client's token. */
void fast_path_remember(const struct sync_request *request, const struct sync_work *work, const struct fast_mark *mark,
                        bool parked);

void fast_path_start(size_t limit_bytes);

#endif
