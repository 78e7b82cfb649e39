/* SQL values in PostgreSQL's binary format: numbers big-endian, an array as number of dimensions, "has NULLs", element type,
 * length, lower bound, then each element with its length (-1: NULL). Sending binary spares both sides the printing and parsing of
 * numbers and the quoting of arrays. What arrives was checked against the declared type first (db_exchange.c), so a wrong length
 * here is a broken promise of the server and asserted. */
#include "lib/kit/db_value.h"

#include <endian.h>

#include "lib/base/ensure.h"

enum { OID_BOOL = 16, OID_BYTEA = 17, OID_INT8 = 20, OID_INT4 = 23, OID_TEXT = 25 };
enum { OID_BYTEA_ARRAY = 1001, OID_TEXT_ARRAY = 1009, OID_INT8_ARRAY = 1016, OID_XID8 = 5069 };
enum { ARRAY_HEADER = 12, ARRAY_DIMENSION = 8, NULL_LENGTH = -1 };

static const unsigned oids[] = {
    [DB_BIGINT] = OID_INT8,        [DB_INTEGER] = OID_INT4,     [DB_TEXT] = OID_TEXT,
    [DB_BYTEA] = OID_BYTEA,        [DB_BOOLEAN] = OID_BOOL,     [DB_XID8] = OID_XID8,
    [DB_BIGINTS] = OID_INT8_ARRAY, [DB_TEXTS] = OID_TEXT_ARRAY, [DB_BYTEAS] = OID_BYTEA_ARRAY,
};

unsigned db_type_oid(enum db_type type)
{
    return oids[type];
}

/* ---- writing; the caller has reserved the room */
static char *put_i32(char *at, int64_t number)
{
    ensure(number >= INT32_MIN && number <= INT32_MAX);
    uint32_t wire = htobe32((uint32_t)(int32_t)number);
    memcpy(at, &wire, sizeof wire);
    return at + sizeof wire;
}

static char *put_i64(char *at, int64_t number)
{
    uint64_t wire = htobe64((uint64_t)number);
    memcpy(at, &wire, sizeof wire);
    return at + sizeof wire;
}

static char *put_array_header(char *at, size_t count, bool has_null, unsigned element)
{
    at = put_i32(at, count ? 1 : 0);
    at = put_i32(at, has_null);
    at = put_i32(at, element);
    if (!count)
        return at;
    at = put_i32(at, (int64_t)count);
    return put_i32(at, 1);
}

static struct slice encode_numbers(struct arena *arena, struct i64s numbers)
{
    bool has_null = false;
    for (size_t i = 0; i < numbers.len; i++)
        has_null |= numbers.at[i] == DB_NULL_I64;
    char *image = arena_alloc_raw(arena, ARRAY_HEADER + ARRAY_DIMENSION + numbers.len * 12);
    char *end = put_array_header(image, numbers.len, has_null, OID_INT8);
    for (size_t i = 0; i < numbers.len; i++) {
        if (numbers.at[i] == DB_NULL_I64) {
            end = put_i32(end, NULL_LENGTH);
        } else {
            end = put_i32(end, 8);
            end = put_i64(end, numbers.at[i]);
        }
    }
    return slice_of(image, (size_t)(end - image));
}

static struct slice encode_slices(struct arena *arena, struct slices list, unsigned element)
{
    bool has_null = false;
    size_t size = ARRAY_HEADER + ARRAY_DIMENSION;
    for (size_t i = 0; i < list.len; i++) {
        has_null |= slice_is_absent(list.at[i]);
        size += 4 + list.at[i].len;
    }
    char *image = arena_alloc_raw(arena, size);
    char *end = put_array_header(image, list.len, has_null, element);
    for (size_t i = 0; i < list.len; i++) {
        struct slice item = list.at[i];
        end = put_i32(end, slice_is_absent(item) ? NULL_LENGTH : (int64_t)item.len);
        if (item.len)
            end = (char *)memcpy(end, item.at, item.len) + item.len;
    }
    return slice_of(image, (size_t)(end - image));
}

static struct slice encode_number(struct arena *arena, enum db_type type, int64_t number)
{
    if (number == DB_NULL_I64)
        return SLICE_ABSENT;
    char *image = arena_alloc_raw(arena, 8);
    switch (type) {
    case DB_BOOLEAN:
        *image = number != 0;
        return slice_of(image, 1);
    case DB_INTEGER:
        put_i32(image, number);
        return slice_of(image, 4);
    default:
        put_i64(image, number);
        return slice_of(image, 8);
    }
}

