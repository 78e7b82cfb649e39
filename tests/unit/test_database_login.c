/* A URL with another user: nothing else of it changes. */
#include "lib/kit/database_login.h"

#include <libpq-fe.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *word(PQconninfoOption *options, const char *name)
{
    for (; options->keyword; options++)
        if (strcmp(options->keyword, name) == 0)
            return options->val ? options->val : "";
    return "";
}

static void check(const char *url, const char *host, const char *database, const char *password)
{
    struct arena *arena = arena_create(1 << 20);
    PQconninfoOption *options = PQconninfoParse(arena_cstr(arena, database_login_url(arena, url, "myelin_sync")), NULL);
    assert_non_null(options);
    assert_string_equal(word(options, "user"), "myelin_sync");
    assert_string_equal(word(options, "host"), host);
    assert_string_equal(word(options, "dbname"), database);
    assert_string_equal(word(options, "password"), password);
    PQconninfoFree(options);
    arena_destroy(&arena);
}

static void test_only_the_user_changes(void **state)
{
    check("postgresql://owner:se%27cret%5C@db.example:5433/matrix", "db.example", "matrix", "se'cret\\");
    check("host=/run/a\\ b user=owner dbname='my db'", "/run/a b", "my db", "");
    check("dbname=x", "", "x", "");
}

static void test_what_cannot_be_read_stays(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    assert_true(slice_eq(database_login_url(arena, "nonsense", "x"), SLICE("nonsense")));
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_only_the_user_changes),
                                       cmocka_unit_test(test_what_cannot_be_read_stays)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
