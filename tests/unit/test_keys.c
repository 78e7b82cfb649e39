/* Reading servers' signed keys: what is believed and what is not. Answers are signed here with a key of the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <sodium.h>

#include "lib/base/base64.h"
#include "workers/keys/key_answer.c"

#include <cmocka.h>

enum { NOW = 1700000000 };
#define NOW_MS (NOW * INT64_C(1000))
#define DAY_MS (INT64_C(24) * 3600 * 1000)

static struct arena *arena;
static unsigned char secret[crypto_sign_SECRETKEYBYTES], public[crypto_sign_PUBLICKEYBYTES];
static struct slice public_text;

static int set_up(void **state)
{
    static const unsigned char seed[crypto_sign_SEEDBYTES] = {7};
    assert_true(sodium_init() >= 0);
    crypto_sign_seed_keypair(public, secret, seed);
    arena = arena_create(1 << 24);
    public_text = base64_encode(arena, slice_of(public, sizeof public));
    return 0;
}

static int tear_down(void **state)
{
    arena_destroy(&arena);
    return 0;
}

/* Signs for `server` with key id `key_id`. "KEY" in the text stands for the public key. */
static struct slice signed_answer(const char *text, struct slice server, struct slice key_id)
{
    struct strbuf filled = strbuf_in(arena);
    for (const char *at = text; *at; at++) {
        if (strncmp(at, "KEY", 3) == 0) {
            strbuf_add(&filled, public_text);
            at += 2;
        } else {
            strbuf_add_char(&filled, *at);
        }
    }
    struct slice bytes = json_canonical(arena, json_parse(arena, strbuf_slice(&filled), JSON_CANONICAL, NULL), NULL);
    unsigned char signature[crypto_sign_BYTES];
    crypto_sign_detached(signature, NULL, (const unsigned char *)bytes.at, bytes.len, secret);
    return event_add_signature(arena, bytes, server, key_id, base64_encode(arena, slice_of(signature, sizeof signature)));
}

#define GOOD \
    "{\"server_name\":\"a.example\",\"valid_until_ts\":1700000100000,\"verify_keys\":{\"ed25519:1\":{\"key\":\"KEY\"},\"rsa:1\":{" \
    "\"key\":\"x\"}}," \
    "\"old_verify_keys\":{\"ed25519:0\":{\"key\":\"KEY\",\"expired_ts\":1600000000000}}}"

static void test_good(void **state)
{
    struct key_answer answer;
    const char *why;
    struct slice text = signed_answer(GOOD, SLICE("a.example"), SLICE("ed25519:1"));
    assert_true(key_answer_read(arena, text, SLICE("a.example"), NOW_MS, &answer, &why));
    assert_int_equal(answer.count, 2);
    assert_int_equal(answer.valid_until_ts, 1700000100000);
    assert_true(slice_eq(answer.json, text));
    const struct verify_key *new = verify_key_find(answer.keys, answer.count, SLICE("ed25519:1"));
    const struct verify_key *old = verify_key_find(answer.keys, answer.count, SLICE("ed25519:0"));
    assert_true(new &&old && !new->is_old && old->is_old);
    assert_true(slice_eq(new->public_key, slice_of(public, sizeof public)));
    assert_true(verify_key_is_good_at(new, 0) && verify_key_is_good_at(new, 1) && verify_key_is_good_at(new, 1700000100000));
    assert_false(verify_key_is_good_at(new, 1700000100001));
    assert_true(verify_key_is_good_at(old, 0) && verify_key_is_good_at(old, 1599999999999));
    assert_false(verify_key_is_good_at(old, 1600000000000));
    assert_null(verify_key_find(answer.keys, answer.count, SLICE("rsa:1")));
}

static void test_validity_is_capped(void **state)
{
    struct key_answer answer;
    const char *why;
    struct slice text = signed_answer(
        "{\"server_name\":\"a.example\",\"valid_until_ts\":9007199254740991,\"verify_keys\":{\"ed25519:1\":{\"key\":\"KEY\"}}}",
        SLICE("a.example"), SLICE("ed25519:1"));
    assert_true(key_answer_read(arena, text, SLICE("a.example"), NOW_MS, &answer, &why));
    assert_int_equal(answer.valid_until_ts, NOW_MS + 7 * DAY_MS);
    assert_int_equal(answer.keys[0].valid_until_ts, NOW_MS + 7 * DAY_MS);
}

