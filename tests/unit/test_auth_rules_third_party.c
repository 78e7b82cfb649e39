/* Rule 5.4.1, invitations that redeem an m.room.third_party_invite, with real signatures of an identity server. */
#include "tests/unit/test_auth_rules_room.h"

#include <sodium.h>

#include "lib/base/base64.h"

struct identity_server {
    unsigned char public_key[crypto_sign_PUBLICKEYBYTES], secret_key[crypto_sign_SECRETKEYBYTES];
};

static struct slice public_key_of(struct arena *arena, const struct identity_server *server)
{
    return base64_encode(arena, slice_of(server->public_key, sizeof server->public_key));
}

static struct slice sign(struct arena *arena, const struct identity_server *server, const char *text)
{
    unsigned char signature[crypto_sign_BYTES];
    crypto_sign_detached(signature, NULL, (const unsigned char *)text, strlen(text), server->secret_key);
    return base64_encode(arena, slice_of(signature, sizeof signature));
}

#define CANONICAL "{\"mxid\":\"@yan:y\",\"token\":\"t\"}"
#define SIGNED "\"mxid\":\"@yan:y\",\"token\":\"t\""

struct redeem_case {
    const char *name, *rejected;
    const char *offer;   /* %K: the key, %L: another key; NULL: none in the room */
    const char *signed_; /* the "signed" member; %S: its signature by the key */
    const char *sender;
    struct event_line state;
};
#define SIGNATURES(key_id) "\"signatures\":{\"id.example\":{\"" key_id "\":\"%S\"}}"
#define GOOD "{" SIGNED "," SIGNATURES("ed25519:0") "}"

static const struct redeem_case cases[] = {
    {"5.4.1.7.1 the single key", NULL, "{\"public_key\":\"%K\"}", GOOD, "@bob:b"},
    {"5.4.1.7.2 one of the keys", NULL, "{\"public_key\":\"%L\",\"public_keys\":[{\"public_key\":\"%L\"},{\"public_key\":\"%K\"}]}",
     GOOD, "@bob:b"},
    {"5.4.1.7 what is unsigned does not count", NULL, "{\"public_key\":\"%K\"}",
     "{\"token\":\"t\",\"mxid\":\"@yan:y\"," SIGNATURES("ed25519:0") ",\"unsigned\":{}}", "@bob:b"},
    {"5.4.1.7 the invite level is not asked",
     NULL,
     "{\"public_key\":\"%K\"}",
     GOOD,
     "@bob:b",
     {"m.room.power_levels", "", "@alice:a", "{\"invite\":100}"}},
    {"5.4.1.7 the sender need not be joined",
     NULL,
     "{\"public_key\":\"%K\"}",
     GOOD,
     "@bob:b",
     {"m.room.member", "@bob:b", "@bob:b", "{\"membership\":\"leave\"}"}},
    {"5.4.1.7 among other signatures", NULL, "{\"public_key\":\"%K\"}",
     "{" SIGNED ",\"signatures\":{\"x\":7,\"y\":{\"ed25519:1\":\"AAAA\",\"ed25519:2\":3,\"ed25519:3\":\"%S\"}}}", "@bob:b"},
    {"5.4.1.1 banned",
     "banned",
     "{\"public_key\":\"%K\"}",
     GOOD,
     "@bob:b",
     {"m.room.member", "@yan:y", "@mod:a", "{\"membership\":\"ban\"}"}},
    {"5.4.1.2 no signed", "no signed", "{\"public_key\":\"%K\"}", NULL, "@bob:b"},
    {"5.4.1.2 signed not an object", "no signed", "{\"public_key\":\"%K\"}", "[]", "@bob:b"},
    {"5.4.1.3 no mxid", "no mxid", "{\"public_key\":\"%K\"}", "{\"token\":\"t\"," SIGNATURES("ed25519:0") "}", "@bob:b"},
    {"5.4.1.3 no token", "no token", "{\"public_key\":\"%K\"}", "{\"mxid\":\"@yan:y\"," SIGNATURES("ed25519:0") "}", "@bob:b"},
    {"5.4.1.3 token not a string", "no token", "{\"public_key\":\"%K\"}", "{\"mxid\":\"@yan:y\",\"token\":7}", "@bob:b"},
    {"5.4.1.4 another mxid", "mxid", "{\"public_key\":\"%K\"}", "{\"mxid\":\"@xi:x\",\"token\":\"t\"," SIGNATURES("ed25519:0") "}",
     "@bob:b"},
    {"5.4.1.5 no such token", "no such token", NULL, GOOD, "@bob:b"},
    {"5.4.1.6 another sender", "sender", "{\"public_key\":\"%K\"}", GOOD, "@mod:a"},
    {"5.4.1.8 another key", "no signature", "{\"public_key\":\"%L\"}", GOOD, "@bob:b"},
    {"5.4.1.8 no keys", "no signature", "{}", GOOD, "@bob:b"},
    {"5.4.1.8 no signatures", "no signature", "{\"public_key\":\"%K\"}", "{" SIGNED "}", "@bob:b"},
    {"5.4.1.8 not ed25519", "no signature", "{\"public_key\":\"%K\"}", "{" SIGNED "," SIGNATURES("other:0") "}", "@bob:b"},
    {"5.4.1.8 more than was signed", "no signature", "{\"public_key\":\"%K\"}", "{" SIGNED ",\"x\":1," SIGNATURES("ed25519:0") "}",
     "@bob:b"},
};

