/* A changed name or picture, carried to the user's member event in every room he is in. */
#ifndef MYELIN_ACCOUNTS_PROFILE_SPREAD_H
#define MYELIN_ACCOUNTS_PROFILE_SPREAD_H

#include "lib/kit/call.h"

/* Rooms that have it already, or refuse, are passed over: so it can be repeated. UNAVAILABLE, DEADLINE: not all were reached. */
enum fault profile_spread(struct call *call, struct slice user_id);

#endif
