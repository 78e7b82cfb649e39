/* From the answer of send_join to a room of ours. */
#ifndef MYELIN_FEDERATION_JOIN_IMPORT_H
#define MYELIN_FEDERATION_JOIN_IMPORT_H

#include "workers/federation/template.h"

/* Checks and stores what the server answered, and puts the join on top. Repeats what meets a restarting worker. PEER: what came is
 * not this room. */
enum fault join_import(struct call *call, const struct templated *templated, struct slice room_id, struct slice *event_id);

#endif
