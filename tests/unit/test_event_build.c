/* Building, signing and showing events: what event_build makes parses as the version's format and carries its own hash; who
 * must sign it; how clients see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/matrix/event.h"
#include "test_event_files.h"

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

static struct event *parsed(const struct room_version *version, struct slice text)
{
    struct event *event;
    const char *why = NULL;
    if (event_parse(arena, version, text, &event, &why))
        fail_msg("version %s, %s: %.*s", version->id, why, PRI(text));
    return event;
}

static struct slice room_of(const struct room_version *version)
{
    return version->room_id_is_create_hash ? SLICE("!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA") : SLICE("!r:domain");
}

static struct slice built(const struct room_version *version, const struct event_draft *draft)
{
    static const struct slice prev[] = {{"$p:domain", 9}, {"$q:domain", 9}}, auth[] = {{"$a:domain", 9}};
    struct slice text = event_build(arena, version, draft, room_of(version), 5, (struct slices){prev, 2}, (struct slices){auth, 1});
    assert_false(slice_is_absent(text));
    return event_add_signature(arena, text, SLICE("domain"), SLICE("ed25519:1"), SLICE("sig"));
}

static void built_events_parse(void **state)
{
    const struct room_version *version;
    for (size_t i = 0; (version = room_version_at(i)); i++) {
        struct event_draft draft = {.type = SLICE("m.room.topic"),
                                    .state_key = SLICE(""),
                                    .sender = SLICE("@u:domain"),
                                    .content = SLICE("{ \"topic\": \"\\u65e5\", \"a\": [ 1 ] }"),
                                    .origin_server_ts = 12};
        struct slice text = built(version, &draft);
        struct event *event = parsed(version, text);
        check_text("raw", slice_from_cstr(version->id), event->raw, text);
        assert_true(event_content_hash_matches(arena, event));
        assert_int_equal(event->depth, 5);
        assert_int_equal(event->origin_server_ts, 12);
        assert_int_equal(event->prev_events.len, 2);
        check_text("auth event", slice_from_cstr(version->id), event->auth_events.at[0], SLICE("$a:domain"));
        check_text("content", slice_from_cstr(version->id), json_canonical(arena, event->content, NULL),
                   SLICE("{\"a\":[1],\"topic\":\"日\"}"));
        assert_true(event_is_state_of(event, "m.room.topic", SLICE("")));
    }
}

static void version_1_ids(void **state)
{
    const struct room_version *version = room_version_find(SLICE("1"));
    struct event_draft draft = {.type = SLICE("x"), .sender = SLICE("@u:domain"), .content = SLICE("{}"), .origin_server_ts = 12};
    struct slice first = parsed(version, built(version, &draft))->event_id;
    assert_true(slice_starts_with(first, SLICE("$")) && slice_ends_with(first, SLICE(":domain")));
    draft.origin_server_ts++;
    assert_false(slice_eq(first, parsed(version, built(version, &draft))->event_id));
    struct slice hashes[] = {SLICE("one"), SLICE("two")};
    draft.prev_hashes = (struct slices){hashes, 2};
    const struct json *event = json_parse(arena, built(version, &draft), JSON_LAX, NULL);
    check_text("prev_events", SLICE("version 1"), json_get_array(event, "prev_events")->span,
               SLICE("[[\"$p:domain\",{\"sha256\":\"one\"}],[\"$q:domain\",{\"sha256\":\"two\"}]]"));
    check_text("auth_events", SLICE("version 1"), json_get_array(event, "auth_events")->span, SLICE("[[\"$a:domain\",{}]]"));
}

static void create_event_of_version_12(void **state)
{
    const struct room_version *version = room_version_find(SLICE("12"));
    struct event_draft draft = {.type = SLICE("m.room.create"),
                                .state_key = SLICE(""),
                                .sender = SLICE("@u:domain"),
                                .content = SLICE("{\"room_version\":\"12\"}"),
                                .origin_server_ts = 12};
    struct slice text = event_build(arena, version, &draft, SLICE_ABSENT, 1, (struct slices){0}, (struct slices){0});
    text = event_add_signature(arena, text, SLICE("domain"), SLICE("ed25519:1"), SLICE("sig"));
    struct event *event = parsed(version, text);
    assert_null(json_get_cstr(event->json, "room_id"));
    assert_int_equal(event->room_id.at[0], '!');
}

static void content_the_version_forbids(void **state)
{
    struct event_draft draft = {
        .type = SLICE("x"), .sender = SLICE("@u:domain"), .content = SLICE("{\"a\":1.5}"), .origin_server_ts = 1};
    const struct slices none = {0};
    assert_true(slice_is_absent(event_build(arena, room_version_find(SLICE("6")), &draft, SLICE("!r:domain"), 1, none, none)));
    assert_false(slice_is_absent(event_build(arena, room_version_find(SLICE("5")), &draft, SLICE("!r:domain"), 1, none, none)));
    draft.content = SLICE("{");
    assert_true(slice_is_absent(event_build(arena, room_version_find(SLICE("5")), &draft, SLICE("!r:domain"), 1, none, none)));
}

static void added_signatures(void **state)
{
    static const struct {
        const char *name, *before, *after;
    } cases[] = {
        {"none yet", "{\"a\":1}", "{\"a\":1,\"signatures\":{\"s\":{\"ed25519:k\":\"new\"}}}"},
        {"another server's", "{\"signatures\":{\"a\":{\"ed25519:1\":\"x\"}}}",
         "{\"signatures\":{\"a\":{\"ed25519:1\":\"x\"},\"s\":{\"ed25519:k\":\"new\"}}}"},
        {"another key's", "{\"signatures\":{\"s\":{\"ed25519:z\":\"x\"}}}",
         "{\"signatures\":{\"s\":{\"ed25519:k\":\"new\",\"ed25519:z\":\"x\"}}}"},
        {"the same key's", "{\"signatures\":{\"s\":{\"ed25519:k\":\"old\"}}}", "{\"signatures\":{\"s\":{\"ed25519:k\":\"new\"}}}"},
        {"unsigned stays", "{\"unsigned\":{\"age\":1}}",
         "{\"signatures\":{\"s\":{\"ed25519:k\":\"new\"}},\"unsigned\":{\"age\":1}}"},
        {"signatures is no object", "{\"signatures\":[1]}", "{\"signatures\":{\"s\":{\"ed25519:k\":\"new\"}}}"},
        {"not an object", "[]", NULL},
        {"not JSON", "{", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_text("signed", slice_from_cstr(cases[i].name),
                   event_add_signature(arena, slice_from_cstr(cases[i].before), SLICE("s"), SLICE("ed25519:k"), SLICE("new")),
                   slice_from_cstr(cases[i].after));
}

static void found_signatures(void **state)
{
    const struct json *object = json_parse(
        arena, SLICE("{\"signatures\":{\"s\":{\"ed25519:1\":\"a\",\"rsa:1\":\"b\",\"ed25519:2\":3,\"ed25519:4\":\"d\"},\"t\":1}}"),
        JSON_LAX, NULL);
    struct slices ids = json_signature_key_ids(arena, object, SLICE("s"));
    assert_int_equal(ids.len, 2);
    check_text("key", SLICE("first"), ids.at[0], SLICE("ed25519:1"));
    check_text("key", SLICE("second"), ids.at[1], SLICE("ed25519:4"));
    check_text("signature", SLICE("first"), json_signature(object, SLICE("s"), ids.at[0]), SLICE("a"));
    assert_true(slice_is_absent(json_signature(object, SLICE("s"), SLICE("ed25519:2"))));
    assert_true(slice_is_absent(json_signature(object, SLICE("t"), SLICE("ed25519:1"))));
    assert_true(slice_is_absent(json_signature(NULL, SLICE("t"), SLICE("ed25519:1"))));
    assert_int_equal(json_signature_key_ids(arena, object, SLICE("t")).len, 0);
    assert_int_equal(json_signature_key_ids(arena, object, SLICE("u")).len, 0);
}

static const struct {
    const char *name;
    const char *version, *type, *sender, *event_id, *content;
    const char *signers; /* joined by blanks, '-' for the one that does not exist */
} signer_cases[] = {
    {"message", "11", "m.room.message", "@u:one", NULL, "{}", "one"},
    {"server with a port", "11", "m.room.message", "@u:one:8448", NULL, "{}", "one:8448"},
    {"version 1, same server", "1", "m.room.message", "@u:one", "$e:one", "{}", "one"},
    {"version 2, other server", "2", "m.room.message", "@u:one", "$e:two", "{}", "one two"},
    {"version 3 has no such id", "3", "m.room.message", "@u:one", "$e:two", "{}", "one"},
    {"restricted join", "8", "m.room.member", "@u:one", NULL,
     "{\"membership\":\"join\",\"join_authorised_via_users_server\":\"@v:two\"}", "one two"},
    {"restricted join, same server", "9", "m.room.member", "@u:one", NULL,
     "{\"membership\":\"join\",\"join_authorised_via_users_server\":\"@v:one\"}", "one"},
    {"before there were restricted joins", "7", "m.room.member", "@u:one", NULL,
     "{\"membership\":\"join\",\"join_authorised_via_users_server\":\"@v:two\"}", "one"},
    {"authoriser is not text", "8", "m.room.member", "@u:one", NULL,
     "{\"membership\":\"join\",\"join_authorised_via_users_server\":1}", "one -"},
    {"authoriser names no server", "8", "m.room.member", "@u:one", NULL,
     "{\"membership\":\"join\",\"join_authorised_via_users_server\":\"v\"}", "one -"},
    {"authoriser on a message", "8", "m.room.message", "@u:one", NULL, "{\"join_authorised_via_users_server\":\"@v:two\"}", "one"},
    {"third-party invite", "11", "m.room.member", "@u:one", NULL, "{\"membership\":\"invite\",\"third_party_invite\":{}}", ""},
    {"third-party invite of version 1", "1", "m.room.member", "@u:one", "$e:two",
     "{\"membership\":\"invite\",\"third_party_invite\":{}}", "two"},
    {"third-party join is none", "11", "m.room.member", "@u:one", NULL, "{\"membership\":\"join\",\"third_party_invite\":{}}",
     "one"},
};

