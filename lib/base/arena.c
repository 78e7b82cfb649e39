/* A bump allocator over a chain of blocks. The first block lives with the arena and survives a reset, so that a small call
 * costs no malloc at all; later blocks double up to BLOCK_MAX; what is larger gets a block of its own.
 * Built with AddressSanitizer, bytes that were not handed out are poisoned and allocations are kept apart by a red zone:
 * an overrun inside a block is reported as a heap overrun would be. */
#include "lib/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/ensure.h"
#include "lib/base/sanitized.h"

#if SANITIZED_ADDRESS
#include <sanitizer/asan_interface.h>
enum { RED_ZONE = 16 };
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)0)
enum { RED_ZONE = 0 };
#endif

enum { ALIGNMENT = 16, FIRST_BLOCK = 8 * 1024, BLOCK_MAX = 1024 * 1024 };

struct block {
    struct block *older;
    size_t size; /* of bytes */
    _Alignas(ALIGNMENT) char bytes[];
};

struct deferred {
    struct deferred *earlier;
    void (*release)(void *object);
    void *object;
};

struct arena {
    char *free, *end;     /* what is left of the newest block */
    struct block *newest; /* the chain ends with `first` */
    struct block *first;
    size_t next_size; /* of the next block */
    size_t used, limit;
    struct deferred *deferred;
    void (*over_limit)(void *context);
    void *over_limit_context;
};

static struct block *block_create(size_t size)
{
    ensure(size <= SIZE_MAX - sizeof(struct block));
    struct block *block = malloc(sizeof *block + size);
    ensure(block != NULL); /* a process that has no memory restarts */
    block->older = NULL;
    block->size = size;
    ASAN_POISON_MEMORY_REGION(block->bytes, size);
    return block;
}

static void block_destroy(struct block *block)
{
    ASAN_UNPOISON_MEMORY_REGION(block->bytes, block->size);
    free(block);
}

static void use_block(struct arena *arena, struct block *block)
{
    arena->free = block->bytes;
    arena->end = block->bytes + block->size;
}

struct arena *arena_create(size_t limit_bytes)
{
    struct arena *arena = calloc(1, sizeof *arena);
    ensure(arena != NULL);
    arena->limit = limit_bytes;
    arena->first = arena->newest = block_create(FIRST_BLOCK);
    arena->next_size = 2 * FIRST_BLOCK;
    use_block(arena, arena->first);
    return arena;
}

/* A deferred function may still read the arena, allocate from it and defer more; it is taken off the list before it runs. */
static void run_deferred(struct arena *arena, const struct deferred *until)
{
    while (arena->deferred != until) {
        struct deferred *last = arena->deferred;
        arena->deferred = last->earlier;
        last->release(last->object);
    }
}

static void drop_blocks(struct arena *arena, const struct block *until)
{
    while (arena->newest != until) {
        struct block *older = arena->newest->older;
        block_destroy(arena->newest);
        arena->newest = older;
    }
}

void arena_reset(struct arena *arena)
{
    run_deferred(arena, NULL);
    drop_blocks(arena, arena->first);
    ASAN_POISON_MEMORY_REGION(arena->first->bytes, arena->first->size);
    use_block(arena, arena->first);
    arena->next_size = 2 * FIRST_BLOCK;
    arena->used = 0;
}

struct arena_mark arena_mark(const struct arena *arena)
{
    return (struct arena_mark){arena->newest, arena->deferred, arena->free, arena->used, arena->next_size};
}

void arena_release(struct arena *arena, struct arena_mark mark)
{
    run_deferred(arena, mark.deferred);
    drop_blocks(arena, mark.newest);
    arena->free = mark.free;
    arena->end = arena->newest->bytes + arena->newest->size;
    arena->used = mark.used;
    arena->next_size = mark.next_size;
    ASAN_POISON_MEMORY_REGION(arena->free, (size_t)(arena->end - arena->free));
}

void arena_destroy(struct arena **arena)
{
    if (!*arena)
        return;
    arena_reset(*arena);
    block_destroy((*arena)->first);
    free(*arena);
    *arena = NULL;
}

void arena_on_limit(struct arena *arena, void (*over_limit)(void *context), void *context)
{
    arena->over_limit = over_limit;
    arena->over_limit_context = context;
}

static void child_destroy(void *child)
{
    struct arena *arena = child;
    arena_destroy(&arena);
}

