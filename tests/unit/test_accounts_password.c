/* Passwords: our hashes, imported bcrypt hashes, upgrades, and what is not a password (workers/accounts/password.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "workers/accounts/password.c"

static struct arena *arena;

static int start(void **state)
{
    arena = arena_create(16 * 1024 * 1024);
    passwords_start(true);
    return 0;
}

static int finish(void **state)
{
    arena_destroy(&arena);
    return 0;
}

/* The hash that bcrypt has for a password, made here: crypt_r is its own reference. */
static struct slice bcrypt_of(const char *password)
{
    struct crypt_data *data = arena_new(arena, struct crypt_data);
    const char *hash = crypt_r(password, "$2b$04$abcdefghijklmnopqrstuu", data);
    assert_non_null(hash);
    return arena_copy(arena, slice_from_cstr(hash));
}

static void ours(void **state)
{
    struct slice hash = password_hash(arena, SLICE("correct horse"));
    assert_true(slice_starts_with(hash, SLICE("$argon2id$")));
    assert_int_equal(password_check(arena, SLICE("correct horse"), hash), PASSWORD_RIGHT);
    assert_int_equal(password_check(arena, SLICE("correct horsE"), hash), PASSWORD_WRONG);
    assert_false(slice_eq(hash, password_hash(arena, SLICE("correct horse")))); /* salted */
}

static void nobody(void **state)
{
    assert_int_equal(password_check(arena, SLICE("x"), SLICE_ABSENT), PASSWORD_WRONG);
    assert_int_equal(password_check(arena, SLICE("x"), SLICE("")), PASSWORD_WRONG);
    assert_int_equal(password_check(arena, SLICE("x"), SLICE("*0")), PASSWORD_WRONG);
    assert_int_equal(password_check(arena, SLICE("x"), SLICE("$2b$04$short")), PASSWORD_WRONG);
    assert_int_equal(password_check(arena, SLICE("x"), SLICE("$2b$99$abcdefghijklmnopqrstuu")), PASSWORD_WRONG);
}

static void imported(void **state)
{
    /* A vector of crypt_blowfish. */
    struct slice vector = SLICE("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW");
    assert_int_equal(password_check(arena, SLICE("U*U"), vector), PASSWORD_RIGHT_OUTDATED);
    assert_int_equal(password_check(arena, SLICE("U*V"), vector), PASSWORD_WRONG);
    assert_int_equal(password_check(arena, SLICE("correct horse"), bcrypt_of("correct horse")), PASSWORD_RIGHT_OUTDATED);
    assert_int_equal(password_check(arena, SLICE("correct"), bcrypt_of("correct horse")), PASSWORD_WRONG);
    /* Synapse hashes the NFKC form, cut to 72 bytes. */
    assert_int_equal(password_check(arena, SLICE("\xef\xac\x81ne"), bcrypt_of("fine")), PASSWORD_RIGHT_OUTDATED);
    char longer[100];
    memset(longer, 'x', sizeof longer);
    char cut[BCRYPT_BYTES_MAX + 1] = {0};
    memset(cut, 'x', BCRYPT_BYTES_MAX);
    assert_int_equal(password_check(arena, slice_of(longer, 80), bcrypt_of(cut)), PASSWORD_RIGHT_OUTDATED);
}

static void forms(void **state)
{
    struct slice composed = SLICE("\xc3\xbc"
                                  "ber"),
                 decomposed = SLICE("u\xcc\x88"
                                    "ber");
    assert_int_equal(password_check(arena, decomposed, password_hash(arena, composed)), PASSWORD_RIGHT);
    struct slice not_text = SLICE("\xff\xfe"); /* stays as it is */
    assert_int_equal(password_check(arena, not_text, password_hash(arena, not_text)), PASSWORD_RIGHT);
}

static void cost(void **state)
{
    struct slice cheap = password_hash(arena, SLICE("pw"));
    passwords_start(false);
    assert_int_equal(password_check(arena, SLICE("pw"), cheap), PASSWORD_RIGHT_OUTDATED);
    passwords_start(true);
}

static void unacceptable(void **state)
{
    char longer[PASSWORD_BYTES_MAX + 1];
    memset(longer, 'x', sizeof longer);
    assert_false(password_is_acceptable(SLICE("")));
    assert_false(password_is_acceptable(SLICE("a\0b")));
    assert_false(password_is_acceptable(slice_of(longer, sizeof longer)));
    assert_true(password_is_acceptable(slice_of(longer, PASSWORD_BYTES_MAX)));
    assert_int_equal(password_check(arena, SLICE("a\0b"), bcrypt_of("a")), PASSWORD_WRONG); /* crypt stops at a NUL */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ours),  cmocka_unit_test(nobody), cmocka_unit_test(imported),
        cmocka_unit_test(forms), cmocka_unit_test(cost),   cmocka_unit_test(unacceptable),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
