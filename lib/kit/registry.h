/* Who is alive (DESIGN §13). The supervisor of each machine or pod keeps the `worker` table (heartbeats for its children,
 * LISTEN/NOTIFY) and hands every child the whole live list over its control channel (descriptor 3): one database connection per
 * machine instead of one per process, and kinds without a database take part. Routers rendezvous-hash over the live workers of a
 * kind; two routers may briefly disagree, which the version checks make harmless. */
#ifndef MYELIN_KIT_REGISTRY_H
#define MYELIN_KIT_REGISTRY_H

#include "lib/base/slice.h"
#include "proto/service.h"

struct peer {
    uint64_t instance; /* random, new at each start of a process */
    enum service kind;
    char endpoint[128];  /* ROUTER: ipc://… or tcp://address:port */
    char publisher[128]; /* PUB; "" when the kind does not publish */
    char version[32];
    bool draining; /* finishes its calls, gets no new ones */
};
struct peers {
    uint64_t generation; /* grows with each change */
    size_t count;
    struct peer at[];
};

/* The weight of a peer for a key: the highest wins. The same on every machine. */
uint64_t rendezvous_weight(uint64_t key_hash, uint64_t instance);
/* The owner of the key among live, not draining peers of the kind; skip: instance not to choose (0: none), for retries. NULL:
 * nobody. */
const struct peer *peers_pick(const struct peers *peers, enum service kind, uint64_t key_hash, uint64_t skip);

#endif