struct slice db_value_encode(struct arena *arena, enum db_type type, const union db_value *value)
{
    switch (type) {
    case DB_TEXT:
    case DB_BYTEA:
        return arena_copy(arena, value->bytes);
    case DB_BIGINTS:
        return value->numbers.at ? encode_numbers(arena, value->numbers) : SLICE_ABSENT;
    case DB_TEXTS:
        return value->texts.at ? encode_slices(arena, value->texts, OID_TEXT) : SLICE_ABSENT;
    case DB_BYTEAS:
        return value->texts.at ? encode_slices(arena, value->texts, OID_BYTEA) : SLICE_ABSENT;
    default:
        return encode_number(arena, type, value->number);
    }
}

/* ---- reading */
struct reader {
    const char *at, *end;
};

static int32_t take_i32(struct reader *reader)
{
    uint32_t wire;
    ensure(reader->end - reader->at >= (ptrdiff_t)sizeof wire);
    memcpy(&wire, reader->at, sizeof wire);
    reader->at += sizeof wire;
    return (int32_t)be32toh(wire);
}

static int64_t take_i64(struct reader *reader)
{
    uint64_t wire;
    ensure(reader->end - reader->at >= (ptrdiff_t)sizeof wire);
    memcpy(&wire, reader->at, sizeof wire);
    reader->at += sizeof wire;
    return (int64_t)be64toh(wire);
}

/* The number of elements; more than one dimension is a mistake in our schema. */
static size_t take_array_header(struct reader *reader, unsigned element)
{
    int32_t dimensions = take_i32(reader);
    take_i32(reader);
    ensure((unsigned)take_i32(reader) == element);
    ensure(dimensions == 0 || dimensions == 1);
    if (dimensions == 0)
        return 0;
    int32_t count = take_i32(reader);
    take_i32(reader);
    ensure(count >= 0 && (ptrdiff_t)count <= (reader->end - reader->at) / 4);
    return (size_t)count;
}

static struct i64s decode_numbers(struct arena *arena, struct reader reader)
{
    size_t count = take_array_header(&reader, OID_INT8);
    int64_t *numbers = arena_alloc_raw(arena, count * sizeof *numbers);
    for (size_t i = 0; i < count; i++) {
        int32_t length = take_i32(&reader);
        ensure(length == NULL_LENGTH || length == 8);
        numbers[i] = length == NULL_LENGTH ? DB_NULL_I64 : take_i64(&reader);
    }
    return (struct i64s){numbers, count};
}

static struct slices decode_slices(struct arena *arena, struct reader reader, unsigned element)
{
    size_t count = take_array_header(&reader, element);
    struct slice *list = arena_alloc_raw(arena, count * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        int32_t length = take_i32(&reader);
        ensure(length == NULL_LENGTH || (length >= 0 && length <= reader.end - reader.at));
        list[i] = length == NULL_LENGTH ? SLICE_ABSENT : slice_of(reader.at, (size_t)length);
        reader.at += list[i].len;
    }
    return (struct slices){list, count};
}

union db_value db_value_decode(struct arena *arena, enum db_type type, struct slice image)
{
    union db_value value = {.texts = {NULL, 0}};
    bool is_null = slice_is_absent(image);
    struct reader reader = {image.at, is_null ? NULL : image.at + image.len};
    switch (type) {
    case DB_TEXT:
    case DB_BYTEA:
        value.bytes = image;
        break;
    case DB_BIGINTS:
        if (!is_null)
            value.numbers = decode_numbers(arena, reader);
        break;
    case DB_TEXTS:
    case DB_BYTEAS:
        if (!is_null)
            value.texts = decode_slices(arena, reader, type == DB_TEXTS ? OID_TEXT : OID_BYTEA);
        break;
    case DB_BOOLEAN:
        ensure(is_null || image.len == 1);
        value.number = is_null ? DB_NULL_I64 : *image.at != 0;
        break;
    case DB_INTEGER:
        value.number = is_null ? DB_NULL_I64 : take_i32(&reader);
        break;
    case DB_BIGINT:
    case DB_XID8:
        value.number = is_null ? DB_NULL_I64 : take_i64(&reader);
        break;
    }
    return value;
}