struct arena *arena_child(struct arena *parent)
{
    struct arena *child = arena_create(parent->limit);
    arena_on_limit(child, parent->over_limit, parent->over_limit_context);
    arena_defer(parent, child_destroy, child);
    return child;
}

size_t arena_used(const struct arena *arena)
{
    return arena->used;
}

static _Noreturn void over_limit(struct arena *arena)
{
    if (arena->over_limit)
        arena->over_limit(arena->over_limit_context);
    ensure_failed("arena within its limit", __FILE__, __LINE__); /* no handler, or one that returned */
}

/* What `size` takes from the arena. At least one unit, so that even nothing has an address of its own. */
static size_t rounded(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        over_limit(arena);
    return size ? (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1) : ALIGNMENT;
}

/* Takes `step` bytes, of which the caller uses `size`. Does not look at the limit. */
static void *take(struct arena *arena, size_t step, size_t size)
{
    if ((size_t)(arena->end - arena->free) < step + RED_ZONE) {
        size_t wanted = step + RED_ZONE > arena->next_size ? step + RED_ZONE : arena->next_size;
        struct block *block = block_create(wanted);
        block->older = arena->newest;
        arena->newest = block;
        if (arena->next_size < BLOCK_MAX)
            arena->next_size *= 2;
        use_block(arena, block);
    }
    char *at = arena->free;
    arena->free += step + RED_ZONE;
    ASAN_UNPOISON_MEMORY_REGION(at, size);
    return at;
}

void *arena_alloc_raw(struct arena *arena, size_t size)
{
    size_t step = rounded(arena, size);
    if (step > arena->limit - arena->used)
        over_limit(arena);
    arena->used += step;
    return take(arena, step, size);
}

void *arena_alloc(struct arena *arena, size_t size)
{
    return memset(arena_alloc_raw(arena, size), 0, size);
}

void *arena_alloc_array(struct arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        over_limit(arena);
    return arena_alloc(arena, bytes);
}

void *arena_grow(struct arena *arena, void *at, size_t old_size, size_t new_size)
{
    ensure(new_size >= old_size);
    if (!at)
        return arena_alloc_raw(arena, new_size);
    size_t old_step = rounded(arena, old_size), more = rounded(arena, new_size) - old_step;
    bool is_last = (char *)at + old_step + RED_ZONE == arena->free;
    if (is_last && more <= (size_t)(arena->end - arena->free)) {
        if (more > arena->limit - arena->used)
            over_limit(arena);
        arena->used += more;
        arena->free += more;
        ASAN_UNPOISON_MEMORY_REGION(at, new_size);
        return at;
    }
    return memcpy(arena_alloc_raw(arena, new_size), at, old_size);
}

struct slice arena_copy(struct arena *arena, struct slice s)
{
    return slice_is_absent(s) ? s : slice_of(arena_cstr(arena, s), s.len);
}

char *arena_cstr(struct arena *arena, struct slice s)
{
    if (s.len == SIZE_MAX)
        over_limit(arena);
    char *copy = arena_alloc_raw(arena, s.len + 1);
    if (s.len)
        memcpy(copy, s.at, s.len);
    copy[s.len] = '\0';
    return copy;
}

struct slice arena_printf(struct arena *arena, const char *format, ...)
{
    char first_try[256];
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(first_try, sizeof first_try, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length < sizeof first_try) {
        va_end(again);
        ensure(length >= 0);
        return arena_copy(arena, slice_of(first_try, (size_t)length));
    }
    char *text = arena_alloc_raw(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return slice_of(text, (size_t)length);
}

struct slice arena_concat(struct arena *arena, const struct slice *parts, size_t count)
{
    size_t length = 0;
    for (size_t i = 0; i < count; i++)
        if (__builtin_add_overflow(length, parts[i].len, &length) || length == SIZE_MAX)
            over_limit(arena);
    char *text = arena_alloc_raw(arena, length + 1), *end = text;
    for (size_t i = 0; i < count; i++)
        if (parts[i].len) {
            memcpy(end, parts[i].at, parts[i].len);
            end += parts[i].len;
        }
    *end = '\0';
    return slice_of(text, length);
}

/* Not counted against the limit: going over it here would lose the object that was to be released. */
void arena_defer(struct arena *arena, void (*release)(void *object), void *object)
{
    struct deferred *deferred = take(arena, rounded(arena, sizeof *deferred), sizeof *deferred);
    *deferred = (struct deferred){.earlier = arena->deferred, .release = release, .object = object};
    arena->deferred = deferred;
}
