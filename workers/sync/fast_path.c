#include "workers/sync/fast_path.h"

enum fast_answer fast_path_run(struct call *call, const struct sync_request *request, struct slice *body, struct slices *topics)
{
    (void)call, (void)request, (void)body, (void)topics;
    return FAST_UNSURE;
}

struct fast_mark fast_path_mark(struct call *call)
{
    (void)call;
    return (struct fast_mark){0};
}

void fast_path_remember(struct call *call, const struct sync_request *request, const struct sync_work *work,
                        const struct fast_mark *mark, bool parked)
{
    (void)call, (void)request, (void)work, (void)mark, (void)parked;
}
