/* message verify: signatures in a batch. First with what is known; then one round of questions to all servers whose keys are
 * missing or not good at the time asked for; then again. Checking takes about 50 µs a signature: many are spread over threads. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "lib/base/base64.h"
#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/map.h"
#include "lib/kit/metrics.h"
#include "lib/matrix/ed25519.h"
#include "lib/matrix/ids.h"
#include "proto/dispatch.h"
#include "workers/keys/key_fetch.h"
#include "workers/keys/own_keys.h"

enum { MANY = 64, HELPERS_MAX = 7, HELPER_STACK_BYTES = 256 * 1024 };

/* What a batch says of one server. */
struct signer {
    struct slice name;
    const struct verify_key *keys;
    size_t count;
};
struct check { /* one entry of the batch */
    struct signer *signer;
    struct slice public_key, signature, message; /* public_key absent: nothing to check with */
    enum fault result;
};

/* ---- checking, on several threads when there is much to do */

struct work {
    struct check *checks;
    size_t count;
    atomic_size_t next;
};

static void *check_some(void *context)
{
    enum { AT_ONCE = 8 };
    struct work *work = context;
    for (size_t at; (at = atomic_fetch_add(&work->next, AT_ONCE)) < work->count;) {
        for (size_t i = at; i < at + AT_ONCE && i < work->count; i++) {
            struct check *check = &work->checks[i];
            if (!slice_is_absent(check->public_key))
                check->result =
                    ed25519_verify(check->public_key, check->signature, check->message) ? FAULT_OK : FAULT_INVALID_SIGNATURE;
        }
    }
    return NULL;
}

static void check_all(struct check *checks, size_t count)
{
    struct work work = {.checks = checks, .count = count};
    pthread_t helpers[HELPERS_MAX];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int started = 0;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, HELPER_STACK_BYTES);
    while (count >= MANY && started < HELPERS_MAX && started + 1 < cores &&
           pthread_create(&helpers[started], &attributes, check_some, &work) == 0)
        started++;
    pthread_attr_destroy(&attributes);
    check_some(&work);
    while (started)
        pthread_join(helpers[--started], NULL);
}

/* ---- whose keys */

static void look_up(struct call *call, struct signer *signer)
{
    const struct key_record *record = key_record_get(call, signer->name);
    signer->keys = record->keys;
    signer->count = record->count;
}

static struct signer *signers_of(struct call *call, const struct verify_request *request, struct check *checks, size_t *count)
{
    struct signer *signers = arena_new_array(call->arena, request->servers.len, struct signer);
    struct map *by_name = map_create(call->arena);
    *count = 0;
    for (size_t i = 0; i < request->servers.len; i++) {
        struct slice name = request->servers.at[i];
        struct signer *signer = map_get(by_name, name);
        if (!signer) {
            signer = &signers[(*count)++];
            signer->name = name;
            map_put(by_name, name, signer);
        }
        checks[i].signer = signer;
    }
    return signers;
}

/* The key of an entry, if it is good at the entry's time. *known: there is one of that id, good or not. */
static struct slice good_key(const struct verify_request *request, size_t i, const struct signer *signer, bool *known)
{
    const struct verify_key *key = verify_key_find(signer->keys, signer->count, request->key_ids.at[i]);
    *known = key != NULL;
    bool good = key && !(request->requests && key->is_old) && verify_key_is_good_at(key, request->valid_at.at[i]);
    return good ? key->public_key : SLICE_ABSENT;
}

/* Servers of entries that cannot be checked yet, and that may be asked now. */
static struct slices servers_to_ask(struct call *call, const struct verify_request *request, struct check *checks)
{
    struct slice *servers = arena_new_array(call->arena, request->servers.len, struct slice);
    struct map *chosen = map_create(call->arena);
    size_t count = 0;
    int64_t now_ms = clock_wall_ms();
    for (size_t i = 0; i < request->servers.len; i++) {
        const struct signer *signer = checks[i].signer;
        bool known;
        checks[i].public_key = good_key(request, i, signer, &known);
        if (!slice_is_absent(checks[i].public_key) || slice_eq(signer->name, server_name()) ||
            !server_name_is_valid(signer->name) || map_has(chosen, signer->name))
            continue;
        const struct key_record *record = key_record_get(call, signer->name);
        if (record->asked_ms && !key_record_may_ask(record, now_ms))
            continue;
        map_put(chosen, signer->name, NULL);
        servers[count++] = signer->name;
    }
    return (struct slices){servers, count};
}

/* What is left without a key: a wrong time is the signer's fault, a missing key may be ours. */
static void settle(const struct verify_request *request, struct check *checks)
{
    for (size_t i = 0; i < request->servers.len; i++) {
        bool known;
        checks[i].public_key = good_key(request, i, checks[i].signer, &known);
        checks[i].result = known ? FAULT_INVALID_SIGNATURE : FAULT_PEER;
    }
}

static enum fault own_signer(struct call *call, struct signer *signers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(signers[i].name, server_name()))
            return own_keys_get(call, &signers[i].keys, &signers[i].count);
    }
    return FAULT_OK;
}

enum fault answer_verify(struct call *call, const struct verify_request *request, struct verify_reply *reply)
{
    size_t count = request->servers.len, signer_count;
    if (request->key_ids.len != count || request->signatures.len != count || request->messages.len != count ||
        request->valid_at.len != count)
        return FAULT_INVALID_PARAM;
    struct check *checks = arena_new_array(call->arena, count, struct check);
    struct signer *signers = signers_of(call, request, checks, &signer_count);
    for (size_t i = 0; i < signer_count; i++) {
        if (!slice_eq(signers[i].name, server_name()))
            look_up(call, &signers[i]);
    }
    enum fault fault = own_signer(call, signers, signer_count);
    if (fault)
        return fault;
    struct slices servers = servers_to_ask(call, request, checks);
    if (servers.len) {
        keys_fetch(call, FETCH_TO_VERIFY, servers);
        for (size_t i = 0; i < signer_count; i++) {
            if (!slice_eq(signers[i].name, server_name()))
                look_up(call, &signers[i]);
        }
    }
    settle(request, checks);
    int64_t *results = arena_new_array(call->arena, count, int64_t);
    for (size_t i = 0; i < count; i++) {
        checks[i].signature = base64_decode(call->arena, request->signatures.at[i]);
        checks[i].message = request->messages.at[i];
    }
    check_all(checks, count);
    for (size_t i = 0; i < count; i++)
        results[i] = checks[i].result;
    reply->results = (struct i64s){results, count};
    return FAULT_OK;
}
