/* messages sign and signing_keys: all that this process answers. */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/kit/metrics.h"
#include "proto/dispatch.h"
#include "workers/signing/keys.h"
#include "workers/signing/signing.h"

static struct signing_keys *keys;
static struct metric *signatures, *latency;

enum fault signing_start(struct worker *worker)
{
    const struct settings *settings = worker_settings(worker);
    struct arena *arena = arena_create(1 << 20);
    const char *error, *path = settings->signing_key_file[0] ? settings->signing_key_file
                                                             : arena_printf(arena, "%s/signing.key", settings->data_folder).at;
    keys = signing_keys_load(arena, path, &error);
    if (keys)
        log_event(LOG_INFO, "signing keys loaded", LOG_STR("current", signing_key_id(keys, 0)),
                  LOG_I64("keys", (int64_t)signing_keys_count(keys)));
    else
        log_event(LOG_ERROR, "no signing key", LOG_CSTR("why", error));
    arena_destroy(&arena);
    signatures = metric_counter("myelin_signing_signatures_total", "Payloads signed", NULL);
    latency = metric_histogram_ms("myelin_signing_batch_milliseconds", "Time to sign one batch", NULL);
    return keys ? FAULT_OK : FAULT_INTERNAL;
}

void signing_stop(struct worker *worker)
{
    signing_keys_destroy(&keys);
}

enum fault answer_sign(struct call *call, const struct sign_request *request, struct sign_reply *reply)
{
    int64_t start_us = clock_monotonic_us();
    struct slice *made = arena_new_array(call->arena, request->payloads.len, struct slice);
    for (size_t i = 0; i < request->payloads.len; i++)
        made[i] = signing_keys_sign(keys, call->arena, request->payloads.at[i]);
    reply->key_id = signing_key_id(keys, 0);
    reply->signatures = (struct slices){made, request->payloads.len};
    metric_add(signatures, (int64_t)request->payloads.len);
    metric_observe_us(latency, clock_monotonic_us() - start_us);
    return FAULT_OK;
}

enum fault answer_signing_keys(struct call *call, const struct signing_keys_request *request, struct signing_keys_reply *reply)
{
    size_t count = signing_keys_count(keys);
    struct slice *key_ids = arena_new_array(call->arena, count, struct slice);
    struct slice *public_keys = arena_new_array(call->arena, count, struct slice);
    int64_t *expired_ts = arena_new_array(call->arena, count, int64_t);
    for (size_t i = 0; i < count; i++) {
        key_ids[i] = signing_key_id(keys, i);
        public_keys[i] = signing_key_public(keys, i);
        expired_ts[i] = signing_key_expired_ts(keys, i);
    }
    reply->key_ids = (struct slices){key_ids, count};
    reply->public_keys = (struct slices){public_keys, count};
    reply->expired_ts = (struct i64s){expired_ts, count};
    return FAULT_OK;
}