static void required_signers(void **state)
{
    for (size_t i = 0; i < sizeof signer_cases / sizeof signer_cases[0]; i++) {
        struct event event = {
            .version = room_version_find(slice_from_cstr(signer_cases[i].version)),
            .type = slice_from_cstr(signer_cases[i].type),
            .sender = slice_from_cstr(signer_cases[i].sender),
            .event_id = slice_from_cstr(signer_cases[i].event_id),
            .content = json_parse(arena, slice_from_cstr(signer_cases[i].content), JSON_LAX, NULL),
        };
        struct slice signers[3];
        struct strbuf joined = strbuf_in(arena);
        size_t count = event_required_signers(&event, signers);
        for (size_t s = 0; s < count; s++) {
            strbuf_add_cstr(&joined, s ? " " : "");
            strbuf_add(&joined, signers[s].len ? signers[s] : SLICE("-"));
        }
        check_text("signers", slice_from_cstr(signer_cases[i].name), slice_of(joined.at ? joined.at : "", joined.len),
                   slice_from_cstr(signer_cases[i].signers));
    }
}

static struct slice shown(const struct event *event, struct slice unsigned_json)
{
    struct json_writer w = json_writer_in(arena);
    event_for_client(&w, event, unsigned_json);
    return json_done(&w);
}

