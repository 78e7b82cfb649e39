/* Answers from memory; see fast_path.h. Sure is: the device asks with the token that it got last, and since then nothing was heard
 * of its user, and of his rooms only plain messages and others' receipts. Everything else is the SQL path's. Both must say
 * the same (tests/worker/test_sync.py compares them). */
#include "workers/sync/fast_path.h"

#include <stdlib.h>

#include "lib/kit/worker.h"
#include "workers/sync/fast_answer.h"
#include "workers/sync/typing.h"

void fast_path_start(size_t limit_bytes)
{
    readers_start(limit_bytes);
}

static bool is_simple(const struct sync_request *request)
{
    const struct event_filter *timeline = &request->filter.timeline;
    return !request->first && !request->full_state && !slice_is_absent(request->device_id) && !request->filter.event_fields &&
           !request->filter.federation_format && !request->filter.timeline_empty && !timeline->has_contains_url &&
           !timeline->rel_types && !timeline->not_rel_types && !request->filter.state.include_redundant_members;
}

static char *copy_bytes(const void *at, size_t bytes)
{
    char *copy = malloc(bytes + 1);
    if (copy) {
        memcpy(copy, at, bytes);
        copy[bytes] = '\0';
    }
    return copy;
}

static void view_release(void *object)
{
    struct fast_view *view = object;
    ring_let_go(&view->found);
    for (size_t i = 0; i < view->typing_count; i++)
        free(view->typing[i]);
    view->typing_count = 0;
    free(view->topics);
    free(view->one_time_keys);
    free(view->fallback_keys);
    free(view->ignored);
    view->topics = view->one_time_keys = view->fallback_keys = NULL;
    view->ignored = NULL;
}

static void copy_base(struct fast_view *view, const struct sync_token *base)
{
    view->base = *base;
    memcpy(view->running, base->running.at, base->running.len * sizeof *view->running);
    memcpy(view->delivered, base->delivered.at, base->delivered.len * sizeof *view->delivered);
    view->base.running.at = view->running;
    view->base.delivered.at = view->delivered;
}

/* Under the reader's lock. False: not sure. */
static bool look(const struct sync_request *request, struct reader *reader, struct fast_view *view)
{
    struct ring_question question = {
        .user_id = request->user_id, .base = &reader->base, .after = reader->heard, .rooms = reader->rooms};
    view->serial = ephemeral_serial();
    if (!ring_ask(&question, &view->found))
        return false;
    size_t typing = typing_changed(reader->rooms, ephemeral_after(reader->base.serial), view->typing, TYPING_MAX);
    if (typing == SIZE_MAX)
        return false;
    view->typing_count = typing;
    for (size_t i = 0; i < view->found.count; i++) {
        const struct reader_room *room = map_get(reader->rooms, view->found.entries[i]->room_id);
        view->counts[i] = *room;
    }
    for (size_t i = 0; i < view->typing_count; i++) {
        const struct reader_room *room = map_get(reader->rooms, slice_from_cstr(view->typing[i]));
        view->typing_counts[i] = *room;
    }
    copy_base(view, &reader->base);
    view->topics = copy_bytes(reader->topics, reader->topics_bytes);
    view->topics_bytes = reader->topics_bytes;
    view->topic_count = reader->topic_count;
    view->one_time_keys = copy_bytes(reader->one_time_keys, strlen(reader->one_time_keys));
    view->fallback_keys = copy_bytes(reader->fallback_keys, strlen(reader->fallback_keys));
    view->ignored = (uint64_t *)(void *)copy_bytes(reader->ignored, reader->ignored_count * sizeof *reader->ignored);
    view->ignored_count = reader->ignored_count;
    return true;
}

/* The next token: the same snapshot, and these events beyond it. False: more than a token carries. */
static bool advance(const struct telling *telling, struct sync_token *next)
{
    const struct sync_token *base = &telling->view->base;
    int64_t *delivered = arena_new_array(telling->call->arena, TOKEN_DELIVERED_MAX, int64_t);
    size_t count = base->delivered.len;
    *next = *base;
    if (count)
        memcpy(delivered, base->delivered.at, count * sizeof *delivered);
    for (size_t i = 0; i < telling->count; i++) {
        for (size_t k = 0; k < telling->rooms[i]->event_count; k++) {
            if (count == TOKEN_DELIVERED_MAX)
                return false;
            delivered[count++] = telling->rooms[i]->events[k]->event_nid;
        }
    }
    next->delivered = (struct i64s){delivered, count};
    next->serial = telling->view->serial;
    return true;
}

/* The reader now stands where the answer ends. Counts move also where nothing was told. */
static void note(struct telling *telling, struct slice token, const struct sync_token *next, bool told)
{
    struct reader *reader = readers_find(telling->request);
    if (!reader)
        return;
    reader->heard = telling->view->found.heard;
    for (size_t i = 0; i < telling->count; i++) {
        struct reader_room *room = map_get(reader->rooms, telling->rooms[i]->room_id);
        if (room && telling->rooms[i]->counts.counts_known)
            *room = telling->rooms[i]->counts;
    }
    if (told)
        readers_set_token(reader, token, next);
    readers_release();
}

static struct slices topics_of(struct call *call, const struct fast_view *view)
{
    struct slice all = arena_copy(call->arena, slice_of(view->topics, view->topics_bytes));
    struct slice *topics = arena_new_array(call->arena, view->topic_count, struct slice);
    const char *at = all.at;
    for (size_t i = 0; i < view->topic_count; i++) {
        topics[i] = slice_from_cstr(at);
        at += topics[i].len + 1;
    }
    return (struct slices){topics, view->topic_count};
}

enum fast_answer fast_path_run(struct call *call, const struct sync_request *request, struct slice *body, struct slices *topics)
{
    if (!is_simple(request))
        return FAST_UNSURE;
    struct fast_view *view = arena_alloc_raw(call->arena, sizeof *view);
    view->found.count = view->typing_count = view->ignored_count = 0;
    view->topics = view->one_time_keys = view->fallback_keys = NULL;
    view->ignored = NULL;
    arena_defer(call->arena, view_release, view);
    struct reader *reader = readers_find(request);
    if (!reader)
        return FAST_UNSURE;
    bool sure = look(request, reader, view);
    readers_release();
    struct telling telling = {.call = call, .request = request, .view = view};
    struct sync_token next;
    if (!sure || !view->topics || !view->one_time_keys || !view->fallback_keys || !view->ignored || !telling_sort(&telling) ||
        !advance(&telling, &next))
        return FAST_UNSURE;
    bool told = false;
    for (size_t i = 0; i < telling.count; i++)
        told |= told_room_is_told(telling.rooms[i]);
    struct slice token = told ? sync_token_format(call->arena, &next) : request->since_text;
    *body = telling_write(&telling, token);
    if (!told)
        *topics = topics_of(call, view);
    note(&telling, token, &next, told);
    return told ? FAST_TOLD : FAST_NOTHING;
}

struct fast_mark fast_path_mark(void)
{
    return (struct fast_mark){ring_heard()};
}

void fast_path_remember(const struct sync_request *request, const struct sync_work *work, const struct fast_mark *mark, bool parked)
{
    /* To-device messages were told: the next sync acknowledges them, and the SQL path sees to their end. */
    if (!slice_is_absent(work->to_device) || worker_is_draining(work->call->worker))
        readers_forget(request);
    else
        readers_keep(request, work, mark->heard, parked);
}
