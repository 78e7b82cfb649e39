/* The header says why reading is ours. The reader knows every MessagePack type by its first byte, so that it can step over values
 * that a newer version put at the end of a message. */
#include "proto/pack.h"

#include <msgpack/pack.h>

/* ---- writing */

static int add_bytes(void *out, const char *bytes, size_t len)
{
    strbuf_add(out, slice_of(bytes, len));
    return 0;
}

static msgpack_packer packer(struct strbuf *out)
{
    return (msgpack_packer){.data = out, .callback = add_bytes};
}

void pack_nil(struct strbuf *out)
{
    strbuf_add_char(out, (char)0xc0);
}

void pack_bool(struct strbuf *out, bool value)
{
    strbuf_add_char(out, (char)(value ? 0xc3 : 0xc2));
}

void pack_i64(struct strbuf *out, int64_t value)
{
    msgpack_packer to = packer(out);
    msgpack_pack_int64(&to, value);
}

void pack_slice(struct strbuf *out, struct slice bytes)
{
    if (slice_is_absent(bytes)) {
        pack_nil(out);
        return;
    }
    msgpack_packer to = packer(out);
    msgpack_pack_str(&to, bytes.len);
    strbuf_add(out, bytes);
}

void pack_array(struct strbuf *out, size_t count)
{
    msgpack_packer to = packer(out);
    msgpack_pack_array(&to, count);
}

void pack_slices(struct strbuf *out, struct slices all)
{
    if (!all.at) {
        pack_nil(out);
        return;
    }
    pack_array(out, all.len);
    for (size_t i = 0; i < all.len; i++)
        pack_slice(out, all.at[i]);
}

void pack_i64s(struct strbuf *out, struct i64s all)
{
    if (!all.at) {
        pack_nil(out);
        return;
    }
    pack_array(out, all.len);
    for (size_t i = 0; i < all.len; i++)
        pack_i64(out, all.at[i]);
}

/* ---- reading */

struct pack_reader pack_reader_of(struct slice bytes)
{
    const unsigned char *at = (const unsigned char *)bytes.at;
    return (struct pack_reader){.at = at, .end = at ? at + bytes.len : at};
}

static size_t left(const struct pack_reader *reader)
{
    return reader->failed ? 0 : (size_t)(reader->end - reader->at);
}

bool pack_at_end(const struct pack_reader *reader)
{
    return left(reader) == 0;
}

/* The next `count` bytes as a big-endian number. */
static uint64_t read_number(struct pack_reader *reader, size_t count)
{
    if (left(reader) < count) {
        reader->failed = true;
        return 0;
    }
    uint64_t number = 0;
    for (size_t i = 0; i < count; i++)
        number = number << 8 | *reader->at++;
    return number;
}

static int peek(const struct pack_reader *reader)
{
    return left(reader) ? *reader->at : -1;
}

bool pack_read_nil(struct pack_reader *reader)
{
    if (peek(reader) != 0xc0)
        return false;
    reader->at++;
    return true;
}

bool pack_next_is_array(const struct pack_reader *reader)
{
    int first = peek(reader);
    return (first >= 0x90 && first <= 0x9f) || first == 0xdc || first == 0xdd;
}

bool pack_read_bool(struct pack_reader *reader)
{
    uint64_t first = read_number(reader, 1);
    if (first != 0xc2 && first != 0xc3)
        reader->failed = true;
    return !reader->failed && first == 0xc3;
}

int64_t pack_read_i64(struct pack_reader *reader)
{
    uint64_t first = read_number(reader, 1), number = 0;
    if (reader->failed || first <= 0x7f)
        return (int64_t)first; /* positive fixint */
    if (first >= 0xe0)
        return (int64_t)first - 0x100; /* negative fixint */
    switch (first) {
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        number = read_number(reader, (size_t)1 << (first - 0xcc));
        if (number > INT64_MAX)
            reader->failed = true;
        return reader->failed ? 0 : (int64_t)number;
    case 0xd0:
        return (int8_t)read_number(reader, 1);
    case 0xd1:
        return (int16_t)read_number(reader, 2);
    case 0xd2:
        return (int32_t)read_number(reader, 4);
    case 0xd3:
        return (int64_t)read_number(reader, 8);
    default:
        reader->failed = true;
        return 0;
    }
}

