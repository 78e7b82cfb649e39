/* The bytes of the bus. The header's first three bytes (mark, major) never change, so that processes of any two versions can tell
 * each other that they do not match:
 *   0 'M'  1 'y'  2 major  3 minor  4 type  5 caller_rank  6 message:2  8 fault:2  10 –:2  12 timeout_ms:4
 *   16 correlation:8  24 lane:8  32 trace:16  48 –:8         little-endian; – is zero and ignored */
#include "lib/kit/wire_internal.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "lib/base/ensure.h"

/* ---- header */

static void put(uint8_t *out, uint64_t value, size_t bytes)
{
    uint64_t little = htole64(value);
    memcpy(out, &little, bytes);
}

static uint64_t get(const char *in, size_t bytes)
{
    uint64_t little = 0;
    memcpy(&little, in, bytes);
    return le64toh(little);
}

void wire_header_write(uint8_t out[WIRE_HEADER_BYTES], const struct wire_header *header)
{
    memset(out, 0, WIRE_HEADER_BYTES);
    out[0] = 'M';
    out[1] = 'y';
    out[2] = header->major;
    out[3] = header->minor;
    out[4] = header->type;
    out[5] = header->caller_rank;
    put(out + 6, header->message, 2);
    put(out + 8, header->fault, 2);
    put(out + 12, header->timeout_ms, 4);
    put(out + 16, header->correlation, 8);
    put(out + 24, header->lane, 8);
    memcpy(out + 32, header->trace, sizeof header->trace);
}

bool wire_header_read(struct slice frame, struct wire_header *out)
{
    if (frame.len < WIRE_HEADER_BYTES || frame.at[0] != 'M' || frame.at[1] != 'y')
        return false;
    struct wire_header header = {
        .major = (uint8_t)frame.at[2],
        .minor = (uint8_t)frame.at[3],
        .type = (uint8_t)frame.at[4],
        .caller_rank = (uint8_t)frame.at[5],
        .message = (uint16_t)get(frame.at + 6, 2),
        .fault = (uint16_t)get(frame.at + 8, 2),
        .timeout_ms = (uint32_t)get(frame.at + 12, 4),
        .correlation = get(frame.at + 16, 8),
        .lane = get(frame.at + 24, 8),
    };
    memcpy(header.trace, frame.at + 32, sizeof header.trace);
    /* A hello is read whatever its version: it is how we learn of a mismatch. */
    if (header.major != WIRE_MAJOR && header.type != WIRE_HELLO)
        return false;
    *out = header;
    return true;
}

/* ---- sending */

static void fill_frame(zmq_msg_t *frame, struct slice bytes)
{
    ensure(zmq_msg_init_size(frame, bytes.len) == 0);
    if (bytes.len)
        memcpy(zmq_msg_data(frame), bytes.at, bytes.len);
}

struct parcel *parcel_create(struct slice identity, const struct wire_header *header, struct slice head, struct slices frames)
{
    struct parcel *parcel = malloc(sizeof *parcel + (frames.len + 3) * sizeof parcel->frames[0]);
    ensure(parcel);
    parcel->next = NULL;
    parcel->count = 0;
    if (!slice_is_absent(identity))
        fill_frame(&parcel->frames[parcel->count++], identity);
    if (header) {
        uint8_t bytes[WIRE_HEADER_BYTES];
        wire_header_write(bytes, header);
        fill_frame(&parcel->frames[parcel->count++], slice_of(bytes, sizeof bytes));
    }
    fill_frame(&parcel->frames[parcel->count++], head);
    for (size_t i = 0; i < frames.len; i++)
        fill_frame(&parcel->frames[parcel->count++], frames.at[i]);
    return parcel;
}

void parcel_destroy(struct parcel **parcel)
{
    if (!*parcel)
        return;
    for (size_t i = 0; i < (*parcel)->count; i++)
        zmq_msg_close(&(*parcel)->frames[i]);
    free(*parcel);
    *parcel = NULL;
}

