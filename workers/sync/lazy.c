/* A table with two places per hash, 1 MiB, no locks: each place is one atomic word. A wrong hit needs equal 64-bit hashes. */
#include "workers/sync/lazy.h"

#include <stdatomic.h>

enum { PLACES = 1 << 17, LAST_TOKENS = 1 << 14 };

static _Atomic uint64_t sent[PLACES], last_tokens[LAST_TOKENS];

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a ^ (b * UINT64_C(0x9E3779B97F4A7C15))) + UINT64_C(0xD1B54A32D192ED03);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (x ^ (x >> 31)) | 1;
}

uint64_t lazy_hash(struct slice user_id, struct slice device_id, int64_t member_event_nid)
{
    return mix(mix(slice_hash(user_id), slice_hash(device_id)), (uint64_t)member_event_nid);
}

uint64_t lazy_speaker_hash(struct slice user_id, struct slice device_id, struct slice room_id, struct slice speaker)
{
    return mix(mix(mix(slice_hash(user_id), slice_hash(device_id)), slice_hash(room_id)), slice_hash(speaker));
}

bool lazy_was_sent(uint64_t hash)
{
    uint64_t at = hash % PLACES & ~UINT64_C(1);
    return atomic_load_explicit(&sent[at], memory_order_relaxed) == hash ||
           atomic_load_explicit(&sent[at + 1], memory_order_relaxed) == hash;
}

void lazy_note(uint64_t hash)
{
    uint64_t at = hash % PLACES & ~UINT64_C(1);
    if (lazy_was_sent(hash))
        return;
    uint64_t older = atomic_exchange_explicit(&sent[at], hash, memory_order_relaxed);
    atomic_store_explicit(&sent[at + 1], older, memory_order_relaxed);
}

bool lazy_is_repeated(struct slice user_id, struct slice device_id, struct slice since)
{
    uint64_t device = mix(slice_hash(user_id), slice_hash(device_id)), token = mix(device, slice_hash(since));
    return atomic_exchange_explicit(&last_tokens[device % LAST_TOKENS], token, memory_order_relaxed) == token;
}
