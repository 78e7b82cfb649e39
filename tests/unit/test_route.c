/* The route table says what it may say, and paths find their rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/base/strbuf.h"
#include "proto/route.h"

static const struct route *match(struct arena *arena, const char *method, const char *path, struct slice *params, size_t *count,
                                 bool *known)
{
    return route_match(arena, slice_from_cstr(method), slice_from_cstr(path), params, count, known);
}

static void every_row_is_sound(void **state)
{
    for (size_t i = 0; i < route_count; i++) {
        const struct route *route = &routes[i];
        print_message("  %s %s\n", route_method_name(route->method), route->path);
        assert_int_equal(route->path[0], '/');
        assert_true(strlen(route->reference) > 0);
        assert_true(route->body_cap > 0);
        assert_true(route->kind > SERVICE_frontend && route->kind < SERVICE_COUNT);
        assert_ptr_equal(route_find_key(route_key(route)), route); /* keys are unique too */
        bool is_special = !*route->lane || route->lane[0] == '@';
        assert_true(is_special || route_param_index(route, route->lane) >= 0);
        assert_true(!is_special || !*route->lane || strcmp(route->lane, LANE_USER) == 0 || strcmp(route->lane, LANE_ORIGIN) == 0);
        if (route->method == METHOD_GET)
            assert_int_equal(route->body, BODY_NONE);
        for (size_t j = 0; j < i; j++)
            assert_false(routes[j].method == route->method && strcmp(routes[j].path, route->path) == 0);
    }
}

/* Each row is found by a path made from it, with its parameters in order. */
static void every_row_is_found(void **state)
{
    for (size_t i = 0; i < route_count; i++) {
        struct arena *arena = arena_create(1024 * 1024);
        struct strbuf path = strbuf_in(arena);
        size_t expected = 0, count;
        for (const char *c = routes[i].path; *c; c++) {
            if (*c != '{') {
                strbuf_add_char(&path, *c);
                continue;
            }
            strbuf_printf(&path, "%%21value%zu%%2f", expected++);
            c = strchr(c, '}');
        }
        strbuf_add_char(&path, '\0');
        struct slice params[ROUTE_PARAMS_MAX];
        bool known;
        const struct route *found = match(arena, route_method_name(routes[i].method), path.at, params, &count, &known);
        assert_ptr_equal(found, &routes[i]);
        assert_int_equal(count, expected);
        for (size_t p = 0; p < count; p++)
            assert_true(slice_eq(params[p], arena_printf(arena, "!value%zu/", p)));
        arena_destroy(&arena);
    }
}

static void paths_and_methods(void **state)
{
    static const struct {
        const char *method, *path, *handler; /* NULL: none */
        bool known;
    } cases[] = {
        {"GET", "/_matrix/client/versions", "versions", true},
        {"POST", "/_matrix/client/versions", NULL, true},
        {"PATCH", "/_matrix/client/versions", NULL, true},
        {"get", "/_matrix/client/versions", NULL, true},
        {"GET", "/_matrix/client/versions/", NULL, false},
        {"GET", "/_matrix/client", NULL, false},
        {"GET", "/", NULL, false},
        {"GET", "", NULL, false},
        {"GET", "*", NULL, false},
        {"GET", "//", NULL, false},
        {"GET", "/_matrix/client/v3/rooms//state", NULL, false},
        {"PUT", "/_matrix/client/v3/rooms/!a:b/state/m.room.name", "send_state", true},
        {"PUT", "/_matrix/client/v3/rooms/!a:b/state/m.room.name/", "send_state", true},
        {"PUT", "/_matrix/client/v3/rooms/!a:b/state/m.room.member/@u:b", "set_member", true},
        {"PUT", "/_matrix/client/v3/rooms/!a:b/state/%6d.room%2Emember/@u:b", "set_member", true},
        {"PUT", "/_matrix/client/v3/rooms/!a:b/state/m.room.member%2f/@u:b", "send_state", true},
        {"PUT", "/_matrix/client/v3/rooms/!a:b/state/m.room.member%/@u:b", "send_state", true},
        {"PUT", "/_matrix/client/v3/rooms/!a:b/state/m.room.canonical_alias/", "set_canonical_alias", true},
        {"PUT", "/_matrix/client/v3/rooms/!a:b/state/m.room.canonical_alias/key", "send_state", true},
        {"PUT", "/_matrix/client/v3/rooms/!a:b/state//", NULL, false},
        {"GET", "/_matrix/client/v3/register/available", "register_available", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena *arena = arena_create(1024 * 1024);
        struct slice params[ROUTE_PARAMS_MAX];
        size_t count;
        bool known = !cases[i].known;
        print_message("  %s %s\n", cases[i].method, cases[i].path);
        const struct route *route = match(arena, cases[i].method, cases[i].path, params, &count, &known);
        assert_int_equal(known, cases[i].known);
        if (cases[i].handler)
            assert_string_equal(route->handler, cases[i].handler);
        else
            assert_null(route);
        arena_destroy(&arena);
    }
}

static void percent_decoding(void **state)
{
    static const struct {
        const char *in, *out;
        bool plus;
    } cases[] = {
        {"", "", false},       {"plain", "plain", false}, {"%41", "A", false},     {"%4", "%4", false},
        {"%", "%", false},     {"%zz", "%zz", false},     {"a%20b", "a b", false}, {"%e2%82%ac", "\xe2\x82\xac", false},
        {"a+b", "a+b", false}, {"a+b%2B", "a b+", true},  {"%%41", "%A", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena *arena = arena_create(64 * 1024);
        assert_true(slice_eq(percent_decode(arena, slice_from_cstr(cases[i].in), cases[i].plus), slice_from_cstr(cases[i].out)));
        arena_destroy(&arena);
    }
}

static void keys_are_stable(void **state)
{
    assert_null(route_find_key(12345));
    /* The key is part of the wire: a changed hash would break frontends and workers of different versions. */
    assert_int_equal(route_key(&routes[0]), slice_hash(SLICE("GET/_matrix/client/versions")));
}

static void how_fast(void **state)
{
    struct arena *arena = arena_create(1024 * 1024);
    struct slice params[ROUTE_PARAMS_MAX];
    size_t count, rounds = 100000;
    bool known;
    int64_t begun_us = clock_monotonic_us();
    for (size_t i = 0; i < rounds; i++)
        assert_non_null(match(arena, "PUT", "/_matrix/client/v3/rooms/!a:b/send/m.room.message/t1", params, &count, &known));
    print_message("%.0f ns per match\n", (double)(clock_monotonic_us() - begun_us) * 1000 / (double)rounds);
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_sound), cmocka_unit_test(every_row_is_found), cmocka_unit_test(paths_and_methods),
        cmocka_unit_test(percent_decoding),   cmocka_unit_test(keys_are_stable),    cmocka_unit_test(how_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
