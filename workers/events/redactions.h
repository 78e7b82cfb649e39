/* Which redactions take effect ("Handling redactions", room version 3 and later): the redaction stands in the DAG either way; it is
 * applied when its sender has the power to redact, or both senders are of one server. Targets may come after their redactions. */
#ifndef MYELIN_EVENTS_REDACTIONS_H
#define MYELIN_EVENTS_REDACTIONS_H

#include "workers/events/room_write.h"

struct redaction_effect {
    struct slice target_id;
    int64_t redaction_nid;
};
/* Finds the effects of a batch before it is sent: write->effects. */
enum fault redactions_prepare(struct room_write *write);
/* Whether the user may redact what others sent, by the current state. */
enum fault redaction_has_power(struct call *call, struct hot_room *room, struct slice redactor, bool *has);
void redactions_add(struct db_batch *batch, const struct room_write *write);

#endif
