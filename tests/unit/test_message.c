/* Every message of messages.def, by its table: what is packed comes out again, whatever its fields hold; cut or changed bytes are
 * refused or read, never followed out of bounds; older and newer versions understand each other. New messages are covered as they
 * are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>
#include <msgpack.h>

#include "lib/base/json.h"
#include "proto/message_fields.h"
#include "proto/pack.h"

static uint64_t seed;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static struct slice random_slice(struct arena *arena)
{
    static const size_t lengths[] = {0, 1, 31, 32, 255, 256, 300, 70000};
    uint64_t dice = next_random() % 16;
    if (dice == 0)
        return SLICE_ABSENT;
    size_t len = dice < 12 ? next_random() % 40 : lengths[next_random() % (sizeof lengths / sizeof lengths[0])];
    char *bytes = arena_alloc_raw(arena, len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)next_random();
    return slice_of(bytes, len);
}

static size_t random_count(void)
{
    uint64_t dice = next_random() % 8;
    return dice == 0 ? 0 : dice < 7 ? next_random() % 6 : 15 + next_random() % 5;
}

static int64_t random_number(void)
{
    static const int64_t edges[] = {0,   -1,    1,     127,        128,       -32,       -33,       -128,      -129,  255,
                                    256, 65535, 65536, UINT32_MAX, INT32_MIN, INT32_MAX, INT64_MAX, INT64_MIN, 100000};
    return next_random() % 3 ? edges[next_random() % (sizeof edges / sizeof edges[0])] : (int64_t)next_random();
}

static struct slices random_slices(struct arena *arena)
{
    if (next_random() % 8 == 0)
        return (struct slices){0};
    size_t count = random_count();
    struct slice *at = arena_new_array(arena, count, struct slice);
    for (size_t i = 0; i < count; i++)
        at[i] = random_slice(arena);
    return (struct slices){at, count};
}

static void fill(struct arena *arena, const struct message_field *field, char *object)
{
    for (; field->type; field++) {
        void *value = object + field->offset;
        if (field->type == FIELD_I64)
            *(int64_t *)value = random_number();
        else if (field->type == FIELD_BOOL)
            *(bool *)value = next_random() & 1;
        else if (field->type == FIELD_SLICE || field->type == FIELD_RAW)
            *(struct slice *)value = random_slice(arena);
        else if (field->type == FIELD_SLICES || field->type == FIELD_RAWS)
            *(struct slices *)value = random_slices(arena);
        else {
            size_t count = random_count();
            int64_t *at = arena_new_array(arena, count, int64_t);
            for (size_t i = 0; i < count; i++)
                at[i] = random_number();
            *(struct i64s *)value = (struct i64s){next_random() % 8 ? at : NULL, count};
            if (!((struct i64s *)value)->at)
                ((struct i64s *)value)->len = 0;
        }
    }
}

static bool same_slice(struct slice a, struct slice b)
{
    return slice_is_absent(a) == slice_is_absent(b) && slice_eq(a, b);
}

static bool same_slices(struct slices a, struct slices b)
{
    bool same = !a.at == !b.at && a.len == b.len;
    for (size_t i = 0; same && i < a.len; i++)
        same = same_slice(a.at[i], b.at[i]);
    return same;
}

/* The first `count` fields. */
static bool same(const struct message_field *field, size_t count, const char *a, const char *b)
{
    bool is_same = true;
    for (; field->type && count && is_same; field++, count--) {
        const void *x = a + field->offset, *y = b + field->offset;
        if (field->type == FIELD_I64)
            is_same = *(const int64_t *)x == *(const int64_t *)y;
        else if (field->type == FIELD_BOOL)
            is_same = *(const bool *)x == *(const bool *)y;
        else if (field->type == FIELD_SLICE || field->type == FIELD_RAW)
            is_same = same_slice(*(const struct slice *)x, *(const struct slice *)y);
        else if (field->type == FIELD_SLICES || field->type == FIELD_RAWS)
            is_same = same_slices(*(const struct slices *)x, *(const struct slices *)y);
        else {
            struct i64s m = *(const struct i64s *)x, n = *(const struct i64s *)y;
            is_same = !m.at == !n.at && m.len == n.len && (!m.len || memcmp(m.at, n.at, m.len * sizeof *m.at) == 0);
        }
        if (!is_same)
            print_message("field %s differs\n", field->name);
    }
    return is_same;
}

