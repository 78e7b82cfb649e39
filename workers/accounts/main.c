/* myelin-accounts: users, their sessions, devices, keys, profiles and account data (DESIGN §2). */
#define MYELIN_DISPATCH
#include "lib/kit/sweep.h"
#include "proto/dispatch.h"
#include "workers/accounts/guests.h"
#include "workers/accounts/introduce.h"
#include "workers/accounts/password.h"
#include "workers/accounts/sweep.h"

static enum fault start(struct worker *worker)
{
    passwords_start(strcmp(worker_settings(worker)->password_cost, "cheap") == 0);
    introductions_start(worker);
    guests_start(worker);
    accounts_sweeps_start(worker);
    return FAULT_OK;
}

static const struct worker_kind kind = {
    .service = SERVICE_accounts,
    .routes = dispatch_routes,
    .messages = dispatch_messages,
    .start = start,
    .stop = sweeps_stop,
};

int main(int argc, char **argv)
{
    return worker_main(&kind, argc, argv);
}
