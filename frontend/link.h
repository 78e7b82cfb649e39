/* One ZeroMQ connection to one live worker, owned by one loop. Opened when first needed, closed when the worker leaves the
 * registry. The only file that touches ZeroMQ sockets; README.md explains the pump. */
#ifndef MYELIN_FRONTEND_LINK_H
#define MYELIN_FRONTEND_LINK_H

#include "frontend/front.h"
#include "lib/kit/wire.h"

struct link {
    h2o_linklist_t link; /* in loop->links */
    struct loop *loop;
    uint64_t instance;
    enum service kind;
    bool up; /* its hello came: what we send leaves, and reaches whom we mean */
    bool was_up;
    int64_t opened_ms;
    h2o_linklist_t sent;    /* struct exchange: the worker has it */
    h2o_linklist_t waiting; /* struct exchange: as soon as the link is up, or can take more */

    void *socket, *monitor; /* DEALER, PAIR */
    h2o_socket_t *socket_events, *monitor_events;
    h2o_timeout_entry_t pump; /* drains again after a send */
    struct arena *inbound;
};

/* Opens it if need be; NULL when that failed (logged). */
struct link *link_to(struct loop *loop, const struct peer *peer);
struct link *link_find(struct loop *loop, uint64_t instance); /* does not open */
/* False: not now (not up, or the worker takes no more). */
bool link_send(struct link *link, const struct wire_message *message);
/* Up, or young enough to become so. */
bool link_is_hopeful(const struct link *link, int64_t now_ms);
/* Closes those whose worker is no longer listed; their exchanges are told. */
void links_prune(struct loop *loop, const struct peers *peers);
void links_close(struct loop *loop);

#endif
