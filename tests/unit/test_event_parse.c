/* "Event format" of the versions: one good event, and what becomes of it when one member is changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base/base64.h"
#include "lib/matrix/event.h"
#include "test_event_files.h"

#define HASH "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" /* 43 characters */
#define NINE(x) x x x x x x x x x
#define TEN(x) x NINE(x)
#define BYTES_250 TEN("aaaaaaaaaaaaaaaaaaaaaaaaa")
#define REFERENCE "\"$e\","
#define V1_REFERENCE "[\"$e:d\",{\"sha256\":\"x\"}],"

static struct arena *arena;

static int setup(void **state)
{
    arena = arena_create(64 << 20);
    return 0;
}

static int teardown(void **state)
{
    arena_destroy(&arena);
    return 0;
}

static const char *good_room_id(const struct room_version *version)
{
    return version->room_id_is_create_hash ? "\"!" HASH "\"" : "\"!r:domain\"";
}

/* The good event with `key` set to `value`, or without it when value is NULL. key NULL: as it is. */
static struct slice event_with(const struct room_version *version, const char *key, const char *value)
{
    const char *members[][2] = {
        {"auth_events", "[]"},
        {"content", "{}"},
        {"depth", "1"},
        {"hashes", "{\"sha256\":\"x\"}"},
        {"origin_server_ts", "1000"},
        {"prev_events", "[]"},
        {"room_id", good_room_id(version)},
        {"sender", "\"@u:domain\""},
        {"signatures", "{}"},
        {"type", "\"x\""},
        {"event_id", version->event_id_format == EVENT_ID_V1 ? "\"$e:domain\"" : NULL},
    };
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (!key || strcmp(members[i][0], key) != 0)
            json_put_raw(&w, members[i][0], slice_from_cstr(members[i][1]));
    if (key)
        json_put_raw(&w, key, slice_from_cstr(value));
    json_end_object(&w);
    return json_done(&w);
}

enum { GOOD = FAULT_OK, BAD = FAULT_BAD_JSON, LARGE = FAULT_TOO_LARGE };

