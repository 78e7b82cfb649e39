/* Numbers and fields that travel between versions (proto/README.md, "Rules of change") against what they were: each line of
 * tests/vectors/wire_ids.txt must still be true, but for messages that grew fields at their end. What is not in the file yet is
 * printed, to be appended there. A retired row's line gets "retired" in front: then nothing may have its number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/strbuf.h"
#include "lib/kit/stream.h"
#include "proto/message_fields.h"

#define PATH MYELIN_SOURCE_DIR "/tests/vectors/wire_ids.txt"

/* Lines of now, "kind number rest", by the order of the tables. */
struct facts {
    struct arena *arena;
    struct slice lines[1024];
    size_t count;
};

static void add(struct facts *facts, struct slice line)
{
    assert_true(facts->count < sizeof facts->lines / sizeof facts->lines[0]);
    facts->lines[facts->count++] = line;
}

static void add_message(struct facts *facts, const struct message_facts *message, bool reply)
{
    static const char *const types[] = {"end", "i64", "bool", "slice", "slices", "i64s", "raw", "raws"};
    struct strbuf out = strbuf_in(facts->arena);
    const char *kind = message->kind < SERVICE_COUNT ? service_facts(message->kind)->name : "any";
    strbuf_add(&out, arena_printf(facts->arena, "%s 0x%04x %s %s", reply ? "reply" : "request", message->id, message->name, kind));
    for (const struct message_field *field = message_fields(message, reply); field->type; field++)
        strbuf_add(&out, arena_printf(facts->arena, " %s:%s", field->name, types[field->type]));
    add(facts, strbuf_slice(&out));
}

static struct facts facts_of_now(void)
{
    struct facts facts = {.arena = arena_create(4 * 1024 * 1024)};
#define FAULT(name, id, status, errcode, text, retryable) add(&facts, arena_printf(facts.arena, "fault %d %s", id, #name));
#include "proto/faults.def"
#undef FAULT
#define STREAM(name, id, what) add(&facts, arena_printf(facts.arena, "stream %d %s", id, #name));
#include "proto/stream.def"
#undef STREAM
    for (size_t i = 0; message_at(i); i++) {
        add_message(&facts, message_at(i), false);
        add_message(&facts, message_at(i), true);
    }
    return facts;
}

/* "kind number" of a line. */
static struct slice key_of(struct slice line)
{
    size_t at = 0;
    for (int blanks = 0; at < line.len && (blanks += line.at[at] == ' ') < 2; at++)
        continue;
    return slice_sub(line, 0, at);
}

static const struct slice *find(const struct slice *lines, size_t count, struct slice key)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(key_of(lines[i]), key))
            return &lines[i];
    }
    return NULL;
}

/* Words of the line of now after those of the remembered one are new fields. */
static bool has_grown_from(struct slice now, struct slice before)
{
    return slice_eq(now, before) || (slice_starts_with(now, before) && now.at[before.len] == ' ' &&
                                     slice_starts_with(before, SLICE("re"))); /* request, reply */
}

static size_t read_lines(struct arena *arena, struct slice *lines, size_t capacity)
{
    char line[4096];
    size_t count = 0;
    FILE *file = fopen(PATH, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        struct slice text = slice_trim(slice_from_cstr(line));
        if (!text.len || text.at[0] == '#')
            continue;
        assert_true(count < capacity);
        lines[count++] = arena_copy(arena, text);
    }
    fclose(file);
    return count;
}

static void what_was_said_stays_true(void **state)
{
    static struct slice remembered[2048];
    struct facts now = facts_of_now();
    size_t count = read_lines(now.arena, remembered, 2048), broken = 0;
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        struct slice line = remembered[i], word, rest;
        bool is_retired = slice_cut(line, ' ', &word, &rest) && slice_eq(word, SLICE("retired"));
        const struct slice *found = find(now.lines, now.count, key_of(is_retired ? rest : line));
        bool is_fine = is_retired ? !found : found && has_grown_from(*found, line);
        if (!is_fine)
            print_message("said before: %.*s\n        now: %.*s\n", PRI(line), PRI(found ? *found : SLICE("gone")));
        broken += !is_fine;
    }
    assert_int_equal(broken, 0);
    for (size_t i = 0; i < now.count; i++) {
        const struct slice *before = find(remembered, count, key_of(now.lines[i]));
        if (!before || !slice_eq(*before, now.lines[i]))
            print_message("new, to be remembered at the next release:\n%.*s\n", PRI(now.lines[i]));
    }
    arena_destroy(&now.arena);
}

/* The comparison itself. */
static void what_counts_as_grown(void **state)
{
    assert_true(has_grown_from(SLICE("request 0x1 a any x:i64 y:i64"), SLICE("request 0x1 a any x:i64")));
    assert_false(has_grown_from(SLICE("request 0x1 a any x:i64s"), SLICE("request 0x1 a any x:i64")));
    assert_false(has_grown_from(SLICE("request 0x1 a any y:i64 x:i64"), SLICE("request 0x1 a any x:i64")));
    assert_false(has_grown_from(SLICE("request 0x1 a any"), SLICE("request 0x1 a any x:i64")));
    assert_false(has_grown_from(SLICE("fault 1 BAD JSON"), SLICE("fault 1 BAD")));
    assert_true(slice_eq(key_of(SLICE("fault 12 X")), SLICE("fault 12")));
}

int main(void)
{
    if (getenv("WRITE")) { /* the whole file anew, for its first version */
        struct facts now = facts_of_now();
        for (size_t i = 0; i < now.count; i++)
            printf("%.*s\n", PRI(now.lines[i]));
        arena_destroy(&now.arena);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_counts_as_grown),
        cmocka_unit_test(what_was_said_stays_true),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
