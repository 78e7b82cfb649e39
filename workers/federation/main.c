/* myelin-federation: what other servers ask of our rooms, and what we ask of theirs to join, leave and invite (DESIGN §2, §10). */
#define MYELIN_DISPATCH
#include "lib/kit/sweep.h"
#include "proto/dispatch.h"
#include "workers/federation/alive.h"
#include "workers/federation/gate.h"
#include "workers/federation/sweep.h"

static enum fault start(struct worker *worker)
{
    alive_start();
    gates_start(worker);
    federation_sweeps_start(worker);
    return FAULT_OK;
}

static const struct worker_kind kind = {
    .service = SERVICE_federation,
    .routes = dispatch_routes,
    .messages = dispatch_messages,
    .start = start,
    .stop = sweeps_stop,
};

int main(int argc, char **argv)
{
    return worker_main(&kind, argc, argv);
}