bool parcel_send_from(void *socket, struct parcel **parcel, size_t first)
{
    for (size_t i = first; i < (*parcel)->count; i++) {
        int flags = ZMQ_DONTWAIT | (i + 1 < (*parcel)->count ? ZMQ_SNDMORE : 0);
        int sent;
        do
            sent = zmq_msg_send(&(*parcel)->frames[i], socket, flags);
        while (sent < 0 && errno == EINTR);
        if (sent >= 0)
            continue;
        ensure(errno == EAGAIN || errno == EHOSTUNREACH);
        if (i == 0)
            return false;
        /* The high-water mark counts whole messages, so this is the peer's death between two of our frames: ZeroMQ has taken back
         * what it had, refuses this frame, and drops the others up to the last one. They must be offered, or the next message
         * would be taken for the rest of this one. To its caller it was sent and lost, which the connection's end tells. */
    }
    parcel_destroy(parcel);
    return true;
}

bool parcel_send(void *socket, struct parcel **parcel)
{
    return parcel_send_from(socket, parcel, 0);
}

bool wire_send(void *socket, const struct wire_message *message)
{
    struct parcel *parcel = parcel_create(message->identity, &message->header, message->body.head, message->body.frames);
    if (parcel_send(socket, &parcel))
        return true;
    int why = errno;
    parcel_destroy(&parcel);
    errno = why;
    return false;
}

/* ---- receiving */

enum { BYTES_MAX = 512 * 1024 * 1024 }; /* of one message, all frames */

static bool has_more(void *socket)
{
    int more = 0;
    size_t size = sizeof more;
    ensure(zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) == 0);
    return more != 0;
}

/* The rest of a message that is not wanted. */
static void drop_rest(void *socket)
{
    while (has_more(socket)) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        ensure(zmq_msg_recv(&frame, socket, 0) >= 0 || errno == EINTR);
        zmq_msg_close(&frame);
    }
}

static bool receive_frame(void *socket, struct arena *arena, int flags, struct slice *out)
{
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    int received;
    do
        received = zmq_msg_recv(&frame, socket, flags);
    while (received < 0 && errno == EINTR);
    if (received >= 0) {
        size_t len = zmq_msg_size(&frame);
        char *copy = arena_alloc_raw(arena, len);
        if (len)
            memcpy(copy, zmq_msg_data(&frame), len);
        *out = slice_of(copy, len);
    }
    int why = errno;
    zmq_msg_close(&frame);
    errno = why;
    return received >= 0;
}

static bool malformed(void *socket)
{
    drop_rest(socket);
    errno = EPROTO;
    return false;
}

/* All frames after the first, which is here already. */
static bool receive_rest(void *socket, struct arena *arena, size_t bytes, struct slices *out)
{
    size_t capacity = 4, count = 0;
    struct slice *frames = arena_alloc_raw(arena, capacity * sizeof *frames);
    while (has_more(socket)) {
        if (count == capacity) {
            frames = arena_grow(arena, frames, capacity * sizeof *frames, 2 * capacity * sizeof *frames);
            capacity *= 2;
        }
        if (count == WIRE_FRAMES_MAX || bytes > BYTES_MAX)
            return malformed(socket);
        ensure(receive_frame(socket, arena, 0, &frames[count])); /* all parts are there once the first is */
        bytes += frames[count++].len;
    }
    *out = (struct slices){frames, count};
    return true;
}

bool wire_receive(void *socket, struct arena *arena, bool router, struct wire_message *out)
{
    struct wire_message message = {.identity = SLICE_ABSENT};
    struct slice header;
    if (!receive_frame(socket, arena, ZMQ_DONTWAIT, router ? &message.identity : &header))
        return false;
    if (router) {
        if (!has_more(socket))
            return malformed(socket);
        ensure(receive_frame(socket, arena, 0, &header));
    }
    struct slices rest;
    if (!wire_header_read(header, &message.header))
        return malformed(socket);
    if (!receive_rest(socket, arena, header.len, &rest))
        return false;
    message.body.head = rest.len ? rest.at[0] : SLICE("");
    message.body.frames = rest.len ? (struct slices){rest.at + 1, rest.len - 1} : (struct slices){0};
    *out = message;
    return true;
}
