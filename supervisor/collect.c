/* Asking every child something and waiting for the answers without waiting: metrics and the list of running calls. A child that
 * does not answer in time is left out; one that dies is not waited for. */
#include "supervisor/supervisor.h"

#include "lib/base/clock.h"

#include <stdlib.h>

enum { PATIENCE_MS = 1500, MEMORY_MAX = 256 * 1024 * 1024 };

void collect_start(struct supervisor *supervisor, const char *what, void (*done)(struct collect *, void *), void *context)
{
    struct arena *arena = arena_create(MEMORY_MAX);
    struct collect *collect = arena_new(arena, struct collect);
    size_t count = 0;
    for (struct child *child = supervisor->fleet.children; child; child = child->next)
        count++;
    *collect = (struct collect){
        .arena = arena,
        .supervisor = supervisor,
        .next = supervisor->collects,
        .id = ++supervisor->collect_ids,
        .deadline_ms = clock_monotonic_ms() + PATIENCE_MS,
        .waiting = arena_new_array(arena, count + 1, uint64_t),
        .done = done,
        .context = context,
    };
    collect->tail = &collect->answers;
    struct slice question = arena_printf(arena, "{\"type\":\"%s\",\"id\":%lld}", what, (long long)collect->id);
    for (struct child *child = supervisor->fleet.children; child; child = child->next) {
        if (child->state != CHILD_READY && child->state != CHILD_DRAINING)
            continue;
        collect->waiting[collect->waiting_count++] = child->serial;
        child_send(child, question);
    }
    collect->missing = collect->waiting_count;
    supervisor->collects = collect;
}

static void answered(struct collect *collect, uint64_t serial)
{
    for (size_t i = 0; i < collect->waiting_count; i++) {
        if (collect->waiting[i] != serial)
            continue;
        collect->waiting[i] = 0;
        collect->missing--;
    }
}

void collect_answer(struct supervisor *supervisor, struct child *child, const struct json *packet)
{
    int64_t id = 0;
    struct slice text = json_get_string(packet, "text");
    const struct json *calls = json_get_array(packet, "calls");
    json_get_i64(packet, "id", &id);
    for (struct collect *collect = supervisor->collects; collect; collect = collect->next) {
        if (collect->id != id)
            continue;
        struct answer *answer = arena_new(collect->arena, struct answer);
        answer->kind = child->post->kind;
        answer->number = child->post->number;
        answer->pid = child->pid;
        answer->instance = child->peer.instance;
        answer->text = arena_copy(collect->arena, calls ? calls->span : text);
        *collect->tail = answer;
        collect->tail = &answer->next;
        answered(collect, child->serial);
        return; /* finished by the next tick, outside of this child's callback */
    }
}

void collect_child_gone(struct supervisor *supervisor, const struct child *child)
{
    for (struct collect *collect = supervisor->collects; collect; collect = collect->next)
        answered(collect, child->serial);
}

void collect_tick(struct supervisor *supervisor, int64_t now_ms)
{
    for (struct collect **link = &supervisor->collects; *link;) {
        struct collect *collect = *link;
        if (collect->missing && now_ms < collect->deadline_ms) {
            link = &collect->next;
            continue;
        }
        *link = collect->next;
        if (collect->done)
            collect->done(collect, collect->context);
        struct arena *arena = collect->arena;
        arena_destroy(&arena);
    }
}

void collect_forget(struct supervisor *supervisor, const void *context)
{
    for (struct collect *collect = supervisor->collects; collect; collect = collect->next)
        if (collect->context == context)
            collect->done = NULL;
}
