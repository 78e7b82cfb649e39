/* See fleet.h. Restart policy: a child that had been ready for ten seconds is replaced at once (it was killed, or met one bad
 * call); one that dies sooner counts: the first at once too, then after 2 s, 4 s … 60 s, per kind, forgotten after a minute
 * without. */
#include "supervisor/fleet.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "supervisor/place.h"
#include "supervisor/say.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

enum {
    QUIET_MS = 2500,       /* of a child that was heard before: two beats are missing, and others get its calls */
    SILENCE_MS = 10000,    /* … and it is killed */
    FIRST_WORD_MS = 30000, /* until it is heard at all */
    SETTLED_MS = 10000,    /* ready for so long: its death says nothing about its start */
    BACKOFF_FIRST_MS = 2000,
    BACKOFF_MAX_MS = 60000,
    FORGET_MS = 60000,
    HAND_OVER_MS = 30000,
    STALLED_MS = 3000, /* we did not run ourselves: silence is not their fault */
};

/* ---- which there should be */

static bool is_listed(const char *only, const char *kind)
{
    struct slice rest = slice_from_cstr(only), item;
    while (rest.len) {
        if (!slice_cut(rest, ',', &item, &rest)) {
            item = rest;
            rest.len = 0;
        }
        if (slice_eq(slice_trim(item), slice_from_cstr(kind)))
            return true;
    }
    return false;
}

static void check_only(struct arena *arena, const char *only)
{
    struct slice rest = slice_from_cstr(only), item;
    enum service kind;
    while (rest.len) {
        if (!slice_cut(rest, ',', &item, &rest)) {
            item = rest;
            rest.len = 0;
        }
        if (!service_from_name(arena_cstr(arena, slice_trim(item)), &kind))
            die("--only: there is no kind of worker called \"%.*s\"", PRI(item));
    }
}

static void add_posts(struct fleet *fleet, enum service kind, const char *only)
{
    const char *name = service_facts(kind)->name;
    int count = fleet->settings->replicas_of[kind];
    if (only && !is_listed(only, name))
        count = fleet->settings->replicas_of[kind] = 0;
    const char *program = count ? place_worker(fleet->arena, kind) : NULL;
    if (count && !program) {
        if (only || fleet->settings->replicas_given[kind])
            die("the program myelin-%s is missing", name);
        log_event(LOG_INFO, "there is no program for this kind of worker, it is left out", LOG_CSTR("worker", name));
        count = fleet->settings->replicas_of[kind] = 0;
    }
    for (int number = 0; number < count; number++)
        fleet->posts[fleet->post_count++] = (struct post){.kind = kind, .number = number, .program = program};
}

void fleet_settings_changed(struct fleet *fleet)
{
    fleet->lines = arena_cstr(fleet->arena, settings_dump(fleet->arena, fleet->settings));
}

void fleet_init(struct fleet *fleet, struct arena *arena, struct settings *settings, const char *data, const char *only)
{
    size_t posts_max = 0;
    *fleet = (struct fleet){.arena = arena, .settings = settings, .data = data, .ticked_ms = clock_monotonic_ms()};
    if (only)
        check_only(arena, only);
    for (int kind = 0; kind < SERVICE_COUNT; kind++)
        posts_max += (size_t)settings->replicas_of[kind];
    fleet->posts = arena_new_array(arena, posts_max + 1, struct post);
    for (int rank = 99; rank >= 0; rank--) /* those that others call first */
        for (int kind = 0; kind < SERVICE_COUNT; kind++)
            if (service_facts((enum service)kind)->rank == rank)
                add_posts(fleet, (enum service)kind, only);
    fleet_settings_changed(fleet);
}

/* ---- which there are */

static void post_start(struct fleet *fleet, struct post *post)
{
    struct child *child = child_start(post, fleet);
    if (!child) {
        post->start_ms = clock_monotonic_ms() + BACKOFF_FIRST_MS;
        return;
    }
    post->start_ms = 0;
    child->next = fleet->children;
    fleet->children = child;
}

void fleet_start(struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->post_count; i++)
        post_start(fleet, &fleet->posts[i]);
}

static struct child *child_of_post(const struct fleet *fleet, const struct post *post, const struct child *besides)
{
    for (struct child *child = fleet->children; child; child = child->next)
        if (child->post == post && child != besides)
            return child;
    return NULL;
}

bool fleet_kind_is_up(const struct fleet *fleet, enum service kind)
{
    for (const struct child *child = fleet->children; child; child = child->next)
        if (child->post->kind == kind && child->state == CHILD_READY && !child->silent)
            return true;
    return false;
}

bool fleet_is_ready(const struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->post_count; i++) {
        bool ready = false;
        for (const struct child *child = fleet->children; child; child = child->next)
            ready = ready || (child->post == &fleet->posts[i] && child->state == CHILD_READY);
        if (!ready)
            return false;
    }
    return true;
}

void fleet_child_ready(struct fleet *fleet, struct child *child)
{
    struct child *before = child_of_post(fleet, child->post, child);
    log_event(LOG_INFO, "worker ready", LOG_CSTR("worker", service_facts(child->post->kind)->name),
              LOG_I64("number", child->post->number), LOG_I64("pid", child->pid),
              LOG_I64("ms", child->ready_ms - child->started_ms));
    if (before)
        child_drain(before, clock_monotonic_ms() + HAND_OVER_MS);
    fleet_push(fleet);
    fleet->changed(fleet->context, 0);
}

static bool is_taking_calls(const struct child *child)
{
    return child->state == CHILD_READY || child->state == CHILD_DRAINING;
}

