/* A worker process: one link thread that owns the sockets, N handler threads (DESIGN §6). main.c of a kind is about 20 lines:
 *   static const struct worker_kind kind = { SERVICE_rooms, .routes = …, .messages = …, .start = rooms_start };
 *   int main(int argc, char **argv) { return worker_main(&kind, argc, argv); } */
#ifndef MYELIN_KIT_WORKER_H
#define MYELIN_KIT_WORKER_H

#include "lib/kit/call.h"
#include "lib/kit/registry.h"
#include "lib/kit/settings.h"
#include "lib/kit/stream.h"

struct worker_route {
    const char *handler; /* as in routes.def */
    route_handler *run;
};
struct worker_message {
    enum message_id id;
    message_handler *run;
};
struct worker_kind {
    enum service service;
    const struct worker_route *routes;     /* ends with {NULL} ; proto/dispatch.h makes it from routes.def */
    const struct worker_message *messages; /* ends with {0} */
    /* After settings, registry and database are there, before the first call; may start threads and listen to streams. */
    enum fault (*start)(struct worker *worker);
    /* A sandbox of the kind's own, put on last, when all descriptors and libraries are in place; NULL: lib/kit/sandbox.h. */
    void (*seal)(struct worker *worker);
    void (*stop)(struct worker *worker); /* after the last call, for worker's own threads; may be NULL */
};

int worker_main(const struct worker_kind *kind, int argc, char **argv);

enum service worker_service(const struct worker *worker);
uint64_t worker_instance(const struct worker *worker);
const struct settings *worker_settings(const struct worker *worker);
struct db_pool *worker_db(struct worker *worker); /* NULL for kinds without one */
/* The live list now; release when done (it is shared, not copied). */
const struct peers *worker_peers(struct worker *worker);
void worker_peers_release(const struct peers *peers);
bool worker_is_draining(const struct worker *worker);

/* A call of our own for background threads (sender's actors, key refresh): arena, deadline, trace id. The thread owns it. */
struct call *worker_call_begin(struct worker *worker, int64_t timeout_ms);
void worker_call_end(struct call **call);
/* Runs job(context) on the handler threads in the lane of key, after those before it. Any thread. False when draining. */
bool worker_enqueue(struct worker *worker, struct slice lane, void (*job)(struct call *call, void *context), void *context);

/* Slots: work that must have one owner in the whole cluster (DESIGN §13). 64 per kind, held by session advisory locks on a
 * connection of their own; rendezvous decides who tries for which. changed runs on the slot thread. Call from start. */
enum { SLOT_COUNT = 64 };
typedef void slots_changed(struct worker *worker, uint64_t owned /* bit per slot */, void *context);
enum fault worker_slots(struct worker *worker, slots_changed *changed, void *context);
int slot_of(struct slice key);

#endif
