/* What a committed write batch tells the listeners: one event hint for each event, one membership hint for each local user
 * concerned. */
#ifndef MYELIN_EVENTS_PUBLISH_H
#define MYELIN_EVENTS_PUBLISH_H

#include "workers/events/room_write.h"

struct publication;
/* Before the commit: reads what the hints say of the state before (previous memberships, the servers to send to). */
enum fault publication_prepare(struct room_write *write, struct publication **out);
void publication_send(struct publication *publication, const struct room_write *write);

#endif
