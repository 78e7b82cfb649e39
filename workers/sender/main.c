/* myelin-sender: outbound federation: durable transaction queues and one-off requests (DESIGN §2, §10). */
#define MYELIN_DISPATCH
#include "proto/dispatch.h"
#include "workers/sender/address_book.h"
#include "workers/sender/delivery.h"
#include "workers/sender/distributor.h"
#include "workers/sender/peer_request.h"
#include "workers/sender/pool.h"

static enum fault start(struct worker *worker)
{
    destinations_start();
    address_book_start();
    peer_request_start(worker);
    delivery_start(worker);
    pool_start(worker, delivery_step);
    return distributor_start(worker);
}

static void stop(struct worker *worker)
{
    distributor_stop();
    pool_stop();
    distributor_finish();
    peer_request_stop();
}

static const struct worker_kind kind = {
    .service = SERVICE_sender,
    .routes = dispatch_routes,
    .messages = dispatch_messages,
    .start = start,
    .stop = stop,
};

int main(int argc, char **argv)
{
    return worker_main(&kind, argc, argv);
}