static const struct {
    const char *name;
    int since, until; /* versions */
    const char *key, *value;
    int fault;
} cases[] = {
    {"as it is", 1, 12, NULL, NULL, GOOD},
    {"unknown member", 1, 12, "extra", "[1]", GOOD},

    {"no type", 1, 12, "type", NULL, BAD},
    {"type is a number", 1, 12, "type", "1", BAD},
    {"type of 255 bytes", 1, 12, "type", "\"12345" BYTES_250 "\"", GOOD},
    {"type of 256 bytes", 1, 12, "type", "\"123456" BYTES_250 "\"", LARGE},
    {"type with NUL", 1, 12, "type", "\"a\\u0000\"", BAD},
    {"state_key", 1, 12, "state_key", "\"\"", GOOD},
    {"state_key is null", 1, 12, "state_key", "null", BAD},
    {"state_key is an object", 1, 12, "state_key", "{}", BAD},
    {"state_key of 255 bytes", 1, 12, "state_key", "\"12345" BYTES_250 "\"", GOOD},
    {"state_key of 256 bytes", 1, 12, "state_key", "\"123456" BYTES_250 "\"", LARGE},
    {"state_key of 256 bytes in 128 characters", 11, 12, "state_key", "\"éééééééé" TEN("éééééééééééé") "\"", LARGE},
    /* The specification says bytes for all versions. Servers used to count code points, and rooms of those versions have such
       events. */
    {"state_key of 256 bytes in 128 characters, formerly", 1, 10, "state_key", "\"éééééééé" TEN("éééééééééééé") "\"", GOOD},
    {"state_key with NUL", 1, 12, "state_key", "\"\\u0000\"", BAD},

    {"no sender", 1, 12, "sender", NULL, BAD},
    {"sender is an array", 1, 12, "sender", "[]", BAD},
    {"sender is no user id", 1, 12, "sender", "\"u:domain\"", BAD},
    {"sender has no server", 1, 12, "sender", "\"@u\"", BAD},
    {"sender of historical form", 1, 12, "sender", "\"@U ü:domain\"", GOOD},
    {"sender without localpart", 1, 12, "sender", "\"@:domain\"", GOOD},
    {"sender of 255 bytes", 1, 12, "sender", "\"@" BYTES_250 ":ab\"", GOOD},
    {"sender of 256 bytes", 1, 12, "sender", "\"@" BYTES_250 ":abcd\"", LARGE},

    {"no room_id", 1, 12, "room_id", NULL, BAD},
    {"room_id is a number", 1, 12, "room_id", "1", BAD},
    {"room_id is an alias", 1, 12, "room_id", "\"#r:domain\"", BAD},
    {"room_id names no server", 1, 11, "room_id", "\"!" HASH "\"", BAD},
    {"room_id names a server", 12, 12, "room_id", "\"!r:domain\"", BAD},
    {"room_id is short", 12, 12, "room_id", "\"!abc\"", BAD},
    {"room_id in the other alphabet", 12, 12, "room_id", "\"!+/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"", BAD},
    {"room_id in the URL-safe alphabet", 12, 12, "room_id", "\"!-_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"", GOOD},
    {"room_id of 256 bytes", 1, 12, "room_id", "\"!" BYTES_250 ":abcd\"", LARGE},

    {"no event_id", 1, 2, "event_id", NULL, BAD},
    {"event_id is a number", 1, 2, "event_id", "1", BAD},
    {"event_id names no server", 1, 2, "event_id", "\"$e\"", BAD},
    {"event_id of 256 bytes", 1, 2, "event_id", "\"$" BYTES_250 ":abcd\"", LARGE},
    {"event_id where none belongs", 3, 12, "event_id", "1", GOOD},

    {"no depth", 1, 12, "depth", NULL, BAD},
    {"depth is text", 1, 12, "depth", "\"1\"", BAD},
    {"depth is a fraction", 1, 12, "depth", "1.5", BAD},
    {"depth is negative", 1, 12, "depth", "-1", BAD},
    {"depth is zero", 1, 12, "depth", "0", GOOD},
    {"depth of 2^53-1", 1, 12, "depth", "9007199254740991", GOOD},
    {"depth of 2^53", 1, 5, "depth", "9007199254740992", GOOD},
    {"depth of 2^53", 6, 12, "depth", "9007199254740992", BAD},
    {"depth of 2^63-1", 1, 5, "depth", "9223372036854775807", GOOD},
    {"depth of 2^63", 1, 12, "depth", "9223372036854775808", BAD},
    {"no origin_server_ts", 1, 12, "origin_server_ts", NULL, BAD},
    {"origin_server_ts is text", 1, 12, "origin_server_ts", "\"1\"", BAD},
    {"origin_server_ts is negative", 1, 12, "origin_server_ts", "-1", GOOD},

    {"no content", 1, 12, "content", NULL, BAD},
    {"content is an array", 1, 12, "content", "[]", BAD},
    {"content is null", 1, 12, "content", "null", BAD},
    {"fraction in content", 1, 5, "content", "{\"a\":1.5}", GOOD},
    {"fraction in content", 6, 12, "content", "{\"a\":1.5}", BAD},
    {"exponent in content", 6, 12, "content", "{\"a\":1e3}", BAD},
    {"large integer in content", 1, 5, "content", "{\"a\":[9007199254740992]}", GOOD},
    {"large integer in content", 6, 12, "content", "{\"a\":[9007199254740992]}", BAD},
    {"negative zero in content", 6, 12, "content", "{\"a\":-0}", BAD},
    {"duplicate key in content", 1, 12, "content", "{\"a\":1,\"a\":2}", BAD},
    {"lone surrogate in content", 1, 12, "content", "{\"a\":\"\\ud800\"}", BAD},
    {"bad UTF-8 in content", 1, 12, "content", "{\"a\":\"\xff\"}", BAD},
    {"fraction in unsigned", 6, 12, "unsigned", "{\"a\":1.5}", BAD},

    {"no hashes", 1, 12, "hashes", NULL, BAD},
    {"hashes is an array", 1, 12, "hashes", "[]", BAD},
    {"hashes is empty", 1, 12, "hashes", "{}", BAD},
    {"sha256 is a number", 1, 12, "hashes", "{\"sha256\":1}", BAD},
    {"another hash too", 1, 12, "hashes", "{\"sha256\":\"x\",\"sha3\":\"y\"}", GOOD},
    {"no signatures", 1, 12, "signatures", NULL, BAD},
    {"signatures is an array", 1, 12, "signatures", "[]", BAD},
    {"a signature is spoilt", 1, 12, "signatures", "{\"a\":1,\"b\":{\"ed25519:1\":[]}}", GOOD},
    {"unsigned is no object", 1, 12, "unsigned", "1", GOOD},

    {"no prev_events", 1, 12, "prev_events", NULL, BAD},
    {"prev_events is an object", 1, 12, "prev_events", "{}", BAD},
    {"event ids", 3, 12, "prev_events", "[\"$" HASH "\",\"$f\"]", GOOD},
    {"event ids", 1, 2, "prev_events", "[\"$e:d\"]", BAD},
    {"pairs", 1, 2, "prev_events", "[[\"$e:d\",{\"sha256\":\"x\"}],[\"$f:d\",{}]]", GOOD},
    {"pairs", 3, 12, "prev_events", "[[\"$e:d\",{\"sha256\":\"x\"}]]", BAD},
    {"pair of one", 1, 2, "auth_events", "[[\"$e:d\"]]", BAD},
    {"pair of three", 1, 2, "auth_events", "[[\"$e:d\",{},{}]]", BAD},
    {"empty pair", 1, 2, "auth_events", "[[]]", BAD},
    {"pair without object", 1, 2, "auth_events", "[[\"$e:d\",\"x\"]]", BAD},
    {"pair without id", 1, 2, "auth_events", "[[1,{}]]", BAD},
    {"reference is a number", 1, 12, "prev_events", "[1]", BAD},
    {"reference is no event id", 3, 12, "auth_events", "[\"e\"]", BAD},
    {"reference of 256 bytes", 3, 12, "auth_events", "[\"$12345" BYTES_250 "\"]", LARGE},
    {"21 prev_events", 3, 12, "prev_events", "[" TEN(REFERENCE) TEN(REFERENCE) "\"$e\"]", BAD},
    {"20 prev_events", 3, 12, "prev_events", "[" TEN(REFERENCE) NINE(REFERENCE) "\"$e\"]", GOOD},
    {"21 prev_events of version 1", 1, 2, "prev_events", "[" TEN(V1_REFERENCE) TEN(V1_REFERENCE) "[\"$e:d\",{}]]", BAD},
    {"11 auth_events", 3, 12, "auth_events", "[" TEN(REFERENCE) "\"$e\"]", BAD},
    {"10 auth_events", 3, 12, "auth_events", "[" NINE(REFERENCE) "\"$e\"]", GOOD},
    {"no auth_events", 1, 12, "auth_events", NULL, BAD},
};

static void each_case(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int v = cases[i].since; v <= cases[i].until; v++) {
            const struct room_version *version = room_version_at((size_t)v - 1);
            struct event *event = NULL;
            const char *why = NULL;
            enum fault f = event_parse(arena, version, event_with(version, cases[i].key, cases[i].value), &event, &why);
            if ((int)f != cases[i].fault || (event == NULL) != (f != FAULT_OK) || (why == NULL) != (f == FAULT_OK))
                fail_msg("%s, version %d: %s (%s)", cases[i].name, v, fault_facts(f)->name, why ? why : "no reason");
            arena_reset(arena);
        }
}

/* History may be wider than what is accepted today, and nothing else. */
static void history_has_no_limits_on_edges(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool is_wide = slice_starts_with(slice_from_cstr(cases[i].name), SLICE("21 prev_events")) ||
                       slice_eq(slice_from_cstr(cases[i].name), SLICE("11 auth_events"));
        const struct room_version *version = room_version_at((size_t)cases[i].since - 1);
        struct event *event = NULL;
        enum fault f = event_parse_history(arena, version, event_with(version, cases[i].key, cases[i].value), &event, NULL);
        assert_int_equal(f, is_wide ? FAULT_OK : cases[i].fault);
        arena_reset(arena);
    }
}

