/* Rendezvous hashing over the live workers of a kind: each router computes the same weights, so they agree without talking, and
 * when a worker comes or goes only its own keys move. A dozen peers are walked faster than any ring is searched. */
#include "lib/kit/registry.h"

/* MurmurHash3's finisher over both numbers: neighbours in either spread over the whole range. */
uint64_t rendezvous_weight(uint64_t key_hash, uint64_t instance)
{
    uint64_t weight = key_hash ^ (instance * UINT64_C(0x9e3779b97f4a7c15));
    weight ^= weight >> 33;
    weight *= UINT64_C(0xff51afd7ed558ccd);
    weight ^= weight >> 33;
    weight *= UINT64_C(0xc4ceb9fe1a85ec53);
    weight ^= weight >> 33;
    return weight;
}

const struct peer *peers_pick(const struct peers *peers, enum service kind, uint64_t key_hash, uint64_t skip)
{
    const struct peer *best = NULL;
    uint64_t best_weight = 0;
    for (size_t i = 0; peers && i < peers->count; i++) {
        const struct peer *peer = &peers->at[i];
        if (peer->kind != kind || peer->draining || (skip && peer->instance == skip))
            continue;
        uint64_t weight = rendezvous_weight(key_hash, peer->instance);
        if (!best || weight > best_weight || (weight == best_weight && peer->instance > best->instance)) {
            best = peer;
            best_weight = weight;
        }
    }
    return best;
}
