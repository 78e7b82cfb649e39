/* The server-default push rules (Client-Server API "Predefined rules"). Pure. */
#ifndef MYELIN_ACCOUNTS_PUSH_DEFAULTS_H
#define MYELIN_ACCOUNTS_PUSH_DEFAULTS_H

#include "lib/base/json.h"

/* Content of m.push_rules: {"global":{"override":[…],"content":[],"room":[],"sender":[],"underride":[…]}} */
struct slice push_defaults(struct arena *arena, struct slice user_id);

#endif
