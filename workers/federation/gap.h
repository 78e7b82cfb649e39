/* Filling gaps: a live event whose prev or auth events are not here (Server-Server API "Backfilling and retrieving missing
 * events"). */
#ifndef MYELIN_FEDERATION_GAP_H
#define MYELIN_FEDERATION_GAP_H

#include "lib/matrix/event.h"
#include "lib/store/room_read.h"

/* Asks call->origin for what is missing before `event`, has it persisted, then the event itself. The result for that event: OK,
 * REJECTED, or why it could not be placed. Retryable ones other than PEER and MISSING_EVENTS are trouble of ours. */
enum fault gap_fill(struct call *call, const struct room_facts *room, struct event *event, struct slice *why);

#endif
