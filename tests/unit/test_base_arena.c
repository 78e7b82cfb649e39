/* Arenas: alignment and zeroing, the limit with a handler that jumps, the order of deferred functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base/strbuf.h"

static void allocations_are_zeroed_and_aligned(void **state)
{
    struct arena *arena = arena_create(64 << 20);
    for (int round = 0; round < 3; round++) {
        for (size_t size = 1; size < 100000; size = size * 3 / 2 + 1) {
            unsigned char *at = arena_alloc(arena, size);
            assert_int_equal((uintptr_t)at % 16, 0);
            for (size_t i = 0; i < size; i++)
                assert_int_equal(at[i], 0);
            memset(at, 0xAA, size); /* what a reset must not let through */
        }
        assert_true(arena_used(arena) > 200000);
        arena_reset(arena);
        assert_int_equal(arena_used(arena), 0);
    }
    void *nothing = arena_alloc(arena, 0), *as_little = arena_alloc(arena, 0);
    assert_non_null(nothing);
    assert_ptr_not_equal(nothing, as_little);
    arena_destroy(&arena);
    assert_null(arena);
    arena_destroy(&arena);
}

static void copies(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    assert_true(slice_is_absent(arena_copy(arena, SLICE_ABSENT)));
    struct slice empty = arena_copy(arena, SLICE(""));
    assert_non_null(empty.at);
    assert_int_equal(empty.at[0], '\0');
    assert_string_equal(arena_cstr(arena, slice_of("abcdef", 3)), "abc");
    assert_string_equal(arena_cstr(arena, SLICE_ABSENT), "");
    assert_memory_equal(arena_cstr(arena, SLICE("a\0b")), "a\0b", 4);
    assert_true(slice_eq(arena_printf(arena, "%s-%d", "x", 7), SLICE("x-7")));
    struct slice wide = arena_printf(arena, "%1000d", 1);
    assert_int_equal(wide.len, 1000);
    assert_int_equal(wide.at[999], '1');
    assert_int_equal(wide.at[1000], '\0');
    const struct slice parts[] = {SLICE("a"), SLICE_ABSENT, SLICE(""), SLICE("bc")};
    assert_string_equal(arena_concat(arena, parts, 4).at, "abc");
    assert_string_equal(arena_concat(arena, NULL, 0).at, "");
    arena_destroy(&arena);
}

static void growing(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    char *at = arena_grow(arena, NULL, 0, 10);
    memcpy(at, "0123456789", 10);
    char *larger = arena_grow(arena, at, 10, 1000);
    assert_ptr_equal(larger, at); /* it was the last thing */
    arena_alloc(arena, 1);
    char *moved = arena_grow(arena, larger, 1000, 2000);
    assert_ptr_not_equal(moved, larger);
    assert_memory_equal(moved, "0123456789", 10);
    char *next_block = arena_grow(arena, moved, 2000, 100000);
    assert_memory_equal(next_block, "0123456789", 10);
    arena_destroy(&arena);
}

static void jump(void *context)
{
    longjmp(*(jmp_buf *)context, 1);
}

static void allocate_one(struct arena *arena)
{
    arena_alloc(arena, 1);
}

static void allocate_huge(struct arena *arena)
{
    arena_alloc(arena, SIZE_MAX);
}

static void allocate_overflowing_array(struct arena *arena)
{
    arena_alloc_array(arena, SIZE_MAX / 8 + 2, 8);
}

static void grow_buffer(struct arena *arena)
{
    struct strbuf buffer = strbuf_in(arena);
    strbuf_reserve(&buffer, SIZE_MAX);
}

static bool jumps(struct arena *arena, void (*act)(struct arena *arena))
{
    jmp_buf boundary;
    arena_on_limit(arena, jump, &boundary);
    if (setjmp(boundary))
        return true;
    act(arena);
    return false;
}

static void note(void *object)
{
    char **at = object;
    *(*at)++ = '!';
}

static void the_limit_calls_its_handler(void **state)
{
    struct arena *arena = arena_create(1000);
    arena_alloc(arena, 500);
    assert_false(jumps(arena, allocate_one));
    arena_alloc(arena, 400);
    size_t used = arena_used(arena);
    assert_true(jumps(arena, allocate_huge));
    assert_true(jumps(arena, allocate_overflowing_array));
    assert_true(jumps(arena, grow_buffer));
    assert_int_equal(arena_used(arena), used); /* a refused allocation takes nothing */
    while (arena_used(arena) + 16 <= 1000)
        arena_alloc(arena, 16);
    assert_true(jumps(arena, allocate_one));

    /* A full arena still takes what must be released. */
    char notes[8] = {0}, *end = notes;
    arena_defer(arena, note, &end);
    arena_reset(arena);
    assert_string_equal(notes, "!");
    assert_false(jumps(arena, allocate_one));
    arena_destroy(&arena);
}

/* Torture: whatever the n-th allocation is, running out there leaves an arena that can be reset and used again. */
static void use_everything(struct arena *arena)
{
    struct strbuf buffer = strbuf_in(arena);
    for (int i = 0; i < 200; i++) {
        strbuf_add(&buffer, arena_printf(arena, "%*d", i, i));
        arena_alloc_array(arena, (size_t)i, 7);
        arena_defer(arena, free, malloc(1)); /* lost unless deferred functions run: the leak checker looks */
    }
}