static void test_refused(void **state)
{
#define KEYS "\"verify_keys\":{\"ed25519:1\":{\"key\":\"KEY\"}}"
    static const struct {
        const char *name, *text, *signer, *key_id;
    } cases[] = {
        {"another server", "{\"server_name\":\"b.example\",\"valid_until_ts\":1," KEYS "}", "a.example", "ed25519:1"},
        {"no server name", "{\"valid_until_ts\":1," KEYS "}", "a.example", "ed25519:1"},
        {"no time", "{\"server_name\":\"a.example\"," KEYS "}", "a.example", "ed25519:1"},
        {"time as text", "{\"server_name\":\"a.example\",\"valid_until_ts\":\"1\"," KEYS "}", "a.example", "ed25519:1"},
        {"no keys", "{\"server_name\":\"a.example\",\"valid_until_ts\":1}", "a.example", "ed25519:1"},
        {"keys in a list", "{\"server_name\":\"a.example\",\"valid_until_ts\":1,\"verify_keys\":[]}", "a.example", "ed25519:1"},
        {"short key", "{\"server_name\":\"a.example\",\"valid_until_ts\":1,\"verify_keys\":{\"ed25519:1\":{\"key\":\"AAAA\"}}}",
         "a.example", "ed25519:1"},
        {"old key without its end",
         "{\"server_name\":\"a.example\",\"valid_until_ts\":1," KEYS ",\"old_verify_keys\":{\"ed25519:0\":{\"key\":\"KEY\"}}}",
         "a.example", "ed25519:1"},
        {"old keys in a list", "{\"server_name\":\"a.example\",\"valid_until_ts\":1," KEYS ",\"old_verify_keys\":[]}", "a.example",
         "ed25519:1"},
        {"signed by somebody else", "{\"server_name\":\"a.example\",\"valid_until_ts\":1," KEYS "}", "b.example", "ed25519:1"},
        {"signed with another key", "{\"server_name\":\"a.example\",\"valid_until_ts\":1," KEYS "}", "a.example", "ed25519:2"},
        {"signed with an old key",
         "{\"server_name\":\"a.example\",\"valid_until_ts\":1,\"verify_keys\":{},\"old_verify_keys\":{\"ed25519:0\":{\"key\":"
         "\"KEY\",\"expired_ts\":5}}}",
         "a.example", "ed25519:0"},
        {"key id with a blank",
         "{\"server_name\":\"a.example\",\"valid_until_ts\":1,\"verify_keys\":{\"ed25519:a b\":{\"key\":\"KEY\"}}}", "a.example",
         "ed25519:a b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct key_answer answer = {.count = 99};
        const char *why = NULL;
        struct slice text = signed_answer(cases[i].text, slice_from_cstr(cases[i].signer), slice_from_cstr(cases[i].key_id));
        if (key_answer_read(arena, text, SLICE("a.example"), NOW_MS, &answer, &why))
            fail_msg("accepted: %s", cases[i].name);
        assert_non_null(why);
        assert_int_equal(answer.count, 99);
    }
    static const char *const texts[] = {"", "{", "[]", "null", "{\"server_name\":1.5}", "{\"a\":1,\"a\":1}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct key_answer answer;
        const char *why;
        assert_false(key_answer_read(arena, slice_from_cstr(texts[i]), SLICE("a.example"), NOW_MS, &answer, &why));
    }
}

static void test_changed_after_signing(void **state)
{
    struct key_answer answer;
    const char *why;
    struct slice text = arena_copy(arena, signed_answer(GOOD, SLICE("a.example"), SLICE("ed25519:1")));
    char *digit = memmem(text.at, text.len, "1700000100000", 13);
    digit[12] = '1';
    assert_false(key_answer_read(arena, text, SLICE("a.example"), NOW_MS, &answer, &why));
}

static void test_too_many_and_too_large(void **state)
{
    struct strbuf text = strbuf_in(arena);
    struct key_answer answer;
    const char *why;
    strbuf_add_cstr(&text, "{\"server_name\":\"a.example\",\"valid_until_ts\":1,\"verify_keys\":{");
    for (int i = 0; i <= KEYS_MAX; i++)
        strbuf_printf(&text, "%s\"ed25519:%d\":{\"key\":\"KEY\"}", i ? "," : "", i);
    strbuf_add_cstr(&text, "}}");
    strbuf_add_char(&text, '\0');
    assert_false(key_answer_read(arena, signed_answer(text.at, SLICE("a.example"), SLICE("ed25519:1")), SLICE("a.example"), NOW_MS,
                                 &answer, &why));
    assert_string_equal(why, "malformed or too many keys");
    char *large = arena_alloc_raw(arena, KEY_ANSWER_BYTES_MAX + 1);
    memset(large, ' ', KEY_ANSWER_BYTES_MAX + 1);
    assert_false(key_answer_read(arena, slice_of(large, KEY_ANSWER_BYTES_MAX + 1), SLICE("a.example"), NOW_MS, &answer, &why));
    assert_string_equal(why, "oversize");
}

static void test_merge(void **state)
{
    const struct verify_key older[] = {{.key_id = SLICE("ed25519:1"), .valid_until_ts = 1},
                                       {.key_id = SLICE("ed25519:9"), .valid_until_ts = 9}};
    const struct verify_key newer[] = {{.key_id = SLICE("ed25519:1"), .valid_until_ts = 2}};
    const struct key_answer answer = {.keys = newer, .count = 1};
    size_t count;
    const struct verify_key *keys = verify_keys_merge(arena, &answer, older, 2, &count);
    assert_int_equal(count, 2);
    assert_int_equal(keys[0].valid_until_ts, 2);
    assert_int_equal(keys[1].valid_until_ts, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_validity_is_capped),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_changed_after_signing),
        cmocka_unit_test(test_too_many_and_too_large),
        cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