static void texts_that_are_no_events(void **state)
{
    const struct slice texts[] = {SLICE(""),      SLICE("{"),  SLICE("[]"),  SLICE("null"),
                                  SLICE("\"x\""), SLICE("{}"), SLICE("{}x"), SLICE_ABSENT};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct event *event = NULL;
        assert_int_equal(event_parse(arena, room_version_find(SLICE("11")), texts[i], &event, NULL), FAULT_BAD_JSON);
        assert_null(event);
    }
}

static struct event *parsed(const char *version, const char *text)
{
    struct event *event;
    const char *why = NULL;
    if (event_parse(arena, room_version_find(slice_from_cstr(version)), slice_from_cstr(text), &event, &why))
        fail_msg("%s: %s", why, text);
    return event;
}

static void fields(void **state)
{
    struct event *event =
        parsed("11", "{ \"type\":\"m.room.redaction\", \"state_key\":\"k\", \"sender\":\"@u:domain\", \"room_id\":\"!r:domain\","
                     "\"content\":{\"redacts\":\"$target\"}, \"redacts\":\"$other\", \"depth\":7, \"origin_server_ts\":9,"
                     "\"prev_events\":[\"$p\",\"$q\"], \"auth_events\":[\"$a\"], \"hashes\":{\"sha256\":\"x\"},"
                     "\"event_id\":\"$liar\", \"unsigned\":{\"age\":1}, \"signatures\":{} }");
    assert_true(event_is_state(event) && event_is(event, "m.room.redaction"));
    assert_true(event_is_state_of(event, "m.room.redaction", SLICE("k")));
    assert_false(event_is_state_of(event, "m.room.redaction", SLICE("")));
    check_text("sender", SLICE("fields"), event->sender, SLICE("@u:domain"));
    check_text("redacts", SLICE("fields"), event->redacts, SLICE("$target"));
    assert_int_equal(event->depth, 7);
    assert_int_equal(event->origin_server_ts, 9);
    assert_int_equal(event->prev_events.len, 2);
    check_text("prev", SLICE("fields"), event->prev_events.at[1], SLICE("$q"));
    assert_int_equal(event->auth_events.len, 1);
    assert_non_null(event->unsigned_data);
    assert_null(json_get_cstr(event->json, "event_id"));
    assert_int_equal(event->event_id.len, 44);
    check_text("raw", SLICE("fields"), event->raw,
               SLICE("{\"auth_events\":[\"$a\"],\"content\":{\"redacts\":\"$target\"},\"depth\":7,\"hashes\":{\"sha256\":\"x\"},"
                     "\"origin_server_ts\":9,\"prev_events\":[\"$p\",\"$q\"],\"redacts\":\"$other\",\"room_id\":\"!r:domain\","
                     "\"sender\":\"@u:domain\",\"signatures\":{},\"state_key\":\"k\",\"type\":\"m.room.redaction\"}"));
    struct event *again = parsed("11", arena_cstr(arena, event->raw));
    check_text("id of raw", SLICE("fields"), again->event_id, event->event_id);
    check_text("raw of raw", SLICE("fields"), again->raw, event->raw);
}

