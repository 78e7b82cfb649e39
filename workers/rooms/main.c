/* myelin-rooms: room endpoints that are not plain writes (DESIGN §2): flows over several events or servers, and reads. */
#define MYELIN_DISPATCH
#include "lib/kit/worker.h"
#include "proto/dispatch.h"

static const struct worker_kind kind = {
    .service = SERVICE_rooms,
    .routes = dispatch_routes,
    .messages = dispatch_messages,
};

int main(int argc, char **argv)
{
    return worker_main(&kind, argc, argv);
}
