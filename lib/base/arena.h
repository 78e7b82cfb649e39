/* Memory that dies together: everything for one call comes from its arena (STYLE §4).
 * Allocation never returns NULL. Past limit_bytes it calls the arena's over-limit handler, which must not return
 * (the kit longjmps to the call's boundary and answers M_TOO_LARGE); without a handler the process aborts.
 * So: never allocate from an arena while holding a mutex. Not thread safe; one thread at a time uses an arena. */
#ifndef MYELIN_BASE_ARENA_H
#define MYELIN_BASE_ARENA_H

#include "lib/base/slice.h"

struct arena;

struct arena *arena_create(size_t limit_bytes);
void arena_destroy(struct arena **arena); /* accepts NULL inside; runs the deferred functions, clears *arena */
void arena_reset(struct arena *arena);    /* runs deferred functions (last first), frees all but the first block */
void arena_on_limit(struct arena *arena, void (*over_limit)(void *context), void *context);
/* Memory for a part of the work, to be reset in between: with the parent's limit and handler, destroyed with the parent (or its
 * reset) at the latest. What the two hold together is not counted together. */
struct arena *arena_child(struct arena *parent);
size_t arena_used(const struct arena *arena); /* bytes handed out since the last reset */

void *arena_alloc(struct arena *arena, size_t size); /* zeroed, aligned to 16 bytes; size 0 gives a unique pointer */
void *arena_alloc_array(struct arena *arena, size_t count, size_t size); /* as above, overflow counts as over the limit */
void *arena_alloc_raw(struct arena *arena, size_t size);                 /* not zeroed: for bytes that are written at once */
/* `at` (from arena_alloc_raw, old_size bytes) made larger, in place when it was the last thing handed out, else by a copy.
 * The new bytes are not zeroed. */
void *arena_grow(struct arena *arena, void *at, size_t old_size, size_t new_size);
#define arena_new(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define arena_new_array(arena, count, type) ((type *)arena_alloc_array((arena), (count), sizeof(type)))

struct slice arena_copy(struct arena *arena, struct slice s); /* absent stays absent; copy is NUL terminated beyond len */
char *arena_cstr(struct arena *arena, struct slice s);        /* for C APIs; bytes after an inner NUL are kept but unseen */
struct slice arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct slice arena_concat(struct arena *arena, const struct slice *parts, size_t count);

/* A place to come back to: arena_release frees what was allocated since the mark and runs what was deferred since, last first.
 * For long work in portions whose scraps are many times its results. What was made before the mark must not grow after it: a
 * strbuf, an arena's map or arena_grow would put their new bytes behind the mark. Marks nest; a reset forgets them. */
struct arena_mark {
    void *newest, *deferred;
    char *free;
    size_t used, next_size;
};
struct arena_mark arena_mark(const struct arena *arena);
void arena_release(struct arena *arena, struct arena_mark mark);

/* Calls release(object) at reset or destroy: how pooled things follow the call's life even when it ends early. */
void arena_defer(struct arena *arena, void (*release)(void *object), void *object);

#endif
