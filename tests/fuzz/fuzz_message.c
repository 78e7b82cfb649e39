/* Messages and stream payloads from a hostile peer. Byte 0 chooses the message, byte 1's lowest bit request or reply; then come
 * frames, each with two bytes of length: the head first. What unpacks is packed again, and reads the same. */
#include "lib/base/ensure.h"
#include "lib/base/json.h"
#include "lib/kit/stream.h"
#include "lib/kit/wire.h"
#include "proto/message_fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FRAMES_MAX = 64 };

static struct slice take_frame(struct slice *rest)
{
    if (rest->len < 2) {
        struct slice last = *rest;
        rest->len = 0;
        return last;
    }
    size_t len = (unsigned char)rest->at[0] | (size_t)(unsigned char)rest->at[1] << 8;
    struct slice frame = slice_sub(*rest, 2, len);
    *rest = slice_sub(*rest, 2 + frame.len, SIZE_MAX);
    return frame;
}

/* All the code that reads bytes of others, one way. */
static void read_again(struct arena *arena, const struct message_facts *facts, bool reply, const struct packed *in,
                       const void *object)
{
    struct packed packed, again;
    const struct message_field *fields = message_fields(facts, reply);
    void *second = arena_alloc(arena, reply ? facts->reply_size : facts->request_size);
    message_pack(arena, fields, object, &packed);
    ensure(packed.frames.len <= in->frames.len);
    ensure(message_unpack(arena, fields, &packed, second));
    message_pack(arena, fields, second, &again);
    ensure(slice_eq(packed.head, again.head) && packed.frames.len == again.frames.len);
    struct slice json = message_to_json(arena, facts, reply, in);
    ensure(json_parse(arena, json, JSON_LAX, NULL));
    ensure(message_from_json(arena, facts, reply, json, &again) == FAULT_OK && slice_eq(packed.head, again.head));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct arena *arena = arena_create(64 << 20);
    size_t index = data[0];
    const struct message_facts *facts = message_at(index);
    bool reply = data[1] & 1;
    struct slice rest = slice_of(data + 2, size - 2);
    if (facts) {
        struct slice head = take_frame(&rest), frames[FRAMES_MAX];
        size_t count = 0;
        while (rest.len && count < FRAMES_MAX)
            frames[count++] = take_frame(&rest);
        struct packed in = {head, {frames, count}};
        void *object = arena_alloc(arena, reply ? facts->reply_size : facts->request_size);
        if ((reply ? facts->unpack_reply : facts->unpack_request)(arena, &in, object))
            read_again(arena, facts, reply, &in, object);
    } else if (index == 0xfe) {
        struct stream_event event, again;
        if (stream_event_unpack(arena, rest, &event)) {
            struct slice packed = stream_event_pack(arena, &event);
            ensure(stream_event_unpack(arena, packed, &again));
            ensure(slice_eq(packed, stream_event_pack(arena, &again)));
        }
    } else {
        struct wire_header header;
        uint8_t bytes[WIRE_HEADER_BYTES];
        if (wire_header_read(rest, &header))
            wire_header_write(bytes, &header);
    }
    arena_destroy(&arena);
    return 0;
}