/* Puts the keys and the signature in place of their marks. */
static const char *filled(struct arena *arena, const char *text, struct slice key, struct slice other, struct slice signature)
{
    struct strbuf out = strbuf_in(arena);
    for (; *text; text++) {
        if (*text != '%') {
            strbuf_add_char(&out, *text);
            continue;
        }
        text++;
        strbuf_add(&out, *text == 'K' ? key : *text == 'L' ? other : signature);
    }
    return arena_cstr(arena, strbuf_slice(&out));
}

static void run(const struct redeem_case *redeem, int number)
{
    struct arena *arena = arena_create(1 << 20);
    struct identity_server server, stranger;
    crypto_sign_keypair(server.public_key, server.secret_key);
    crypto_sign_keypair(stranger.public_key, stranger.secret_key);
    struct slice key = public_key_of(arena, &server), other = public_key_of(arena, &stranger);
    struct slice signature = sign(arena, &server, CANONICAL);

    const char *content =
        redeem->signed_
            ? filled(arena,
                     arena_cstr(arena, arena_printf(arena, "{\"membership\":\"invite\",\"third_party_invite\":{\"signed\":%s}}",
                                                    redeem->signed_)),
                     key, other, signature)
            : "{\"membership\":\"invite\",\"third_party_invite\":true}";
    struct rule_case rule = {.name = redeem->name, .rejected = redeem->rejected};
    rule.event = (struct event_line){"m.room.member", "@yan:y", redeem->sender, content};
    rule.state[0] = (struct event_line){"m.room.third_party_invite", "t", "@bob:b",
                                        redeem->offer ? filled(arena, redeem->offer, key, other, signature) : NULL};
    rule.state[1] = redeem->state;
    run_rule_case(&rule, number);
    arena_destroy(&arena);
}

static void test_redeeming(void **unused)
{
    assert_true(sodium_init() >= 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int number = 1; number <= 12; number++)
            run(&cases[i], number);
}

/* Two large events must not buy half a minute of signature checks. */
static void test_many_signatures_are_bounded(void **unused)
{
    struct arena *arena = arena_create(1 << 24);
    struct identity_server server;
    crypto_sign_keypair(server.public_key, server.secret_key);
    struct slice key = public_key_of(arena, &server), signature = sign(arena, &server, "something else");
    struct strbuf offer = strbuf_in(arena), content = strbuf_in(arena);
    strbuf_add_cstr(&offer, "{\"public_keys\":[");
    strbuf_add_cstr(&content, "{\"membership\":\"invite\",\"third_party_invite\":{\"signed\":{" SIGNED ",\"signatures\":{\"i\":{");
    for (int i = 0; i < 500; i++) {
        strbuf_printf(&offer, "%s{\"public_key\":\"%.*s\"}", i ? "," : "", PRI(key));
        strbuf_printf(&content, "%s\"ed25519:%d\":\"%.*s\"", i ? "," : "", i, PRI(signature));
    }
    strbuf_add_cstr(&offer, "]}");
    strbuf_add_cstr(&content, "}}}}}");
    struct rule_case rule = {.name = "many signatures", .rejected = "no signature"};
    rule.event = (struct event_line){"m.room.member", "@yan:y", "@bob:b", arena_cstr(arena, strbuf_slice(&content))};
    rule.state[0] = (struct event_line){"m.room.third_party_invite", "t", "@bob:b", arena_cstr(arena, strbuf_slice(&offer))};
    run_rule_case(&rule, 12); /* a quarter of a million checks would run into the test's time limit with sanitizers */
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redeeming),
        cmocka_unit_test(test_many_signatures_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
