/* myelin-signing: holds the server's private keys in locked memory, signs, and can do nothing else (DESIGN §2, §14). */
#define MYELIN_DISPATCH
#include "proto/dispatch.h"
#include "workers/signing/signing.h"

static const struct worker_kind kind = {
    .service = SERVICE_signing,
    .routes = dispatch_routes,
    .messages = dispatch_messages,
    .start = signing_start,
    .seal = signing_seal,
    .stop = signing_stop,
};

int main(int argc, char **argv)
{
    return worker_main(&kind, argc, argv);
}
