/* PDUs from elsewhere before they meet their room (Server-Server API "Checks performed on receipt of a PDU", steps 1 to 3): format,
 * signatures, content hash. An event whose content hash is wrong goes on redacted. */
#ifndef MYELIN_FEDERATION_PDU_CHECK_H
#define MYELIN_FEDERATION_PDU_CHECK_H

#include "lib/kit/call.h"
#include "lib/matrix/event.h"

struct checked_pdu {
    const struct room_version *version; /* in: NULL counts as refused already */
    struct slice text;                  /* in: JSON as received; out: canonical, what room_receive takes */
    struct event *event;                /* NULL when it could not be parsed */
    enum fault fault;                   /* OK, BAD_JSON, TOO_LARGE, INVALID_SIGNATURE, PEER (no key could be had) */
    const char *why;
};
/* All signatures in few trips to `keys`. Faults of single PDUs stand in them; the returned fault is ours. */
enum fault pdus_check(struct call *call, struct checked_pdu *pdus, size_t count);
/* As above for texts of one room. */
enum fault pdus_check_texts(struct call *call, const struct room_version *version, const struct json *array,
                            struct checked_pdu **out, size_t *count);

/* Did `server` sign our event? Its signatures are taken from `returned`, its answer; nothing else of that is. *out: the event's
 * bytes with a good one added. INVALID_SIGNATURE: there is none; PEER: the key could not be had. */
enum fault pdu_countersigned(struct call *call, const struct event *event, const struct json *returned, struct slice server,
                             struct slice *out);

#endif
