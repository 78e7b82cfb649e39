/* What each thread does and waits for, and the list of it: handler threads, threads of our own that have a call, parked calls. */
#include "lib/kit/wait.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/kit/crew.h"
#include "lib/kit/job.h"

enum { PARKED_SHOWN = 500 /* of many thousand perhaps */, TEXT_BYTES = 160 };

static _Thread_local struct thread *current;

struct thread *thread_enter(struct thread *thread)
{
    struct thread *outer = current;
    current = thread;
    return outer;
}

void thread_show(struct thread *thread, const char *what, const char *trace, int64_t since_us)
{
    pthread_mutex_lock(&thread->lock);
    thread->what = what;
    thread->waits_for = NULL;
    thread->since_us = since_us;
    snprintf(thread->trace, sizeof thread->trace, "%s", trace);
    pthread_mutex_unlock(&thread->lock);
}

void wait_begin(const char *what, struct slice on)
{
    if (!current)
        return;
    pthread_mutex_lock(&current->lock);
    current->waits_for = what;
    current->waits_on = on;
    pthread_mutex_unlock(&current->lock);
}

void wait_long(void)
{
    if (current && current->is_handler && !current->rests) {
        current->rests = true;
        crew_rest(current);
    }
}

void wait_end(void)
{
    if (current && current->rests) {
        current->rests = false;
        crew_resume(current);
    }
    wait_begin(NULL, SLICE_ABSENT);
}

/* ---- threads of our own: known while they have a call */

static pthread_mutex_t strangers_lock = PTHREAD_MUTEX_INITIALIZER;
static struct thread *strangers;

struct thread *stranger_enter(struct worker *worker, const char *trace)
{
    struct thread *thread = calloc(1, sizeof *thread);
    ensure(thread);
    pthread_mutex_init(&thread->lock, NULL);
    thread->worker = worker;
    pthread_getname_np(pthread_self(), thread->name, sizeof thread->name);
    thread_show(thread, thread->name, trace, clock_monotonic_us());
    thread->outer = thread_enter(thread);
    pthread_mutex_lock(&strangers_lock);
    thread->next = strangers;
    strangers = thread;
    pthread_mutex_unlock(&strangers_lock);
    return thread;
}

void stranger_leave(struct thread **thread)
{
    pthread_mutex_lock(&strangers_lock);
    struct thread **place = &strangers;
    while (*place != *thread)
        place = &(*place)->next;
    *place = (*thread)->next;
    pthread_mutex_unlock(&strangers_lock);
    thread_enter((*thread)->outer);
    pthread_mutex_destroy(&(*thread)->lock);
    free(*thread);
    *thread = NULL;
}

/* ---- the list. Copied first: nothing is allocated under a lock */

struct line {
    const char *what; /* static, or in text */
    char name[16], trace[33], waits_for[TEXT_BYTES];
    int64_t since_us;
};
struct lines {
    struct line *at;
    size_t count, capacity;
};

static void add_thread(struct lines *lines, struct thread *thread)
{
    if (lines->count == lines->capacity)
        return;
    struct line *line = &lines->at[lines->count];
    pthread_mutex_lock(&thread->lock);
    line->what = thread->what;
    if (line->what == thread->name) {
        memcpy(line->name, thread->name, sizeof line->name);
        line->what = line->name;
    }
    memcpy(line->trace, thread->trace, sizeof line->trace);
    line->since_us = thread->since_us;
    line->waits_for[0] = '\0';
    if (thread->waits_for && slice_is_absent(thread->waits_on))
        snprintf(line->waits_for, sizeof line->waits_for, "%s", thread->waits_for);
    else if (thread->waits_for)
        snprintf(line->waits_for, sizeof line->waits_for, "%s: %.*s", thread->waits_for, PRI(thread->waits_on));
    pthread_mutex_unlock(&thread->lock);
    if (line->what)
        lines->count++;
}

static void add_parked(const struct park_entry *entry, void *context)
{
    struct lines *lines = context;
    const struct job *job = (const struct job *)(const void *)((const char *)entry - offsetof(struct job, park));
    if (lines->count == lines->capacity)
        return;
    struct line *line = &lines->at[lines->count++];
    line->what = job->name;
    trace_to_hex(job->message.header.trace, line->trace);
    line->since_us = job->received_us;
    size_t len = (size_t)snprintf(line->waits_for, sizeof line->waits_for, "parked: ");
    park_entry_topics(entry, line->waits_for + len, sizeof line->waits_for - len);
}

static struct slice line_json(struct arena *arena, const struct line *line, int64_t now_us)
{
    struct json_writer w = json_writer_in(arena);
    struct slice waits_for = slice_from_cstr(line->waits_for);
    while (waits_for.len && !utf8_is_valid(waits_for)) /* it may have been cut */
        waits_for.len--;
    json_begin_object(&w);
    json_put_cstr(&w, "call", line->what);
    json_put_cstr(&w, "trace", line->trace);
    json_put_i64(&w, "us", now_us - line->since_us);
    if (waits_for.len)
        json_put_string(&w, "waits_for", waits_for);
    json_end_object(&w);
    return json_done(&w);
}

struct slice waits_list(struct arena *arena, struct worker *worker)
{
    size_t parked = park_count(worker->park), strangers_most = 64;
    struct lines lines = {.capacity =
                              (size_t)crew_places(worker) + strangers_most + (parked < PARKED_SHOWN ? parked : PARKED_SHOWN)};
    lines.at = arena_new_array(arena, lines.capacity, struct line);
    int64_t now_us = clock_monotonic_us();
    for (int i = 0; i < crew_places(worker); i++)
        add_thread(&lines, crew_thread(worker, i));
    pthread_mutex_lock(&strangers_lock);
    for (struct thread *thread = strangers; thread; thread = thread->next)
        add_thread(&lines, thread);
    pthread_mutex_unlock(&strangers_lock);
    park_each(worker->park, add_parked, &lines);
    struct json_writer w = json_writer_in(arena);
    json_begin_array(&w);
    for (size_t i = 0; i < lines.count; i++)
        json_add_raw(&w, line_json(arena, &lines.at[i], now_us));
    json_end_array(&w);
    return json_done(&w);
}
