/* Identifier grammar (spec appendix), server names and globs, case by case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/matrix/ids.h"

#define TEN(x) x x x x x x x x x x
#define BYTES_250 TEN("aaaaaaaaaaaaaaaaaaaaaaaaa")

struct verdict {
    struct slice text;
    bool valid;
};

static void check(const char *what, bool (*is_valid)(struct slice), const struct verdict *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_valid(cases[i].text) != cases[i].valid)
            fail_msg("%s: \"%.*s\" should be %s", what, PRI(cases[i].text), cases[i].valid ? "valid" : "refused");
    assert_false(is_valid(SLICE_ABSENT));
    assert_false(is_valid(SLICE("")));
}
#define CHECK(is_valid, cases) check(#is_valid, is_valid, cases, sizeof cases / sizeof cases[0])

static void user_ids(void **state)
{
    static const struct verdict cases[] = {
        {SLICE("@alice:example.org"), true},
        {SLICE("@alice:example.org:8448"), true},
        {SLICE("@alice:[::1]:8448"), true},
        {SLICE("@:example.org"), true}, /* historical: empty, blanks, upper case, any code point */
        {SLICE("@A l\x01ice:example.org"), true},
        {SLICE("@é日:example.org"), true},
        {SLICE("@" BYTES_250 ":abc"), true},
        {SLICE("@" BYTES_250 ":abcd"), false},
        {SLICE("@a\0b:example.org"), false},
        {SLICE("@a\xff:example.org"), false},
        {SLICE("@a\xed\xa0\x80:example.org"), false}, /* a surrogate */
        {SLICE("alice:example.org"), false},
        {SLICE("!alice:example.org"), false},
        {SLICE("@alice"), false},
        {SLICE("@alice:"), false},
        {SLICE("@alice:exa mple"), false},
        {SLICE("@alice:example.org:"), false},
        {SLICE("@"), false},
    };
    CHECK(user_id_is_valid, cases);
}

static void localparts(void **state)
{
    static const struct verdict cases[] = {
        {SLICE("alice"), true}, {SLICE("a-z0.9_=/+"), true}, {SLICE("Alice"), false}, {SLICE("al ice"), false},
        {SLICE("é"), false},    {SLICE("a:b"), false},       {SLICE("a\0"), false},   {SLICE("a~"), false},
    };
    CHECK(user_localpart_is_valid, cases);
}

static void room_ids(void **state)
{
    static const struct verdict cases[] = {
        {SLICE("!abc:example.org"), true},   {SLICE("!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ"), true},
        {SLICE("!é b:example.org"), true},   {SLICE("!"), false},
        {SLICE("#abc:example.org"), false},  {SLICE("!abc:"), false},
        {SLICE("!a\0c:example.org"), false}, {SLICE("!" BYTES_250 ":abcd"), false},
    };
    CHECK(room_id_is_valid, cases);
}

static void room_aliases(void **state)
{
    static const struct verdict cases[] = {
        {SLICE("#abc:example.org"), true},  {SLICE("#日 本:example.org"), true}, {SLICE("#abc"), false},
        {SLICE("!abc:example.org"), false}, {SLICE("#abc:exämple.org"), false},  {SLICE("#" BYTES_250 ":abcd"), false},
    };
    CHECK(room_alias_is_valid, cases);
}

static void event_ids(void **state)
{
    static const struct verdict cases[] = {
        {SLICE("$abc:example.org"), true},
        {SLICE("$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk"), true},
        {SLICE("$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg"), true},
        {SLICE("$"), false},
        {SLICE("abc"), false},
        {SLICE("$abc:"), false},
        {SLICE("$12345" BYTES_250), false},
    };
    CHECK(event_id_is_valid, cases);
}