static void message_event_has_no_state_key(void **state)
{
    struct event *event = parsed("1", arena_cstr(arena, event_with(room_version_find(SLICE("1")), NULL, NULL)));
    assert_false(event_is_state(event));
    assert_false(event_is_state_of(event, "x", SLICE("")));
    check_text("event_id", SLICE("version 1"), event->event_id, SLICE("$e:domain"));
    assert_true(slice_is_absent(event->redacts));
}

/* Where the redaction's target stands; only redactions have one. */
static void redacts_by_version(void **state)
{
    for (int v = 1; v <= 12; v++) {
        const struct room_version *version = room_version_at((size_t)v - 1);
        struct json_writer w = json_writer_in(arena);
        json_begin_object(&w);
        json_each (member, json_parse(arena, event_with(version, "redacts", "\"$top\""), JSON_LAX, NULL)) {
            json_key(&w, member->key);
            json_add_raw(&w, slice_eq(member->key, SLICE("type"))      ? SLICE("\"m.room.redaction\"")
                             : slice_eq(member->key, SLICE("content")) ? SLICE("{\"redacts\":\"$inner\"}")
                                                                       : member->span);
        }
        json_end_object(&w);
        struct event *event = parsed(version->id, arena_cstr(arena, json_done(&w)));
        check_text("redacts", slice_from_cstr(version->id), event->redacts, v < 11 ? SLICE("$top") : SLICE("$inner"));
        event = parsed(version->id, arena_cstr(arena, event_with(version, "redacts", "\"$top\"")));
        assert_true(slice_is_absent(event->redacts));
    }
}

static void ids_in_their_alphabets(void **state)
{
    for (int v = 3; v <= 12; v++) {
        const struct room_version *version = room_version_at((size_t)v - 1);
        struct event *event = parsed(version->id, arena_cstr(arena, event_with(version, NULL, NULL)));
        struct slice hash = event_reference_hash(arena, version, event->json);
        struct slice text = v == 3 ? base64_encode(arena, hash) : base64_encode_url(arena, hash);
        check_text("event_id", slice_from_cstr(version->id), event->event_id, arena_printf(arena, "$%.*s", PRI(text)));
    }
}

