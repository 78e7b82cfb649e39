/* Our parser against jansson and simdjson, on random documents whole and damaged. Where both sides accept, they must have
 * read the same value. Where one accepts and the other does not, the difference must be one of these, which we know and want:
 *  1. duplicate keys: simdjson accepts them; we reject, as jansson does when asked;
 *  2. depth: we stop at 100, simdjson at 1024, jansson at 2048;
 *  3. integers: we reject what does not fit int64, as jansson does; simdjson goes on to 2^64-1;
 *  4. NUL in a key: we and simdjson accept it, jansson can not hold it.
 *  5. a NUL byte behind a number or word: jansson puts the byte back and loses it (stream_get takes NUL for an empty
 *     buffer), so it reads a blank there; we reject.
 * Any other difference is a bug on one side. MYELIN_SEED repeats a run. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "json_oracles.h"
#include "test_json_naive.h"
#include "test_json_random.h"

enum { DOCUMENTS = 3000, DAMAGED_EACH = 15 };

typedef char *oracle(const char *text, size_t len, size_t *canonical_len);

static struct tally {
    unsigned both_accept, both_reject, permitted;
} tallies[2];

static bool has_nul_key(const struct json *value)
{
    json_each (child, value)
        if (slice_has_nul(child->key) || has_nul_key(child))
            return true;
    return false;
}

static bool may_reject_what_we_accept(oracle *other, const struct json *ours)
{
    return other == jansson_canonical && has_nul_key(ours); /* 4 */
}

/* With NULs behind numbers and words read as blanks, as jansson does, is it JSON? */
static bool is_json_but_for_nuls(struct arena *arena, struct slice text)
{
    char *blanked = arena_cstr(arena, text);
    for (size_t i = 1; i < text.len; i++)
        if (text.at[i] == '\0' && isalnum((unsigned char)text.at[i - 1]))
            blanked[i] = ' ';
    return slice_has_nul(text) && json_parse(arena, slice_of(blanked, text.len), JSON_LAX, NULL);
}

static bool may_accept_what_we_reject(oracle *other, const char *our_error, struct arena *arena, struct slice text)
{
    if (strcmp(our_error, "nested too deeply") == 0) /* 2 */
        return true;
    if (other == jansson_canonical)
        return is_json_but_for_nuls(arena, text);                                                    /* 5 */
    return strcmp(our_error, "duplicate key") == 0 || strcmp(our_error, "number out of range") == 0; /* 1, 3 */
}

static void compare_with(oracle *other, const char *name, struct arena *arena, struct slice text)
{
    struct tally *tally = &tallies[other == jansson_canonical];
    const char *our_error = NULL;
    const struct json *ours = json_parse(arena, text, JSON_LAX, &our_error);
    size_t length = 0;
    char *theirs = other(text.at, text.len, &length);
    if (!ours && !theirs) {
        tally->both_reject++;
    } else if (!ours) {
        if (!may_accept_what_we_reject(other, our_error, arena, text))
            fail_msg("%s accepts, we say %s: %.*s", name, our_error, PRI(text));
        tally->permitted++;
    } else if (!theirs) {
        if (!may_reject_what_we_accept(other, ours))
            fail_msg("%s rejects, we accept: %.*s", name, PRI(text));
        tally->permitted++;
    } else {
        struct strbuf naive = strbuf_in(arena);
        naive_canonical(&naive, ours);
        if (!slice_eq(strbuf_slice(&naive), slice_of(theirs, length)))
            fail_msg("%s reads %.*s, we %.*s", name, (int)length, theirs, PRI(strbuf_slice(&naive)));
        tally->both_accept++;
    }
    free(theirs);
}

static void compare(struct arena *arena, struct slice text)
{
    compare_with(simdjson_canonical, "simdjson", arena, text);
    compare_with(jansson_canonical, "jansson", arena, text);
}

/* One to three bytes overwritten, cut out, or doubled; often by bytes that mean something. */
static struct slice damaged(struct arena *arena, struct slice text, struct random *r)
{
    static const char meaningful[] = "{}[]:,\"\\u0dD8e.-+1 \n\0\x1f\x80\xbf\xc0\xe2\xed\xa0\xf0\xf4\xff";
    for (uint32_t left = 1 + random_below(r, 3); left > 0 && text.len; left--) {
        size_t at = random_below(r, (uint32_t)text.len);
        char c = meaningful[random_below(r, sizeof meaningful - 1)];
        struct slice middle = random_below(r, 3) ? slice_of(&c, 1) : slice_sub(text, at, random_below(r, 6));
        struct slice rest = slice_sub(text, at + random_below(r, 4), text.len);
        text = arena_concat(arena, (struct slice[]){slice_sub(text, 0, at), middle, rest}, 3);
    }
    return text;
}

static void random_documents(void **state)
{
    struct random r = random_start();
    for (int i = 0; i < DOCUMENTS; i++) {
        struct arena *arena = arena_create(256 << 20);
        r.reals = i % 2;
        struct slice text = random_document(arena, &r);
        compare(arena, text);
        struct strbuf other = strbuf_in(arena);
        respell(&other, json_parse(arena, text, JSON_LAX, NULL), &r);
        compare(arena, strbuf_slice(&other));
        if (text.len < 3000)
            for (int k = 0; k < DAMAGED_EACH; k++)
                compare(arena, damaged(arena, k % 2 ? strbuf_slice(&other) : text, &r));
        arena_destroy(&arena);
    }
    for (int i = 0; i < 2; i++)
        printf("%s: both accept %u, both reject %u, permitted differences %u\n", i ? "jansson" : "simdjson", tallies[i].both_accept,
               tallies[i].both_reject, tallies[i].permitted);
    for (int i = 0; i < 2; i++)
        assert_true(tallies[i].both_accept > DOCUMENTS && tallies[i].both_reject > DOCUMENTS);
}

static void chosen_documents(void **state)
{
    static const struct slice texts[] = {
        SLICE(""),
        SLICE(" "),
        SLICE("-0"),
        SLICE("[-0,0,-0.0,0e0,1E+2,1e-2]"),
        SLICE("9223372036854775807"),
        SLICE("9223372036854775808"),
        SLICE("-9223372036854775809"),
        SLICE("18446744073709551616"),
        SLICE("1e308"),
        SLICE("1e309"),
        SLICE("4.9e-324"),
        SLICE("1e-400"),
        SLICE("0.1000000000000000055511151231257827021181583404541015625"),
        SLICE("{\"a\":1,\"a\":2}"),
        SLICE("{\"a\\u0000\":1}"),
        SLICE("{\"a\\u0000\":1,\"a\":2}"),
        SLICE("\"\\ud800\""),
        SLICE("\"\\udc00\\ud800\""),
        SLICE("\"\\ud800\\u0041\""),
        SLICE("\"\xed\xa0\x80\""),
        SLICE("\"\xf4\x90\x80\x80\""),
        SLICE("\"\xef\xbf\xbf\""),
        SLICE("nul"),
        SLICE("NaN"),
        SLICE("01"),
        SLICE("[1,]"),
        SLICE("{} "),
        SLICE("{}\n{}"),
        SLICE("{}\0"),
        SLICE("[1\0,true\0]\0"),
    };
    struct arena *arena = arena_create(16 << 20);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        compare(arena, texts[i]);
    struct strbuf deep = strbuf_in(arena);
    for (int i = 0; i < 200; i++)
        strbuf_add_char(&deep, '[');
    for (int i = 0; i < 200; i++)
        strbuf_add_char(&deep, ']');
    compare(arena, strbuf_slice(&deep));
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chosen_documents),
        cmocka_unit_test(random_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
