/* A bucket is one number, the "theoretical arrival time" of the generic cell rate algorithm: each request moves it one interval
 * into the future, and a request is refused when it lies more than `burst` intervals ahead of now. That is a token bucket
 * without a refill to compute, in 8 bytes besides its key.
 * Buckets live in a table of sets of four, one lock per 64 sets. Two keys that fall on one set share nothing. */
#include "frontend/limits.h"

#include "lib/base/ensure.h"

#include <pthread.h>
#include <stdlib.h>

enum { SETS = 8192, WAYS = 4, LOCKS = 128 };

struct bucket {
    uint64_t key;       /* 0: free */
    int64_t full_at_us; /* when it will be full again: the theoretical arrival time */
};
struct limits {
    pthread_mutex_t locks[LOCKS];
    struct bucket sets[SETS][WAYS]; /* untouched pages cost nothing */
};

/* Requests per second and how many may come at once. Addresses are shared by households and offices, so they get more than one
 * device would need; a token belongs to one device. 0: not limited by this key. */
struct allowance {
    double per_second;
    int burst;
};
static const struct {
    struct allowance address, token;
} allowances[RATE_COUNT] = {
    [RATE_NONE] = {{0, 0}, {0, 0}},         [RATE_READ] = {{300, 3000}, {50, 500}},    [RATE_SEND] = {{200, 1000}, {20, 100}},
    [RATE_LOGIN] = {{1, 20}, {0, 0}},       [RATE_REGISTER] = {{0.5, 20}, {0, 0}},     [RATE_JOIN] = {{20, 100}, {1, 20}},
    [RATE_SYNC] = {{500, 3000}, {20, 100}}, [RATE_FEDERATION] = {{500, 3000}, {0, 0}},
};

struct limits *limits_create(void)
{
    struct limits *limits = calloc(1, sizeof *limits);
    ensure(limits);
    for (int i = 0; i < LOCKS; i++)
        pthread_mutex_init(&limits->locks[i], NULL);
    return limits;
}

void limits_destroy(struct limits **limits)
{
    if (*limits)
        for (int i = 0; i < LOCKS; i++)
            pthread_mutex_destroy(&(*limits)->locks[i]);
    free(*limits);
    *limits = NULL;
}

/* The key's bucket, or the one of its set that is nearest to full: forgetting that one costs least. */
static struct bucket *bucket_find(struct bucket set[WAYS], uint64_t key)
{
    struct bucket *oldest = &set[0];
    for (int i = 0; i < WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
        if (set[i].full_at_us < oldest->full_at_us)
            oldest = &set[i];
    }
    *oldest = (struct bucket){.key = key};
    return oldest;
}

static int64_t bucket_take(struct limits *limits, uint64_t key, struct allowance allowance, int64_t now_us)
{
    if (allowance.burst == 0)
        return 0;
    int64_t interval_us = (int64_t)(1e6 / allowance.per_second);
    size_t index = key % SETS;
    pthread_mutex_t *lock = &limits->locks[index % LOCKS];
    pthread_mutex_lock(lock);
    struct bucket *bucket = bucket_find(limits->sets[index], key ? key : 1);
    int64_t full_at_us = bucket->full_at_us > now_us ? bucket->full_at_us : now_us;
    int64_t ahead_us = full_at_us + interval_us - now_us - interval_us * allowance.burst;
    if (ahead_us <= 0)
        bucket->full_at_us = full_at_us + interval_us;
    pthread_mutex_unlock(lock);
    return ahead_us <= 0 ? 0 : (ahead_us + 999) / 1000;
}

static uint64_t key_of(uint64_t who, enum route_rate rate, bool is_token)
{
    uint64_t key = (who ^ ((uint64_t)rate << 1 | is_token) * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);
    return key ^ key >> 32;
}

int64_t limits_take(struct limits *limits, enum route_rate rate, uint64_t address_key, uint64_t token_key, int64_t now_us)
{
    int64_t wait_ms = bucket_take(limits, key_of(address_key, rate, false), allowances[rate].address, now_us);
    if (wait_ms == 0 && token_key)
        wait_ms = bucket_take(limits, key_of(token_key, rate, true), allowances[rate].token, now_us);
    return wait_ms;
}