static void create_event_names_its_room(void **state)
{
    const char *create =
        "{\"type\":\"m.room.create\",\"state_key\":\"\",\"sender\":\"@u:domain\",\"content\":{\"room_version\":\"12\"},\"depth\":1,"
        "\"origin_server_ts\":1,\"prev_events\":[],\"auth_events\":[],\"hashes\":{\"sha256\":\"x\"},\"signatures\":{}}";
    struct event *event = parsed("12", create);
    assert_int_equal(event->room_id.len, 44);
    assert_int_equal(event->room_id.at[0], '!');
    check_text("room_id", SLICE("create"), slice_sub(event->room_id, 1, 43), slice_sub(event->event_id, 1, 43));
    struct event *unused = NULL;
    assert_int_equal(event_parse(arena, room_version_find(SLICE("11")), slice_from_cstr(create), &unused, NULL), FAULT_BAD_JSON);
}

static struct slice event_of_size(size_t raw_bytes, const char *extra)
{
    const struct room_version *version = room_version_find(SLICE("11"));
    struct strbuf content = strbuf_in(arena);
    size_t rest = event_with(version, "content", "{\"a\":\"\"}").len;
    strbuf_add_cstr(&content, "{\"a\":\"");
    for (size_t i = rest; i < raw_bytes; i++)
        strbuf_add_char(&content, 'x');
    strbuf_add_cstr(&content, "\"}");
    struct slice event = event_with(version, "content", arena_cstr(arena, strbuf_slice(&content)));
    return arena_printf(arena, "%.*s%s}", (int)event.len - 1, event.at, extra);
}

static void size_limit(void **state)
{
    const struct room_version *version = room_version_find(SLICE("11"));
    struct event *event = NULL;
    const char *why = NULL;
    assert_int_equal(event_parse(arena, version, event_of_size(PDU_BYTES_MAX, "   "), &event, &why), FAULT_OK);
    assert_int_equal(event->raw.len, PDU_BYTES_MAX);
    assert_int_equal(event_parse(arena, version, event_of_size(PDU_BYTES_MAX, ",\"unsigned\":{\"age\":12345}"), &event, &why),
                     FAULT_OK);
    assert_int_equal(event_parse(arena, version, event_of_size(PDU_BYTES_MAX + 1, ""), &event, &why), FAULT_TOO_LARGE);
    assert_string_equal(why, "event is larger than 65536 bytes");
}

static void content_hash(void **state)
{
    const struct room_version *version = room_version_find(SLICE("11"));
    struct slice text = event_with(version, NULL, NULL);
    struct slice hash = base64_encode(arena, event_content_hash(arena, json_parse(arena, text, JSON_LAX, NULL)));
    struct slice right = arena_printf(arena, "{\"sha256\":\"%.*s\"}", PRI(hash));
    struct slice padded = arena_printf(arena, "{\"sha256\":\"%.*s=\"}", PRI(hash));
    struct slice short_one = arena_printf(arena, "{\"sha256\":\"%.*s\"}", (int)hash.len - 4, hash.at);
    const struct {
        const char *hashes;
        bool matches;
    } hashes[] = {
        {arena_cstr(arena, right), true}, {arena_cstr(arena, padded), true}, {arena_cstr(arena, short_one), false},
        {"{\"sha256\":\"\"}", false},     {"{\"sha256\":\"?\"}", false},     {"{\"sha256\":\"" HASH "\"}", false},
    };
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++) {
        struct event *event = parsed("11", arena_cstr(arena, event_with(version, "hashes", hashes[i].hashes)));
        assert_int_equal(event_content_hash_matches(arena, event), hashes[i].matches);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_case, setup, teardown),
        cmocka_unit_test_setup_teardown(history_has_no_limits_on_edges, setup, teardown),
        cmocka_unit_test_setup_teardown(texts_that_are_no_events, setup, teardown),
        cmocka_unit_test_setup_teardown(fields, setup, teardown),
        cmocka_unit_test_setup_teardown(message_event_has_no_state_key, setup, teardown),
        cmocka_unit_test_setup_teardown(redacts_by_version, setup, teardown),
        cmocka_unit_test_setup_teardown(ids_in_their_alphabets, setup, teardown),
        cmocka_unit_test_setup_teardown(create_event_names_its_room, setup, teardown),
        cmocka_unit_test_setup_teardown(size_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(content_hash, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
