/* myelin-sync: /sync with its parked long polls, typing, receipts, presence (DESIGN §11; README.md in this folder). */
#define MYELIN_DISPATCH
#include "lib/kit/worker.h"
#include "proto/dispatch.h"
#include "workers/sync/listen.h"

static const struct worker_kind kind = {
    .service = SERVICE_sync,
    .routes = dispatch_routes,
    .messages = dispatch_messages,
    .start = sync_start,
    .stop = sync_stop,
};

int main(int argc, char **argv)
{
    return worker_main(&kind, argc, argv);
}
