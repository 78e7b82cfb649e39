/* What the kit's link needs of the wire beyond wire.h: messages made on one thread and sent by another. */
#ifndef MYELIN_KIT_WIRE_INTERNAL_H
#define MYELIN_KIT_WIRE_INTERNAL_H

#include <zmq.h>

#include "lib/kit/wire.h"

/* A whole multipart message, ready to be sent: handler threads pay for the copying, the link thread only hands over. */
struct parcel {
    struct parcel *next; /* for whoever queues it */
    size_t count;
    zmq_msg_t frames[];
};
/* header: NULL leaves the header frame out (publications). identity: absent leaves it out. */
struct parcel *parcel_create(struct slice identity, const struct wire_header *header, struct slice head, struct slices frames);
void parcel_destroy(struct parcel **parcel);
/* True: sent (or lost on the way with its peer) and *parcel cleared. False with errno as wire_send: still the caller's, whole. */
bool parcel_send(void *socket, struct parcel **parcel);
/* The frames before `first` are sent already: for tests, which kill the peer in between. */
bool parcel_send_from(void *socket, struct parcel **parcel, size_t first);

#endif