/* `count` bytes, borrowed. */
static struct slice read_bytes(struct pack_reader *reader, uint64_t count)
{
    if (reader->failed || left(reader) < count) {
        reader->failed = true;
        return SLICE_ABSENT;
    }
    struct slice bytes = slice_of(reader->at, (size_t)count);
    reader->at += count;
    return bytes;
}

struct slice pack_read_slice(struct pack_reader *reader)
{
    uint64_t first = read_number(reader, 1);
    if (reader->failed || first == 0xc0)
        return SLICE_ABSENT;
    if (first >= 0xa0 && first <= 0xbf)
        return read_bytes(reader, first & 0x1f);
    if (first >= 0xd9 && first <= 0xdb) /* str 8, 16, 32 */
        return read_bytes(reader, read_number(reader, (size_t)1 << (first - 0xd9)));
    if (first >= 0xc4 && first <= 0xc6) /* bin 8, 16, 32 */
        return read_bytes(reader, read_number(reader, (size_t)1 << (first - 0xc4)));
    reader->failed = true;
    return SLICE_ABSENT;
}

size_t pack_read_array(struct pack_reader *reader)
{
    uint64_t first = read_number(reader, 1), count = 0;
    if (first >= 0x90 && first <= 0x9f)
        count = first & 0x0f;
    else if (first == 0xdc)
        count = read_number(reader, 2);
    else if (first == 0xdd)
        count = read_number(reader, 4);
    else
        reader->failed = true;
    if (reader->failed || count > left(reader)) {
        reader->failed = true;
        return 0;
    }
    return (size_t)count;
}

struct slices pack_read_slices(struct pack_reader *reader, struct arena *arena)
{
    if (pack_read_nil(reader))
        return (struct slices){0};
    size_t count = pack_read_array(reader);
    if (reader->failed)
        return (struct slices){0};
    struct slice *at = arena_new_array(arena, count, struct slice);
    for (size_t i = 0; i < count; i++)
        at[i] = pack_read_slice(reader);
    return (struct slices){at, count};
}

struct i64s pack_read_i64s(struct pack_reader *reader, struct arena *arena)
{
    if (pack_read_nil(reader))
        return (struct i64s){0};
    size_t count = pack_read_array(reader);
    if (reader->failed)
        return (struct i64s){0};
    int64_t *at = arena_new_array(arena, count, int64_t);
    for (size_t i = 0; i < count; i++)
        at[i] = pack_read_i64(reader);
    return (struct i64s){at, count};
}

/* What follows the first byte: `width` bytes of length (0: none), then `fixed` bytes and as many values as *children grows. */
static void skip_one(struct pack_reader *reader, uint64_t *children)
{
    uint64_t first = read_number(reader, 1);
    if (first <= 0x7f || first >= 0xe0 || (first >= 0xc0 && first <= 0xc3))
        return; /* fixints, nil, booleans */
    if (first <= 0x8f)
        *children += 2 * (first & 0x0f);
    else if (first <= 0x9f)
        *children += first & 0x0f;
    else if (first <= 0xbf)
        read_bytes(reader, first & 0x1f);
    else if (first <= 0xc6)
        read_bytes(reader, read_number(reader, (size_t)1 << (first - 0xc4)));
    else if (first <= 0xc9) { /* ext 8, 16, 32: a type byte and the data */
        uint64_t len = read_number(reader, (size_t)1 << (first - 0xc7));
        read_bytes(reader, len + 1);
    } else if (first <= 0xcb)
        read_bytes(reader, first == 0xca ? 4 : 8);
    else if (first <= 0xcf)
        read_bytes(reader, (uint64_t)1 << (first - 0xcc));
    else if (first <= 0xd3)
        read_bytes(reader, (uint64_t)1 << (first - 0xd0));
    else if (first <= 0xd8)
        read_bytes(reader, ((uint64_t)1 << (first - 0xd4)) + 1); /* fixext */
    else if (first <= 0xdb)
        read_bytes(reader, read_number(reader, (size_t)1 << (first - 0xd9)));
    else
        *children += read_number(reader, first & 1 ? 4 : 2) * (first >= 0xde ? 2 : 1); /* array, map 16 and 32 */
}

void pack_skip(struct pack_reader *reader)
{
    for (uint64_t open = 1; open && !reader->failed; open--) {
        skip_one(reader, &open);
        if (open > left(reader) + 1)
            reader->failed = true; /* more promised than there can be */
    }
}
