/* GET /_matrix/key/v2/server (Server-Server API "Publishing Keys"); see own_keys.h. The signer is asked for its public keys once a
 * minute, so that a rotation shows soon; when it is away, the last answer is still served. */
#include "workers/keys/own_keys.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/base/base64.h"
#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/matrix/event.h"
#include "proto/dispatch.h"
#include "proto/stubs.h"

enum { LIFE_MS = 24 * 3600 * 1000, LOOK_AGAIN_MS = 60 * 1000, WAIT_MS = 5000 };

static const char *const unsigned_parts[] = {"signatures", "unsigned", NULL};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct { /* guarded by lock */
    char *answer;
    size_t len;
    uint64_t keys_hash;
    int64_t made_ms, looked_ms; /* monotonic */
} own;

/* Absent when there is none, or when it is not fresh and `fresh` is asked for. */
static struct slice own_copy(struct call *call, bool fresh)
{
    char *copied = NULL; /* nothing is taken from the arena under the lock */
    size_t len = 0;
    int64_t now_ms = clock_monotonic_ms();
    pthread_mutex_lock(&lock);
    if (own.answer && (!fresh || (now_ms < own.made_ms + LIFE_MS / 2 && now_ms < own.looked_ms + LOOK_AGAIN_MS))) {
        len = own.len;
        copied = malloc(len);
        ensure(copied);
        memcpy(copied, own.answer, len);
    }
    pthread_mutex_unlock(&lock);
    struct slice out = copied ? arena_copy(call->arena, slice_of(copied, len)) : SLICE_ABSENT;
    free(copied);
    return out;
}

/* True: the answer we have says the same and is young enough. */
static bool own_is_current(uint64_t keys_hash)
{
    int64_t now_ms = clock_monotonic_ms();
    pthread_mutex_lock(&lock);
    bool current = own.answer && own.keys_hash == keys_hash && now_ms < own.made_ms + LIFE_MS / 2;
    if (current)
        own.looked_ms = now_ms;
    pthread_mutex_unlock(&lock);
    return current;
}

static void own_set(struct slice answer, uint64_t keys_hash)
{
    char *copied = malloc(answer.len);
    ensure(copied);
    memcpy(copied, answer.at, answer.len);
    pthread_mutex_lock(&lock);
    free(own.answer);
    own.answer = copied;
    own.len = answer.len;
    own.keys_hash = keys_hash;
    own.made_ms = own.looked_ms = clock_monotonic_ms();
    pthread_mutex_unlock(&lock);
}

/* The answer without signatures. */
static struct slice write_answer(struct arena *arena, const struct signing_keys_reply *keys, bool with_time)
{
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    for (int old = 1; old >= 0; old--) { /* in canonical order */
        json_put_object(&w, old ? "old_verify_keys" : "verify_keys");
        for (size_t i = 0; i < keys->key_ids.len && i < keys->public_keys.len; i++) {
            int64_t expired_ts = i < keys->expired_ts.len ? keys->expired_ts.at[i] : 0;
            if ((expired_ts != 0) != old)
                continue;
            json_key(&w, keys->key_ids.at[i]);
            json_begin_object(&w);
            if (expired_ts)
                json_put_i64(&w, "expired_ts", expired_ts);
            json_put_string(&w, "key", keys->public_keys.at[i]);
            json_end_object(&w);
        }
        json_end_object(&w);
    }
    json_put_string(&w, "server_name", server_name());
    if (with_time)
        json_put_i64(&w, "valid_until_ts", clock_wall_ms() + LIFE_MS);
    json_end_object(&w);
    return json_canonical(arena, json_parse(arena, json_done(&w), JSON_CANONICAL, NULL), NULL);
}

enum fault own_keys_sign(struct call *call, struct slice json, struct slice *out)
{
    const struct json *value = json_parse(call->arena, json, JSON_CANONICAL, NULL);
    struct slice payload = json_canonical(call->arena, value, unsigned_parts);
    struct sign_request request = {.payloads = {&payload, 1}};
    struct sign_reply reply;
    enum fault fault = call_sign(call, SLICE_ABSENT, &request, &reply);
    if (fault || reply.signatures.len != 1)
        return fault ? fault : FAULT_UNAVAILABLE;
    *out = event_add_signature(call->arena, json, server_name(), reply.key_id, reply.signatures.at[0]);
    return slice_is_absent(*out) ? FAULT_INTERNAL : FAULT_OK;
}

static enum fault make_answer(struct call *call, struct slice *json)
{
    struct signing_keys_request request = {0};
    struct signing_keys_reply keys;
    enum fault fault = call_signing_keys(call, SLICE_ABSENT, &request, &keys);
    if (fault)
        return fault;
    uint64_t keys_hash = slice_hash(write_answer(call->arena, &keys, false));
    if (own_is_current(keys_hash)) {
        *json = own_copy(call, false);
        return FAULT_OK;
    }
    if ((fault = own_keys_sign(call, write_answer(call->arena, &keys, true), json)))
        return fault;
    own_set(*json, keys_hash);
    return FAULT_OK;
}

enum fault own_keys_answer(struct call *call, struct slice *json)
{
    *json = own_copy(call, true);
    if (!slice_is_absent(*json))
        return FAULT_OK;
    int64_t deadline_ms = call->deadline_ms, within_ms = clock_monotonic_ms() + WAIT_MS;
    call->deadline_ms = within_ms < deadline_ms ? within_ms : deadline_ms;
    enum fault fault = make_answer(call, json);
    call->deadline_ms = deadline_ms;
    if (fault)
        *json = own_copy(call, false);
    return slice_is_absent(*json) ? fault : FAULT_OK;
}

enum fault own_keys_get(struct call *call, const struct verify_key **keys, size_t *count)
{
    struct slice json;
    struct key_answer answer;
    const char *why;
    enum fault fault = own_keys_answer(call, &json);
    if (fault)
        return fault;
    if (!key_answer_read(call->arena, json, server_name(), clock_wall_ms(), &answer, &why)) {
        call->why = slice_from_cstr(why);
        return FAULT_INTERNAL;
    }
    *keys = answer.keys;
    *count = answer.count;
    return FAULT_OK;
}

struct reply server_keys(struct call *call)
{
    struct slice json;
    enum fault fault = own_keys_answer(call, &json);
    return fault ? call_fail(call, fault, NULL) : reply_raw_json(json);
}
