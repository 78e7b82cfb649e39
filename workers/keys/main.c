/* myelin-keys: publishes our keys, fetches, caches and vouches for those of others (DESIGN §2, §10). */
#define MYELIN_DISPATCH
#include "lib/kit/sweep.h"
#include "proto/dispatch.h"
#include "workers/keys/key_cache.h"
#include "workers/keys/key_fetch.h"
#include "workers/keys/sweep.h"

static enum fault start(struct worker *worker)
{
    key_cache_start();
    key_fetch_start(worker);
    keys_sweeps_start(worker);
    return FAULT_OK;
}

static const struct worker_kind kind = {
    .service = SERVICE_keys,
    .routes = dispatch_routes,
    .messages = dispatch_messages,
    .start = start,
    .stop = sweeps_stop,
};

int main(int argc, char **argv)
{
    return worker_main(&kind, argc, argv);
}
