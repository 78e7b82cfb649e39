/* The X-Matrix header (Server-Server API "Request Authentication"): well-formed in all the ways RFC 9110 allows, malformed in
 * those that matter, and the bytes that are signed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/matrix/x_matrix.h"

static struct arena *arena;

static int setup(void **state)
{
    arena = arena_create(1 << 20);
    return 0;
}

static int teardown(void **state)
{
    arena_destroy(&arena);
    return 0;
}

static const struct {
    const char *name;
    const char *header;
    const char *origin, *destination, *key_id, *signature;
} good[] = {
    {"of the spec",
     "X-Matrix origin=\"origin.hs.example.com\",destination=\"destination.hs.example.com\",key=\"ed25519:key1\",sig=\"ABCDEF\"",
     "origin.hs.example.com", "destination.hs.example.com", "ed25519:key1", "ABCDEF"},
    {"old server", "X-Matrix origin=a,key=\"ed25519:1\",sig=\"s\"", "a", NULL, "ed25519:1", "s"},
    {"tokens with colons", "X-Matrix origin=a:8448,destination=b:1,key=ed25519:1,sig=AB+C", "a:8448", "b:1", "ed25519:1", "AB+C"},
    {"any order and case", "x-mAtRiX SIG=\"s\",Key=k,DESTINATION=b,oRIGIN=a", "a", "b", "k", "s"},
    {"blanks", "X-Matrix   origin=a \t, key=k\t,\tsig = \"s\" , destination =b  ", "a", "b", "k", "s"},
    {"empty elements", "X-Matrix ,, origin=a,,key=k, ,sig=s,", "a", NULL, "k", "s"},
    {"unknown parameters", "X-Matrix origin=a,what=\"ev,er\",key=k,what=else,sig=s", "a", NULL, "k", "s"},
    {"the list's own name for sig", "X-Matrix origin=a,key=k,signature=s", "a", NULL, "k", "s"},
    {"escapes", "X-Matrix origin=\"\\a\\b\",key=\"k\\\"\\\\x\",sig=\"s\"", "ab", NULL, "k\"\\x", "s"},
    {"comma and equals inside quotes", "X-Matrix origin=a,key=\"k,sig=z\",sig=\"s==\"", "a", NULL, "k,sig=z", "s=="},
    {"IPv6", "X-Matrix origin=\"[::1]:8448\",key=k,sig=s", "[::1]:8448", NULL, "k", "s"},
};

static const struct {
    const char *name;
    struct slice header;
} bad[] = {
    {"empty", SLICE("")},
    {"absent", {NULL, 0}},
    {"another scheme", SLICE("Bearer abc")},
    {"scheme alone", SLICE("X-Matrix")},
    {"scheme and blank", SLICE("X-Matrix ")},
    {"tab after the scheme", SLICE("X-Matrix\torigin=a,key=k,sig=s")},
    {"no origin", SLICE("X-Matrix key=k,sig=s")},
    {"no key", SLICE("X-Matrix origin=a,sig=s")},
    {"no sig", SLICE("X-Matrix origin=a,key=k")},
    {"empty origin", SLICE("X-Matrix origin=\"\",key=k,sig=s")},
    {"empty key", SLICE("X-Matrix origin=a,key=\"\",sig=s")},
    {"empty sig", SLICE("X-Matrix origin=a,key=k,sig=\"\"")},
    {"empty destination", SLICE("X-Matrix origin=a,destination=\"\",key=k,sig=s")},
    {"missing value", SLICE("X-Matrix origin=,key=k,sig=s")},
    {"missing name", SLICE("X-Matrix =a,origin=a,key=k,sig=s")},
    {"no equals", SLICE("X-Matrix origin,key=k,sig=s")},
    {"no comma", SLICE("X-Matrix origin=a key=k,sig=s")},
    {"two origins", SLICE("X-Matrix origin=a,origin=b,key=k,sig=s")},
    {"two signatures", SLICE("X-Matrix origin=a,key=k,sig=s,signature=t")},
    {"open quote", SLICE("X-Matrix origin=a,key=k,sig=\"s")},
    {"backslash at the end", SLICE("X-Matrix origin=a,key=k,sig=\"s\\")},
    {"text after a quote", SLICE("X-Matrix origin=\"a\"b,key=k,sig=s")},
    {"quote inside a token", SLICE("X-Matrix origin=a\"b\",key=k,sig=s")},
    {"slash outside quotes", SLICE("X-Matrix origin=a,key=k,sig=a/b")},
    {"control character", SLICE("X-Matrix origin=a,key=\"k\x01\",sig=s")},
    {"escaped control character", SLICE("X-Matrix origin=a,key=\"k\\\x01\",sig=s")},
    {"NUL", SLICE("X-Matrix origin=a,key=\"k\0\",sig=s")},
    {"NUL in a token", SLICE("X-Matrix origin=a,key=k\0,sig=s")},
    {"line break", SLICE("X-Matrix origin=a,\r\n key=k,sig=s")},
    {"origin is no server name", SLICE("X-Matrix origin=\"a b\",key=k,sig=s")},
    {"destination is no server name", SLICE("X-Matrix origin=a,destination=\"b/c\",key=k,sig=s")},
};

static void check_field(const char *name, struct slice actual, const char *expected)
{
    if (slice_is_absent(actual) != (expected == NULL) || !slice_eq(actual, slice_from_cstr(expected)))
        fail_msg("%s: \"%.*s\" instead of \"%s\"", name, PRI(actual), expected ? expected : "nothing");
}

static void check_fields(const char *name, const struct x_matrix *found, size_t i)
{
    check_field(name, found->origin, good[i].origin);
    check_field(name, found->destination, good[i].destination);
    check_field(name, found->key_id, good[i].key_id);
    check_field(name, found->signature, good[i].signature);
}

static void well_formed(void **state)
{
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct x_matrix found;
        if (!x_matrix_parse(arena, slice_from_cstr(good[i].header), &found))
            fail_msg("%s: refused", good[i].name);
        check_fields(good[i].name, &found, i);
    }
}

static void malformed(void **state)
{
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct x_matrix untouched = {.origin = SLICE("untouched")};
        if (x_matrix_parse(arena, bad[i].header, &untouched))
            fail_msg("%s: accepted", bad[i].name);
        check_field(bad[i].name, untouched.origin, "untouched");
    }
}

static void formatted(void **state)
{
    struct x_matrix header = {SLICE("a:8448"), SLICE("b"), SLICE("ed25519:1"), SLICE("s/+")}, again;
    struct slice text = x_matrix_format(arena, &header);
    check_field("format", text, "X-Matrix origin=\"a:8448\",destination=\"b\",key=\"ed25519:1\",sig=\"s/+\"");
    assert_true(x_matrix_parse(arena, text, &again));
    check_field("again", again.signature, "s/+");
    header.destination = SLICE_ABSENT;
    check_field("format", x_matrix_format(arena, &header), "X-Matrix origin=\"a:8448\",key=\"ed25519:1\",sig=\"s/+\"");
}

static void signing_bytes(void **state)
{
    struct slice method = SLICE("PUT"), uri = SLICE("/_matrix/x?a=%20\"b"), origin = SLICE("a"), destination = SLICE("b");
    check_field("with content",
                x_matrix_signing_bytes(arena, method, uri, origin, destination, SLICE(" { \"z\": 1, \"a\": [ \"\\u65e5\" ] } ")),
                "{\"content\":{\"a\":[\"日\"],\"z\":1},\"destination\":\"b\",\"method\":\"PUT\",\"origin\":\"a\",\"uri\":\"/"
                "_matrix/x?a=%20\\\"b\"}");
    check_field("without content", x_matrix_signing_bytes(arena, SLICE("GET"), SLICE("/"), origin, destination, SLICE_ABSENT),
                "{\"destination\":\"b\",\"method\":\"GET\",\"origin\":\"a\",\"uri\":\"/\"}");
    check_field("without destination", x_matrix_signing_bytes(arena, SLICE("GET"), SLICE("/"), origin, SLICE_ABSENT, SLICE_ABSENT),
                "{\"method\":\"GET\",\"origin\":\"a\",\"uri\":\"/\"}");
    check_field("content is not JSON", x_matrix_signing_bytes(arena, method, uri, origin, destination, SLICE("{")), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(well_formed, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(formatted, setup, teardown),
        cmocka_unit_test_setup_teardown(signing_bytes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