static void parts(void **state)
{
    static const struct {
        struct slice id, local, server;
    } cases[] = {
        {SLICE("@a:b"), SLICE("a"), SLICE("b")}, {SLICE("@a:b:1"), SLICE("a"), SLICE("b:1")},
        {SLICE("@:b"), SLICE(""), SLICE("b")},   {SLICE("!hash"), SLICE("hash"), {NULL, 0}},
        {SLICE("@a:"), SLICE("a"), SLICE("")},   {SLICE("@a:[::1]:8"), SLICE("a"), SLICE("[::1]:8")},
        {SLICE(""), {NULL, 0}, {NULL, 0}},       {{NULL, 0}, {NULL, 0}, {NULL, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slice local = id_localpart(cases[i].id), server = id_server_name(cases[i].id);
        assert_true(slice_eq(local, cases[i].local) && slice_is_absent(local) == slice_is_absent(cases[i].local));
        assert_true(slice_eq(server, cases[i].server) && slice_is_absent(server) == slice_is_absent(cases[i].server));
    }
}

static void server_names(void **state)
{
    static const struct {
        struct slice name, host;
        int port;
        bool is_ipv4, is_ipv6;
    } good[] = {
        {SLICE("matrix.org"), SLICE("matrix.org"), -1, false, false},
        {SLICE("matrix.org:8888"), SLICE("matrix.org"), 8888, false, false},
        {SLICE("1.2.3.4"), SLICE("1.2.3.4"), -1, true, false},
        {SLICE("1.2.3.4:1234"), SLICE("1.2.3.4"), 1234, true, false},
        {SLICE("[1234:5678::abcd]"), SLICE("1234:5678::abcd"), -1, false, true},
        {SLICE("[1234:5678::abcd]:5678"), SLICE("1234:5678::abcd"), 5678, false, true},
        {SLICE("[::ffff:1.2.3.4]"), SLICE("::ffff:1.2.3.4"), -1, false, true},
        {SLICE("hs1"), SLICE("hs1"), -1, false, false},
        {SLICE("EXAMPLE.org"), SLICE("EXAMPLE.org"), -1, false, false},
        {SLICE("a-b.c"), SLICE("a-b.c"), -1, false, false},
        {SLICE("1.2.3"), SLICE("1.2.3"), -1, false, false},
        {SLICE("1.2.3.4.5"), SLICE("1.2.3.4.5"), -1, false, false},
        {SLICE("1.2.3.4a"), SLICE("1.2.3.4a"), -1, false, false},
        {SLICE("a:0"), SLICE("a"), 0, false, false},
        {SLICE("a:65535"), SLICE("a"), 65535, false, false},
    };
    static const struct slice bad[] = {
        SLICE(""),           SLICE(":80"),
        SLICE("a:"),         SLICE("a:65536"),
        SLICE("a:123456"),   SLICE("a:-1"),
        SLICE("a:8a"),       SLICE("a:1:2"),
        SLICE("a b"),        SLICE("a_b"),
        SLICE("a/b"),        SLICE("ä"),
        SLICE("a\0"),        SLICE("a:1\0"),
        SLICE("[::1"),       SLICE("[::1]80"),
        SLICE("[::1]:"),     SLICE("[]"),
        SLICE("[::1%eth0]"), SLICE("[1.2.3.4]"),
        SLICE("[:::]"),      SLICE("[g::1]"),
        SLICE("::1"),        SLICE("[::1]x:80"),
        SLICE("[::1\0]"),    SLICE("[1234567890:1234567890:1234567890:1234567890:1]"),
        SLICE("256.1.1.1"),  SLICE("1.2.3.999"),
        SLICE("01.2.3.4"),   SLICE(BYTES_250 "aaaaaa"),
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct server_name found;
        if (!server_name_parse(good[i].name, &found))
            fail_msg("\"%.*s\" was refused", PRI(good[i].name));
        assert_true(slice_eq(found.host, good[i].host));
        assert_int_equal(found.port, good[i].port);
        assert_int_equal(found.is_ipv4, good[i].is_ipv4);
        assert_int_equal(found.is_ipv6, good[i].is_ipv6);
        assert_true(server_name_is_valid(good[i].name));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct server_name untouched = {.port = 4711};
        if (server_name_parse(bad[i], &untouched) || server_name_is_valid(bad[i]))
            fail_msg("\"%.*s\" was accepted", PRI(bad[i]));
        assert_int_equal(untouched.port, 4711);
    }
}

static void globs(void **state)
{
    static const struct {
        struct slice pattern, text;
        bool matches;
    } cases[] = {
        {SLICE(""), SLICE(""), true},
        {SLICE(""), SLICE("a"), false},
        {SLICE("*"), SLICE(""), true},
        {SLICE("**"), SLICE("abc"), true},
        {SLICE("?"), SLICE(""), false},
        {SLICE("?"), SLICE("a"), true},
        {SLICE("?"), SLICE("日"), true},
        {SLICE("??"), SLICE("日"), false},
        {SLICE("*??"), SLICE("日"), false},
        {SLICE("*?"), SLICE("日本"), true},
        {SLICE("a?c"), SLICE("abc"), true},
        {SLICE("evil.com"), SLICE("EVIL.com"), true},
        {SLICE("evil.com"), SLICE("evilxcom"), false},
        {SLICE("*.evil.com"), SLICE("a.b.evil.com"), true},
        {SLICE("*.evil.com"), SLICE("evil.com"), false},
        {SLICE("*.evil.com"), SLICE("evil.com.org"), false},
        {SLICE("evil.*"), SLICE("evil."), true},
        {SLICE("a*b*c"), SLICE("aXbYbZc"), true},
        {SLICE("a*b*c"), SLICE("aXbYbZ"), false},
        {SLICE("*aab"), SLICE("aaaab"), true},
        {SLICE("[ab]"), SLICE("a"), false}, /* no classes, no escapes */
        {SLICE("\\*"), SLICE("*"), false},
        {SLICE("*"), SLICE("*"), true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (glob_match(cases[i].pattern, cases[i].text) != cases[i].matches)
            fail_msg("\"%.*s\" on \"%.*s\"", PRI(cases[i].pattern), PRI(cases[i].text));
}

/* Would take years if every '*' were tried again. */
static void hostile_glob(void **state)
{
    struct slice pattern = SLICE("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b"), text = SLICE(BYTES_250);
    assert_false(glob_match(pattern, text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(user_ids),     cmocka_unit_test(localparts), cmocka_unit_test(room_ids),
        cmocka_unit_test(room_aliases), cmocka_unit_test(event_ids),  cmocka_unit_test(parts),
        cmocka_unit_test(server_names), cmocka_unit_test(globs),      cmocka_unit_test(hostile_glob),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