static void running_out_anywhere_is_clean(void **state)
{
    size_t limit = 16;
    for (bool out = true; out; limit += 1 + limit / 20) {
        struct arena *arena = arena_create(limit);
        out = jumps(arena, use_everything);
        assert_true(arena_used(arena) <= limit);
        arena_reset(arena);
        assert_int_equal(jumps(arena, use_everything), out);
        arena_destroy(&arena);
    }
}

struct noted {
    char **end;
    char letter;
};

static void note_letter(void *object)
{
    struct noted *noted = object;
    *(*noted->end)++ = noted->letter;
}

static void deferred_functions_run_last_first(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    char notes[16] = {0}, *end = notes;
    for (char letter = 'a'; letter <= 'e'; letter++) {
        struct noted *noted = arena_new(arena, struct noted); /* in the arena itself: still readable when released */
        *noted = (struct noted){&end, letter};
        arena_defer(arena, note_letter, noted);
    }
    arena_reset(arena);
    assert_string_equal(notes, "edcba");
    arena_reset(arena);
    assert_string_equal(notes, "edcba"); /* once only */
    struct noted last = {&end, 'z'};
    arena_defer(arena, note_letter, &last);
    arena_destroy(&arena);
    assert_string_equal(notes, "edcbaz");
}

struct nested {
    struct arena *arena;
    struct noted noted;
};

static void defer_another(void *object)
{
    struct nested *nested = object;
    arena_alloc(nested->arena, 100000);
    arena_defer(nested->arena, note_letter, &nested->noted);
}

static void deferred_functions_may_defer(void **state)
{
    struct arena *arena = arena_create(1 << 20);
    char notes[4] = {0}, *end = notes;
    struct nested nested = {arena, {&end, 'x'}};
    arena_defer(arena, defer_another, &nested);
    arena_reset(arena);
    assert_string_equal(notes, "x");
    assert_int_equal(arena_used(arena), 0);
    arena_destroy(&arena);
}

static void a_mark_is_come_back_to(void **state)
{
    struct arena *arena = arena_create(16 << 20);
    char notes[8] = {0}, *end = notes;
    struct noted before = {&end, 'b'}, inside = {&end, 'i'}, nested = {&end, 'n'};
    char *kept = arena_alloc_raw(arena, 100);
    memset(kept, 'k', 100);
    arena_defer(arena, note_letter, &before);
    size_t used = arena_used(arena);
    for (int round = 0; round < 100; round++) { /* more than the limit in all */
        end = notes;
        memset(notes, 0, sizeof notes);
        struct arena_mark outer = arena_mark(arena);
        memset(arena_alloc_raw(arena, 1000000), 'x', 1000000);
        arena_defer(arena, note_letter, &inside);
        struct arena_mark inner = arena_mark(arena);
        memset(arena_alloc_raw(arena, 100000), 'y', 100000);
        arena_defer(arena, note_letter, &nested);
        arena_release(arena, inner);
        assert_string_equal(notes, "n");
        arena_release(arena, outer);
        assert_string_equal(notes, "ni");
        assert_int_equal(arena_used(arena), used);
    }
    struct arena_mark small = arena_mark(arena); /* within one block */
    char *first = arena_alloc(arena, 10);
    arena_release(arena, small);
    assert_ptr_equal(arena_alloc(arena, 10), first);
    for (int i = 0; i < 100; i++)
        assert_int_equal(kept[i], 'k');
    end = notes;
    memset(notes, 0, sizeof notes);
    arena_destroy(&arena);
    assert_string_equal(notes, "b");
}

static void count_call(void *count)
{
    ++*(int *)count;
}

static void jump_out(void *where)
{
    longjmp(*(jmp_buf *)where, 1);
}

static void a_child_has_its_parents_limit_and_end(void **state)
{
    struct arena *parent = arena_create(1 << 20);
    jmp_buf out;
    volatile int released = 0;
    arena_on_limit(parent, jump_out, &out);
    if (setjmp(out) == 0) {
        struct arena *child = arena_child(parent);
        for (int round = 0; round < 100; round++) { /* 50 MB in all, 0.5 MB at a time */
            arena_alloc(child, 1 << 19);
            arena_defer(child, count_call, (void *)&released);
            arena_reset(child);
            assert_int_equal(released, round + 1);
        }
        arena_defer(child, count_call, (void *)&released);
        arena_alloc(child, 1 << 21);
        fail_msg("over the limit");
    }
    assert_int_equal(released, 100);
    arena_reset(parent); /* the child goes with it */
    assert_int_equal(released, 101);
    arena_destroy(&parent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_zeroed_and_aligned),
        cmocka_unit_test(copies),
        cmocka_unit_test(growing),
        cmocka_unit_test(the_limit_calls_its_handler),
        cmocka_unit_test(running_out_anywhere_is_clean),
        cmocka_unit_test(deferred_functions_run_last_first),
        cmocka_unit_test(deferred_functions_may_defer),
        cmocka_unit_test(a_mark_is_come_back_to),
        cmocka_unit_test(a_child_has_its_parents_limit_and_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