static void client_form(void **state)
{
    const struct room_version *version = room_version_find(SLICE("1"));
    struct event *event = parsed(
        version, SLICE("{\"type\":\"x\",\"state_key\":\"\",\"sender\":\"@u:d\",\"room_id\":\"!r:d\",\"event_id\":\"$e:d\","
                       "\"content\":{\"b\":1,\"a\":2},\"depth\":1,\"origin_server_ts\":2,\"prev_events\":[],\"auth_events\":[],"
                       "\"hashes\":{\"sha256\":\"x\"},\"signatures\":{},\"origin\":\"d\",\"redacts\":\"$f:d\","
                       "\"membership\":\"join\",\"unsigned\":{\"secret\":1}}"));
    check_text(
        "state", SLICE("client"), shown(event, SLICE_ABSENT),
        SLICE(
            "{\"content\":{\"b\":1,\"a\":2},\"event_id\":\"$e:d\",\"origin_server_ts\":2,\"room_id\":\"!r:d\",\"sender\":\"@u:d\","
            "\"state_key\":\"\",\"type\":\"x\"}"));
    event->state_key = SLICE_ABSENT;
    check_text(
        "message", SLICE("client"), shown(event, SLICE("{\"age\":5}")),
        SLICE(
            "{\"content\":{\"b\":1,\"a\":2},\"event_id\":\"$e:d\",\"origin_server_ts\":2,\"room_id\":\"!r:d\",\"sender\":\"@u:d\","
            "\"type\":\"x\",\"unsigned\":{\"age\":5}}"));
}

/* Both places in every version, whatever the client had written in the wrong one; none once the redaction is redacted. */
static void redactions_name_their_target_twice(void **state)
{
    const struct room_version *version;
    for (size_t i = 0; (version = room_version_at(i)); i++) {
        struct event_draft draft = {.type = SLICE("m.room.redaction"),
                                    .sender = SLICE("@u:domain"),
                                    .origin_server_ts = 12,
                                    .content = SLICE("{\"reason\":\"spam\",\"redacts\":\"$wrong\"}"),
                                    .redacts = SLICE("$target")};
        struct event *event = parsed(version, built(version, &draft));
        check_text("redacts", slice_from_cstr(version->id), event->redacts, SLICE("$target"));
        const struct json *seen = json_parse(arena, shown(event, SLICE_ABSENT), JSON_LAX, NULL);
        check_text("outer", slice_from_cstr(version->id), json_get_string(seen, "redacts"), SLICE("$target"));
        check_text("inner", slice_from_cstr(version->id), json_string(json_path(seen, "content.redacts")), SLICE("$target"));
        check_text("reason", slice_from_cstr(version->id), json_string(json_path(seen, "content.reason")), SLICE("spam"));
        struct event *redacted = parsed(version, event_redact(arena, version, event->json));
        check_text("event_id", slice_from_cstr(version->id), redacted->event_id, event->event_id);
        assert_int_equal(slice_is_absent(redacted->redacts), !version->redacts_in_content);
        assert_non_null(json_parse(arena, shown(redacted, SLICE_ABSENT), JSON_LAX, NULL));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(built_events_parse, setup, teardown),
        cmocka_unit_test_setup_teardown(version_1_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(create_event_of_version_12, setup, teardown),
        cmocka_unit_test_setup_teardown(content_the_version_forbids, setup, teardown),
        cmocka_unit_test_setup_teardown(added_signatures, setup, teardown),
        cmocka_unit_test_setup_teardown(found_signatures, setup, teardown),
        cmocka_unit_test_setup_teardown(required_signers, setup, teardown),
        cmocka_unit_test_setup_teardown(client_form, setup, teardown),
        cmocka_unit_test_setup_teardown(redactions_name_their_target_twice, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
