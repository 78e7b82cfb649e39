/* Events as clients see them: redactions applied, unsigned filled (age, transaction_id for the sending device, redacted_because,
 * prev_content and replaces_state for state, membership of the asking user). */
#ifndef MYELIN_STORE_RENDER_H
#define MYELIN_STORE_RENDER_H

#include "lib/store/event_row.h"

struct render_for {
    struct slice user_id, device_id; /* of the reader: transaction ids are shown to the device that sent */
    const struct slice *memberships; /* the reader's at each row, in the rows' order; NULL: left out */
    bool omit_room_id;               /* /sync: the room is the key around it */
    bool federation_format;          /* filter event_format=federation: the PDU itself */
};
/* Loads in one trip what the rows need (redactions, previous state, transaction ids); then event_render writes each. */
struct render_batch;
enum fault render_prepare(struct call *call, const struct event_rows *rows, const struct render_for *reader,
                          struct render_batch **out);
void event_render(struct render_batch *batch, struct json_writer *w, const struct event_row *row);
/* {type, state_key, sender, content} and nothing else: stripped state of invites. */
void event_render_stripped(struct json_writer *w, const struct event *event);

#endif
