/* What ephemeral units of other servers must look like. Pure. */
#ifndef MYELIN_SYNC_EDU_SHAPES_H
#define MYELIN_SYNC_EDU_SHAPES_H

#include "workers/sync/receipts.h"

/* A server speaks for its own users only. */
bool edu_speaks_for(struct slice origin, struct slice user_id);
/* The content of m.receipt, {room: {"m.read": {user: {"event_ids": […], "data": {…}}}}}: what of it is well made and of the
 * origin's own users. out has RECEIPTS_MAX places; what is beyond them is dropped. */
size_t edu_receipts(struct slice origin, const struct json *content, struct receipt *out);

#endif