/* A silent child is hung or starved; its calls wait, and would wait until it is killed. So it is passed over when there is somebody
 * else of its kind. Otherwise it stays: when it was only starved, late answers are better than none. */
bool fleet_is_listed(const struct fleet *fleet, const struct child *child)
{
    if (!is_taking_calls(child))
        return false;
    if (!child->silent)
        return true;
    for (const struct child *other = fleet->children; other; other = other->next)
        if (other->peer.kind == child->peer.kind && other->state == CHILD_READY && !other->silent)
            return false;
    for (size_t i = 0; i < fleet->remote_count; i++)
        if (fleet->remote[i].peer.kind == child->peer.kind && !fleet->remote[i].peer.draining)
            return false;
    return true;
}

static void set_silent(struct fleet *fleet, struct child *child, bool silent)
{
    child->silent = silent;
    log_event(LOG_WARN, silent ? "worker is silent, others get its calls" : "worker is heard again",
              LOG_CSTR("worker", service_facts(child->post->kind)->name), LOG_I64("number", child->post->number),
              LOG_I64("pid", child->pid));
    fleet_push(fleet);
    fleet->changed(fleet->context, 0);
}

void fleet_child_heard(struct fleet *fleet, struct child *child)
{
    child->heard = true;
    child->heard_ms = clock_monotonic_ms();
    if (child->silent)
        set_silent(fleet, child, false);
}

void fleet_replace(struct fleet *fleet, struct child *child)
{
    if (child->state == CHILD_READY && !child_of_post(fleet, child->post, child))
        post_start(fleet, child->post);
}

static int64_t next_start(struct fleet *fleet, const struct child *child, int64_t now_ms)
{
    int *level = &fleet->backoff[child->post->kind].level;
    int64_t *died_ms = &fleet->backoff[child->post->kind].died_ms;
    if (child->ready_ms && now_ms - child->ready_ms >= SETTLED_MS)
        return now_ms;
    if (*died_ms && now_ms - *died_ms > FORGET_MS + BACKOFF_MAX_MS)
        *level = 0;
    *died_ms = now_ms;
    int64_t wait_ms = *level == 0 ? 0 : *level > 5 ? BACKOFF_MAX_MS : (int64_t)BACKOFF_FIRST_MS << (*level - 1);
    ++*level;
    return now_ms + wait_ms;
}

bool fleet_ended(struct fleet *fleet, pid_t pid, int status)
{
    struct child **link = &fleet->children;
    while (*link && (*link)->pid != pid)
        link = &(*link)->next;
    struct child *child = *link;
    if (!child)
        return false;
    int64_t now_ms = clock_monotonic_ms();
    struct post *post = child->post;
    bool planned = fleet->stopping || child->state == CHILD_DRAINING || (child->state == CHILD_LEAVING && child->peer.draining);
    *link = child->next;
    if (!fleet->stopping && !child_of_post(fleet, post, NULL)) {
        post->start_ms = planned ? now_ms : next_start(fleet, child, now_ms);
        if (!planned)
            post->restarts++;
    }
    log_event(planned ? LOG_INFO : LOG_ERROR,
              planned       ? "worker left"
              : child->hung ? "worker hung and was killed"
                            : "worker died",
              LOG_CSTR("worker", service_facts(post->kind)->name), LOG_I64("number", post->number), LOG_I64("pid", pid),
              LOG_I64("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
              LOG_I64("code", WIFEXITED(status) ? WEXITSTATUS(status) : 0),
              LOG_I64("restart_in_ms", post->start_ms > now_ms ? post->start_ms - now_ms : 0));
    fleet->ended(fleet->context, child);
    uint64_t instance = child->peer.instance;
    child_free(child);
    if (instance) {
        fleet_push(fleet);
        fleet->changed(fleet->context, instance);
    }
    return true;
}

bool fleet_tick(struct fleet *fleet, int64_t now_ms)
{
    bool soon = false, stalled = now_ms - fleet->ticked_ms > STALLED_MS;
    fleet->ticked_ms = now_ms;
    for (struct child *child = fleet->children; child; child = child->next) {
        if (stalled)
            child->heard_ms = now_ms;
        int64_t quiet_ms = now_ms - child->heard_ms;
        bool silent = quiet_ms > (child->heard ? SILENCE_MS : FIRST_WORD_MS);
        if (quiet_ms > QUIET_MS && !child->silent && is_taking_calls(child))
            set_silent(fleet, child, true);
        if (silent || (child->kill_ms && now_ms >= child->kill_ms)) {
            child->hung = child->hung || silent;
            kill(child->pid, SIGKILL);
        }
        bool overdue = quiet_ms > QUIET_MS / 2 && !child->silent && is_taking_calls(child); /* in time, not with the next beat */
        soon = soon || child->kill_ms || overdue;
    }
    for (size_t i = 0; i < fleet->post_count && !fleet->stopping; i++) {
        struct post *post = &fleet->posts[i];
        if (post->start_ms && now_ms >= post->start_ms)
            post_start(fleet, post);
        soon = soon || post->start_ms;
    }
    return soon;
}

/* ---- shutdown */

void fleet_drain_rank(struct fleet *fleet, int rank, int64_t kill_ms)
{
    for (struct child *child = fleet->children; child; child = child->next)
        if (service_facts(child->post->kind)->rank == rank)
            child_drain(child, kill_ms);
    fleet_push(fleet);
}

bool fleet_rank_is_gone(const struct fleet *fleet, int rank)
{
    for (const struct child *child = fleet->children; child; child = child->next)
        if (service_facts(child->post->kind)->rank == rank)
            return false;
    return true;
}
