/* EDUs of a transaction: to the kind that owns them, without what the rooms' ACLs forbid. */
#ifndef MYELIN_FEDERATION_EDUS_H
#define MYELIN_FEDERATION_EDUS_H

#include "lib/kit/call.h"

enum { EDUS_MAX = 100 };
enum fault edus_pass_on(struct call *call, struct slice origin, const struct json *edus);

#endif
