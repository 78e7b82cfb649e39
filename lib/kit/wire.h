/* The bytes between processes (DESIGN §5): ZeroMQ multipart [identity, on ROUTER sockets][header][head][raw frame]….
 * The header is fixed little-endian, so that it can be read without knowing the message. */
#ifndef MYELIN_KIT_WIRE_H
#define MYELIN_KIT_WIRE_H

#include "lib/base/arena.h"
#include "lib/kit/settings.h"
#include "proto/message.h"

enum { WIRE_MAJOR = 1, WIRE_MINOR = 0, WIRE_HEADER_BYTES = 56 };
enum { /* of one message; what is larger is refused as TOO_LARGE, by its sender already */
       WIRE_FRAMES_MAX = 200000,
       WIRE_BYTES_MAX = 512 * 1024 * 1024,
       WIRE_FRAME_BYTES_MAX = 256 * 1024 * 1024, /* a larger one would end its connection */
};
enum wire_type {
    WIRE_HELLO = 1, /* first on each connection, both ways; head: msgpack [major, minor, kind, instance, software version] */
    WIRE_REQUEST = 2,
    WIRE_REPLY = 3,  /* fault != 0: head is the `why` text */
    WIRE_CANCEL = 4, /* the caller went away (client disconnected): drop a parked or queued call */
};
struct wire_header {
    uint8_t major, minor;
    uint8_t type;
    uint16_t message;     /* enum message_id */
    uint16_t fault;       /* replies */
    uint64_t correlation; /* chosen by the caller */
    uint32_t timeout_ms;  /* what is left of the caller's deadline; expired work is dropped at dequeue */
    uint64_t lane;        /* slice_hash of the lane key; 0: no order */
    uint8_t caller_rank;  /* asserted to be below the callee's */
    uint8_t trace[16];
};
void wire_header_write(uint8_t out[WIRE_HEADER_BYTES], const struct wire_header *header);
bool wire_header_read(struct slice frame, struct wire_header *out); /* false: too short, or another major version */

struct wire_message {
    struct slice identity; /* ROUTER only */
    struct wire_header header;
    struct packed body;
};
/* All frames of one message without blocking. identity absent on DEALER sockets. False with errno EAGAIN/EHOSTUNREACH: not sent. */
bool wire_send(void *socket, const struct wire_message *message);
size_t wire_bytes(const struct packed *body);
bool wire_fits(const struct packed *body);
/* One whole message, copied into the arena. False with errno EAGAIN when there is none; EPROTO when it was malformed, EMSGSIZE when
 * it was too large: both are dropped, but of the latter *out has identity and header, so that its sender can be told. */
bool wire_receive(void *socket, struct arena *arena, bool router, struct wire_message *out);

/* Hellos: the head, and whether the answer to ours comes from whom we mean. An address may be stale: another process can be where
 * the registry's was. NULL: it does; else why not. */
struct slice wire_hello_head(struct arena *arena, enum service kind, uint64_t instance);
const char *wire_hello_objection(const struct wire_message *hello, enum service kind, uint64_t instance);

/* Socket options common to everyone: LINGER 0, heartbeats 1 s/3 s, IMMEDIATE, HWM, MAXMSGSIZE; CURVE when endpoint is tcp:// (keys
 * derived from settings->cluster_secret; server side checks client keys by ZAP). server: binds. */
bool wire_secure_socket(void *zmq_context, void *socket, const struct settings *settings, const char *endpoint, bool server);

#endif
