/* "Redactions" of each version against tests/vectors/redaction.json, and what must hold for any event: redacting twice is
 * redacting once, and neither id nor signed bytes notice a redaction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base/base64.h"
#include "lib/matrix/event.h"
#include "test_event_files.h"

static struct arena *arena;

static int setup(void **state)
{
    arena = arena_create(256 << 20);
    return 0;
}

static int teardown(void **state)
{
    arena_destroy(&arena);
    return 0;
}

static void check_vector(const struct json *vector, const struct room_version *version)
{
    struct slice name = arena_printf(arena, "%.*s, version %s", PRI(json_get_string(vector, "name")), version->id);
    const struct json *event = json_get_object(vector, "event");
    struct slice expected = json_canonical(arena, json_get_object(vector, "redacted"), NULL);
    check_text("redacted event", name, event_redact(arena, version, event), expected);
    check_text("reference hash", name, base64_encode(arena, event_reference_hash(arena, version, event)),
               json_get_string(vector, "reference_hash"));
    check_text("content hash", name, base64_encode(arena, event_content_hash(arena, event)),
               json_get_string(vector, "content_hash"));
}

static void vectors(void **state)
{
    bool seen[16] = {false};
    json_each (vector, vectors_read(arena, "redaction.json"))
        json_each (id, json_get_array(vector, "versions")) {
            const struct room_version *version = room_version_find(json_string(id));
            assert_non_null(version);
            check_vector(vector, version);
            seen[atoi(version->id)] = true;
        }
    for (int i = 1; i <= 12; i++)
        assert_true(seen[i]);
}

/* Events by chance: known and unknown keys at both levels, values of any type. The seed is fixed, so a failure repeats. */
static uint32_t chance;

static uint32_t dice(uint32_t sides)
{
    chance = chance * 1664525u + 1013904223u;
    return (chance >> 16) % sides;
}

static struct slice pick(const char *const *words, uint32_t count)
{
    return slice_from_cstr(words[dice(count)]);
}

static void put_random_value(struct json_writer *w)
{
    static const char *const values[] = {
        "0", "\"x\"", "null", "true", "[]", "{}", "[{\"signed\":1}]", "{\"signed\":{\"a\":\"\\u65e5\"},\"b\":1}", "\"\""};
    json_add_raw(w, pick(values, sizeof values / sizeof values[0]));
}

static void put_random_members(struct json_writer *w, const char *const *keys, uint32_t count)
{
    for (uint32_t first = dice(count), i = 0; i < count; i++)
        if (dice(2)) {
            json_key(w, slice_from_cstr(keys[(first + i) % count]));
            put_random_value(w);
        }
}

static const struct json *random_event(void)
{
    static const char *const top[] = {"event_id",   "room_id",     "sender",     "state_key",   "hashes", "signatures",
                                      "depth",      "prev_events", "prev_state", "auth_events", "origin", "origin_server_ts",
                                      "membership", "unsigned",    "redacts",    "other"};
    static const char *const inner[] = {"membership",
                                        "join_authorised_via_users_server",
                                        "third_party_invite",
                                        "creator",
                                        "join_rule",
                                        "allow",
                                        "ban",
                                        "events",
                                        "invite",
                                        "users",
                                        "aliases",
                                        "history_visibility",
                                        "redacts",
                                        "signed",
                                        "body"};
    static const char *const types[] = {"m.room.member",       "m.room.create",  "m.room.join_rules",
                                        "m.room.power_levels", "m.room.aliases", "m.room.history_visibility",
                                        "m.room.redaction",    "m.room.message"};
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_string(&w, "type", pick(types, sizeof types / sizeof types[0]));
    put_random_members(&w, top, sizeof top / sizeof top[0]);
    json_put_object(&w, "content");
    put_random_members(&w, inner, sizeof inner / sizeof inner[0]);
    json_end_object(&w);
    json_end_object(&w);
    return json_parse(arena, json_done(&w), JSON_CANONICAL, NULL);
}

static void redacting_twice_is_redacting_once(void **state)
{
    for (uint32_t seed = 1; seed <= 4000; seed++) {
        chance = seed * 2654435761u;
        const struct json *event = random_event();
        assert_non_null(event);
        const struct room_version *version;
        for (size_t i = 0; (version = room_version_at(i)); i++) {
            struct slice once = event_redact(arena, version, event), name = SLICE("random event");
            const struct json *redacted = json_parse(arena, once, JSON_CANONICAL, NULL);
            assert_non_null(redacted);
            check_text("redacted again", name, event_redact(arena, version, redacted), once);
            check_text("signed part", name, event_signing_bytes(arena, version, redacted),
                       event_signing_bytes(arena, version, event));
            check_text("hash", name, event_reference_hash(arena, version, redacted), event_reference_hash(arena, version, event));
        }
        arena_reset(arena);
    }
}

static const struct json *parsed(const char *text)
{
    const struct json *event = json_parse(arena, slice_from_cstr(text), JSON_LAX, NULL);
    assert_non_null(event);
    return event;
}

/* An event_id in a PDU of version 3 or later is noise; in versions 1 and 2 it is part of what is signed. */
static void event_id_is_hashed_only_where_it_belongs(void **state)
{
    const struct json *with = parsed("{\"content\":{},\"event_id\":\"$e:d\",\"type\":\"x\"}");
    const struct json *without = parsed("{\"content\":{},\"type\":\"x\"}");
    const struct room_version *version;
    for (size_t i = 0; (version = room_version_at(i)); i++)
        assert_int_equal(slice_eq(event_reference_hash(arena, version, with), event_reference_hash(arena, version, without)),
                         version->event_id_format != EVENT_ID_V1);
}

static void odd_events_do_no_harm(void **state)
{
    const struct room_version *version = room_version_find(SLICE("11"));
    check_text("no content", SLICE("odd"), event_redact(arena, version, parsed("{\"type\":\"x\",\"a\":1}")),
               SLICE("{\"type\":\"x\"}"));
    check_text("type", SLICE("odd"), event_redact(arena, version, parsed("{\"type\":1,\"content\":{\"a\":1}}")),
               SLICE("{\"content\":{},\"type\":1}"));
    check_text("content", SLICE("odd"), event_redact(arena, version, parsed("{\"content\":\"ban\"}")), SLICE("{\"content\":{}}"));
    check_text("array", SLICE("odd"), event_redact(arena, version, parsed("[]")), SLICE("{}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(vectors, setup, teardown),
        cmocka_unit_test_setup_teardown(redacting_twice_is_redacting_once, setup, teardown),
        cmocka_unit_test_setup_teardown(event_id_is_hashed_only_where_it_belongs, setup, teardown),
        cmocka_unit_test_setup_teardown(odd_events_do_no_harm, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
