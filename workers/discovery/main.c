/* myelin-discovery: server name → addresses, Host, certificate name (DESIGN §10). */
#define MYELIN_DISPATCH
#include "proto/dispatch.h"
#include "workers/discovery/discovery.h"

static struct http_client *http;
static struct discovery *discovery;

static enum fault start(struct worker *worker)
{
    const struct settings *settings = worker_settings(worker);
    http = http_client_create(settings);
    discovery = discovery_create(&(struct discovery_options){.settings = settings, .http = http});
    return FAULT_OK;
}

static void stop(struct worker *worker)
{
    discovery_destroy(&discovery);
    http_client_destroy(&http);
}

enum fault answer_resolve(struct call *call, const struct resolve_request *request, struct resolve_reply *reply)
{
    return discovery_resolve(discovery, call->arena, request, call->deadline_ms, reply, &call->why);
}

static const struct worker_kind kind = {
    .service = SERVICE_discovery,
    .routes = dispatch_routes,
    .messages = dispatch_messages,
    .start = start,
    .stop = stop,
};

int main(int argc, char **argv)
{
    return worker_main(&kind, argc, argv);
}