static size_t object_size(const struct message_facts *facts, bool reply)
{
    return reply ? facts->reply_size : facts->request_size;
}

static void for_each_body(void (*test)(struct arena *arena, const struct message_facts *facts, bool reply), int rounds)
{
    const struct message_facts *facts;
    for (size_t i = 0; (facts = message_at(i)); i++) {
        for (int round = 0; round < 2 * rounds; round++) {
            struct arena *arena = arena_create(64 * 1024 * 1024);
            test(arena, facts, round & 1);
            arena_destroy(&arena);
        }
    }
}

/* Exactly as long as it is, so that ASan sees a byte too many. */
static struct slice tight(struct slice bytes)
{
    char *copy = malloc(bytes.len ? bytes.len : 1);
    memcpy(copy, bytes.at, bytes.len);
    return slice_of(copy, bytes.len);
}

static void round_trip(struct arena *arena, const struct message_facts *facts, bool reply)
{
    const struct message_field *fields = message_fields(facts, reply);
    char *in = arena_alloc(arena, object_size(facts, reply)), *out = arena_alloc(arena, object_size(facts, reply));
    fill(arena, fields, in);
    struct packed packed;
    (reply ? facts->pack_reply : facts->pack_request)(arena, in, &packed);
    memset(out, 0xaa, object_size(facts, reply)); /* unpacking leaves nothing as it was */
    assert_true((reply ? facts->unpack_reply : facts->unpack_request)(arena, &packed, out));
    assert_true(same(fields, SIZE_MAX, in, out));
    /* msgpack-c reads the same head: it is MessagePack, not only to us. */
    msgpack_unpacked result;
    msgpack_unpacked_init(&result);
    size_t offset = 0;
    assert_int_equal(msgpack_unpack_next(&result, packed.head.at, packed.head.len, &offset), MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(offset, packed.head.len);
    msgpack_unpacked_destroy(&result);
}

static void cut_anywhere(struct arena *arena, const struct message_facts *facts, bool reply)
{
    const struct message_field *fields = message_fields(facts, reply);
    char *in = arena_alloc(arena, object_size(facts, reply)), *out = arena_alloc(arena, object_size(facts, reply));
    fill(arena, fields, in);
    struct packed packed;
    message_pack(arena, fields, in, &packed);
    size_t most = packed.head.len < 2000 ? packed.head.len : 2000;
    for (size_t len = 0; len < most; len++) {
        struct packed cut = {tight(slice_sub(packed.head, 0, len)), packed.frames};
        assert_false(message_unpack(arena, fields, &cut, out));
        free((char *)(uintptr_t)cut.head.at);
    }
    for (size_t frames = 0; frames < packed.frames.len; frames++) {
        struct packed cut = {packed.head, {packed.frames.at, frames}};
        assert_false(message_unpack(arena, fields, &cut, out));
    }
}

static void changed_anywhere(struct arena *arena, const struct message_facts *facts, bool reply)
{
    const struct message_field *fields = message_fields(facts, reply);
    char *in = arena_alloc(arena, object_size(facts, reply)), *out = arena_alloc(arena, object_size(facts, reply));
    fill(arena, fields, in);
    struct packed packed;
    message_pack(arena, fields, in, &packed);
    struct slice copy = tight(packed.head);
    for (int round = 0; round < 300; round++) {
        size_t at = next_random() % copy.len;
        char before = copy.at[at];
        ((char *)(uintptr_t)copy.at)[at] = (char)next_random();
        struct packed changed = {copy, packed.frames};
        message_unpack(arena, fields, &changed, out);
        ((char *)(uintptr_t)copy.at)[at] = before;
    }
    free((char *)(uintptr_t)copy.at);
}

static size_t field_count(const struct message_field *fields)
{
    size_t count = 0;
    while (fields[count].type)
        count++;
    return count;
}

/* Each shorter prefix of the fields is an older version; what it lacks reads as zero. */
static void older_version(struct arena *arena, const struct message_facts *facts, bool reply)
{
    const struct message_field *fields = message_fields(facts, reply);
    size_t count = field_count(fields), size = object_size(facts, reply);
    char *in = arena_alloc(arena, size), *out = arena_alloc(arena, size), *zero = arena_alloc(arena, size);
    fill(arena, fields, in);
    for (size_t known = 0; known <= count; known++) {
        struct message_field older[32];
        assert_true(count < 32);
        memcpy(older, fields, count * sizeof *older);
        older[known] = (struct message_field){FIELD_END, 0, NULL};
        struct packed packed;
        message_pack(arena, older, in, &packed);
        memset(out, 0, size);
        assert_true(message_unpack(arena, fields, &packed, out));
        assert_true(same(fields, known, in, out));
        assert_true(same(fields + known, SIZE_MAX, zero, out));
        /* And the other way round: an older reader skips what it does not know. */
        message_pack(arena, fields, in, &packed);
        memset(out, 0, size);
        assert_true(message_unpack(arena, older, &packed, out));
        assert_true(same(fields, known, in, out));
    }
}

/* A newer version may append values of any type, nested too. */
static void newer_version(struct arena *arena, const struct message_facts *facts, bool reply)
{
    static const char *const appended[] = {"\xc0",      "\x81\xa1k\x93\x01\x02\xc3", "\xcb@\x09!\xfbTD-\x18", "\xc7\x03\x05xyz",
                                           "\xd4\x01z", "\xde\x00\x01\x01\x02"};
    static const size_t lengths[] = {1, 7, 9, 6, 3, 5};
    const struct message_field *fields = message_fields(facts, reply);
    char *in = arena_alloc(arena, object_size(facts, reply)), *out = arena_alloc(arena, object_size(facts, reply));
    fill(arena, fields, in);
    struct packed packed;
    message_pack(arena, fields, in, &packed);
    size_t count = field_count(fields);
    struct strbuf head = strbuf_in(arena);
    pack_array(&head, count + 6);
    size_t header = count < 16 ? 1 : 3;
    strbuf_add(&head, slice_sub(packed.head, header, SIZE_MAX));
    for (int i = 0; i < 6; i++)
        strbuf_add(&head, slice_of(appended[i], lengths[i]));
    struct packed newer = {strbuf_slice(&head), packed.frames};
    assert_true(message_unpack(arena, fields, &newer, out));
    assert_true(same(fields, SIZE_MAX, in, out));
}

static void json_round_trip(struct arena *arena, const struct message_facts *facts, bool reply)
{
    const struct message_field *fields = message_fields(facts, reply);
    char *in = arena_alloc(arena, object_size(facts, reply));
    fill(arena, fields, in);
    struct packed packed, again;
    message_pack(arena, fields, in, &packed);
    struct slice json = message_to_json(arena, facts, reply, &packed);
    assert_false(slice_is_absent(json));
    assert_non_null(json_parse(arena, json, JSON_LAX, NULL));
    assert_int_equal(message_from_json(arena, facts, reply, json, &again), FAULT_OK);
    assert_true(slice_eq(packed.head, again.head));
    assert_true(same_slices(packed.frames, again.frames));
}

#define EACH(name, test, rounds) \
    static void name(void **state) \
    { \
        for_each_body(test, rounds); \
    }
EACH(what_is_packed_comes_out, round_trip, 40)
EACH(every_cut_is_refused, cut_anywhere, 3)
EACH(changed_bytes_do_no_harm, changed_anywhere, 6)
EACH(older_versions_are_understood, older_version, 10)
EACH(newer_versions_are_understood, newer_version, 10)
EACH(json_and_back, json_round_trip, 20)

/* facts/STACK.md §2: six bytes that made msgpack-c reserve 2 GB; nesting; counts beyond the frames. */
static void hostile_headers_allocate_nothing(void **state)
{
    static const struct {
        const char *name;
        struct slice head;
    } cases[] = {
        {"array of 67 million", {"\xdd\x04\x00\x00\x00\xc0", 6}},
        {"array of 4 billion", {"\xdd\xff\xff\xff\xff", 5}},
        {"slices of 67 million", {"\x93\xa1x\xa1y\xdd\x04\x00\x00\x00\xc0", 11}},
        {"string of 4 GB", {"\x91\xdb\xff\xff\xff\xff", 6}},
        {"negative count of frames", {"\x99\x01\xa1x\x90\xc0\xc0\xc0\xc0\xc0\xff", 11}},
        {"map of 4 billion skipped", {"\x9a\x01\xa1x\x90\xc0\xc0\xc0\xc0\xc0\xc0\xdf\xff\xff\xff\xff", 16}},
        {"ext of 4 GB skipped", {"\x9a\x01\xa1x\x90\xc0\xc0\xc0\xc0\xc0\xc0\xc9\xff\xff\xff\xff\x01", 17}},
        {"a type that does not exist", {"\x91\xc1", 2}},
        {"nothing", {"", 0}},
        {"not an array", {"\x01", 1}},
        {"trailing bytes", {"\x90\xc0", 2}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena *arena = arena_create(64 * 1024); /* more than that would abort */
        struct http_request request;
        struct packed packed = {.head = cases[i].head};
        print_message("  %s\n", cases[i].name);
        assert_false(message_find(MESSAGE_http)->unpack_request(arena, &packed, &request));
        arena_destroy(&arena);
    }
    struct arena *arena = arena_create(1024 * 1024);
    struct strbuf deep = strbuf_in(arena);
    strbuf_add_char(&deep, (char)0x91);
    for (int i = 0; i < 100000; i++)
        strbuf_add_char(&deep, (char)0x91);
    strbuf_add_char(&deep, (char)0xc0);
    struct pack_reader reader = pack_reader_of(strbuf_slice(&deep));
    pack_skip(&reader); /* a hundred thousand levels, no recursion */
    assert_false(reader.failed);
    assert_true(pack_at_end(&reader));
    arena_destroy(&arena);
}

static void facts_agree(void **state)
{
    const struct message_facts *facts;
    size_t count = 0;
    for (; (facts = message_at(count)); count++) {
        assert_ptr_equal(message_find(facts->id), facts);
        assert_ptr_equal(message_find_name(facts->name), facts);
    }
    assert_true(count > 10);
    assert_null(message_find(0));
    assert_null(message_find(0xffff));
    assert_null(message_find_name("nothing"));
}

static void json_refuses_slips(void **state)
{
    struct arena *arena = arena_create(1024 * 1024);
    struct packed packed;
    const struct message_facts *sign = message_find_name("sign");
    assert_int_equal(message_from_json(arena, sign, false, SLICE("{\"payloads\":[{\"a\":1},\"text\"]}"), &packed), FAULT_OK);
    assert_true(slice_eq(packed.frames.at[0], SLICE("{\"a\":1}")));
    assert_true(slice_eq(packed.frames.at[1], SLICE("text")));
    assert_int_equal(message_from_json(arena, sign, false, SLICE("{\"payload\":[]}"), &packed), FAULT_BAD_JSON);
    assert_int_equal(message_from_json(arena, sign, false, SLICE("{\"payloads\":1}"), &packed), FAULT_BAD_JSON);
    assert_int_equal(message_from_json(arena, sign, false, SLICE("{"), &packed), FAULT_NOT_JSON);
    assert_int_equal(message_from_json(arena, sign, false, SLICE("[]"), &packed), FAULT_BAD_JSON);
    arena_destroy(&arena);
}

int main(void)
{
    seed = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 10) : (uint64_t)time(NULL) * 2654435761u | 1;
    print_message("SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_comes_out),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(changed_bytes_do_no_harm),
        cmocka_unit_test(older_versions_are_understood),
        cmocka_unit_test(newer_versions_are_understood),
        cmocka_unit_test(json_and_back),
        cmocka_unit_test(hostile_headers_allocate_nothing),
        cmocka_unit_test(facts_agree),
        cmocka_unit_test(json_refuses_slips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
