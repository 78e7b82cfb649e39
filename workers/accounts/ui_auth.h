/* User-interactive authentication (Client-Server API, section of that name): an endpoint asks for one more proof. Each of our flows
 * has one stage. */
#ifndef MYELIN_ACCOUNTS_UI_AUTH_H
#define MYELIN_ACCOUNTS_UI_AUTH_H

#include "lib/kit/call.h"

enum ui_stage { UI_DUMMY, UI_PASSWORD /* of the requester */ };

/* True: passed; call->json is the whole request then, also when the last one left out what the first said. False: *answer. */
bool ui_auth(struct call *call, enum ui_stage stage, struct reply *answer);
/* The same look without asking for proof: what the request says besides "auth", taken from its session when it only names one. */
enum fault ui_auth_recall(struct call *call);

#endif
