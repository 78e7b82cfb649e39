/* The messages of messages.def: a table of fields for each request and reply, and packing that walks it. One msgpack array per
 * body, fields in their order. Raw fields travel as frames of their own and leave only a trace in the array: nil (absent) or a
 * count, and for lists with absent entries a boolean per entry. A longer array comes from a newer version: what we do not know is
 * skipped. A shorter one comes from an older version: what it does not have reads as zero and absent. */
#include "proto/message.h"

#include "lib/base/strbuf.h"
#include "proto/message_fields.h"
#include "proto/pack.h"

/* ---- tables: name_request_fields() and name_reply_fields() */

#define REQUEST(name, id, kind) \
    static const struct message_field *name##_request_fields(void) \
    { \
        typedef struct name##_request object; \
        static const struct message_field fields[] = {
#define REPLY(name) \
    static const struct message_field *name##_reply_fields(void) \
    { \
        typedef struct name##_reply object; \
        static const struct message_field fields[] = {
#define FIELD(type, field) {type, offsetof(object, field), #field},
#define F_I64(field) FIELD(FIELD_I64, field)
#define F_BOOL(field) FIELD(FIELD_BOOL, field)
#define F_SLICE(field) FIELD(FIELD_SLICE, field)
#define F_SLICES(field) FIELD(FIELD_SLICES, field)
#define F_I64S(field) FIELD(FIELD_I64S, field)
#define F_RAW(field) FIELD(FIELD_RAW, field)
#define F_RAWS(field) FIELD(FIELD_RAWS, field)
/* clang-format off */
#define END {FIELD_END, offsetof(object, end_), NULL}}; return fields; }
#include "proto/messages.def"
#include "proto/message_undef.h"
/* clang-format on */

/* ---- packing */

static void pack_raws(struct strbuf *head, struct slices all, struct slice *frames, size_t *frame_count)
{
    if (!all.at) {
        pack_nil(head);
        return;
    }
    size_t present = 0;
    for (size_t i = 0; i < all.len; i++) {
        if (!slice_is_absent(all.at[i]))
            frames[(*frame_count)++] = all.at[i], present++;
    }
    if (present == all.len) {
        pack_i64(head, (int64_t)all.len);
        return;
    }
    pack_array(head, all.len);
    for (size_t i = 0; i < all.len; i++)
        pack_bool(head, !slice_is_absent(all.at[i]));
}

static size_t frames_at_most(const struct message_field *fields, const char *object)
{
    size_t count = 0;
    for (; fields->type; fields++) {
        if (fields->type == FIELD_RAW)
            count++;
        else if (fields->type == FIELD_RAWS)
            count += ((const struct slices *)(const void *)(object + fields->offset))->len;
    }
    return count;
}

void message_pack(struct arena *arena, const struct message_field *fields, const void *object, struct packed *out)
{
    struct strbuf head = strbuf_in(arena);
    size_t count = 0, frame_count = 0;
    while (fields[count].type)
        count++;
    struct slice *frames = arena_new_array(arena, frames_at_most(fields, object), struct slice);
    pack_array(&head, count);
    for (; fields->type; fields++) {
        const void *value = (const char *)object + fields->offset;
        switch (fields->type) {
        case FIELD_I64:
            pack_i64(&head, *(const int64_t *)value);
            break;
        case FIELD_BOOL:
            pack_bool(&head, *(const bool *)value);
            break;
        case FIELD_SLICE:
            pack_slice(&head, *(const struct slice *)value);
            break;
        case FIELD_SLICES:
            pack_slices(&head, *(const struct slices *)value);
            break;
        case FIELD_I64S:
            pack_i64s(&head, *(const struct i64s *)value);
            break;
        case FIELD_RAW:
            if (slice_is_absent(*(const struct slice *)value)) {
                pack_nil(&head);
            } else {
                pack_i64(&head, 1);
                frames[frame_count++] = *(const struct slice *)value;
            }
            break;
        case FIELD_RAWS:
            pack_raws(&head, *(const struct slices *)value, frames, &frame_count);
            break;
        case FIELD_END:
            break;
        }
    }
    *out = (struct packed){strbuf_slice(&head), {frames, frame_count}};
}

/* ---- unpacking */

struct frames {
    const struct slice *at;
    size_t left;
};

/* An empty frame is a present, empty slice: absence was told in the head. */
static struct slice next_frame(struct pack_reader *reader, struct frames *frames)
{
    if (!frames->left) {
        reader->failed = true;
        return SLICE_ABSENT;
    }
    frames->left--;
    struct slice frame = *frames->at++;
    return frame.at ? frame : SLICE("");
}

static struct slice unpack_raw(struct pack_reader *reader, struct frames *frames)
{
    if (pack_read_nil(reader))
        return SLICE_ABSENT;
    if (pack_read_i64(reader) != 1)
        reader->failed = true;
    return reader->failed ? SLICE_ABSENT : next_frame(reader, frames);
}

static struct slices unpack_raws(struct pack_reader *reader, struct arena *arena, struct frames *frames)
{
    if (pack_read_nil(reader))
        return (struct slices){0};
    bool flags = pack_next_is_array(reader);
    int64_t count = flags ? (int64_t)pack_read_array(reader) : pack_read_i64(reader);
    if (!flags && (count < 0 || (uint64_t)count > frames->left))
        reader->failed = true;
    if (reader->failed)
        return (struct slices){0};
    struct slice *at = arena_new_array(arena, (size_t)count, struct slice);
    for (int64_t i = 0; i < count && !reader->failed; i++)
        at[i] = !flags || pack_read_bool(reader) ? next_frame(reader, frames) : SLICE_ABSENT;
    return (struct slices){at, (size_t)count};
}

bool message_unpack(struct arena *arena, const struct message_field *fields, const struct packed *in, void *object)
{
    struct pack_reader reader = pack_reader_of(in->head);
    struct frames frames = {in->frames.at, in->frames.len};
    size_t count = pack_read_array(&reader);
    for (; count && fields->type && !reader.failed; fields++, count--) {
        void *value = (char *)object + fields->offset;
        switch (fields->type) {
        case FIELD_I64:
            *(int64_t *)value = pack_read_i64(&reader);
            break;
        case FIELD_BOOL:
            *(bool *)value = pack_read_bool(&reader);
            break;
        case FIELD_SLICE:
            *(struct slice *)value = pack_read_slice(&reader);
            break;
        case FIELD_SLICES:
            *(struct slices *)value = pack_read_slices(&reader, arena);
            break;
        case FIELD_I64S:
            *(struct i64s *)value = pack_read_i64s(&reader, arena);
            break;
        case FIELD_RAW:
            *(struct slice *)value = unpack_raw(&reader, &frames);
            break;
        case FIELD_RAWS:
            *(struct slices *)value = unpack_raws(&reader, arena, &frames);
            break;
        case FIELD_END:
            break;
        }
    }
    while (count-- && !reader.failed)
        pack_skip(&reader);
    return !reader.failed && pack_at_end(&reader);
}

/* ---- facts */

#define F_I64(field)
#define F_BOOL(field)
#define F_SLICE(field)
#define F_SLICES(field)
#define F_I64S(field)
#define F_RAW(field)
#define F_RAWS(field)
#define END
#define PACKERS(name, what) \
    static void name##_pack_##what(struct arena *arena, const void *object, struct packed *out) \
    { \
        message_pack(arena, name##_##what##_fields(), object, out); \
    } \
    static bool name##_unpack_##what(struct arena *arena, const struct packed *in, void *object) \
    { \
        memset(object, 0, sizeof(struct name##_##what)); \
        return message_unpack(arena, name##_##what##_fields(), in, object); \
    }
#define REQUEST(name, id, kind) PACKERS(name, request)
#define REPLY(name) PACKERS(name, reply)
#include "proto/messages.def"
#undef REQUEST
#undef REPLY

#define REPLY(name)
#define REQUEST(name, id, kind) INDEX_##name,
enum {
#include "proto/messages.def"
    MESSAGE_COUNT
};
#undef REQUEST

#define REQUEST(name, id, kind) \
    [INDEX_##name] = {MESSAGE_##name, \
                      #name, \
                      SERVICE_##kind, \
                      sizeof(struct name##_request), \
                      sizeof(struct name##_reply), \
                      name##_pack_request, \
                      name##_unpack_request, \
                      name##_pack_reply, \
                      name##_unpack_reply},
static const struct message_facts all_facts[MESSAGE_COUNT] = {
#include "proto/messages.def"
};
#undef REQUEST

const struct message_facts *message_find(unsigned id)
{
    switch (id) { /* two messages with one number do not compile */
#define REQUEST(name, id, kind) \
    case id: \
        return &all_facts[INDEX_##name];
#include "proto/messages.def"
#undef REQUEST
    default:
        return NULL;
    }
}

const struct message_field *message_fields(const struct message_facts *facts, bool reply)
{
    switch ((int)facts->id) {
#define REQUEST(name, id, kind) \
    case id: \
        return reply ? name##_reply_fields() : name##_request_fields();
#include "proto/messages.def"
#undef REQUEST
    default:
        return NULL;
    }
}
#include "proto/message_undef.h"

const struct message_facts *message_at(size_t index)
{
    return index < MESSAGE_COUNT ? &all_facts[index] : NULL;
}

const struct message_facts *message_find_name(const char *name)
{
    for (size_t i = 0; i < MESSAGE_COUNT; i++) {
        if (strcmp(all_facts[i].name, name) == 0)
            return &all_facts[i];
    }
    return NULL;
}

bool message_is_repeatable(enum message_id id)
{
    switch ((int)id) {
#define REPEATABLE_MESSAGE(name) case MESSAGE_##name:
#define REPEATABLE_ROUTE(handler)
#include "proto/repeatable.def"
#undef REPEATABLE_MESSAGE
#undef REPEATABLE_ROUTE
        return true;
    default:
        return false;
    }
}
