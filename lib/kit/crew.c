/* See crew.h. A stand-in is a thread like any other, except that it leaves after a call when it is not needed any more. */
#include "lib/kit/crew.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/base/sanitized.h"
#include "lib/kit/job.h"
#include "lib/kit/wait.h"

enum {
    STACK_BYTES = SANITIZED ? 2 * 1024 * 1024 : 512 * 1024,
    STAND_INS_PER_THREAD = 2,
    STAND_INS_MIN = 8,
    SPARE = 2, /* stand-ins that stay although nobody rests: waits come in crowds */
};
enum place_state { PLACE_EMPTY, PLACE_TAKEN, PLACE_LEFT /* its thread is to be joined */ };

struct crew {
    struct worker *worker;
    pthread_attr_t attributes;
    int wanted, places; /* threads that shall run; all that there may be */
    struct metric *standing_in;
    pthread_mutex_t lock; /* the rest */
    int present, resting;
    bool is_ending;
    struct place {
        struct thread thread; /* first; its members have a lock of their own */
        enum place_state state;
    } * at;
};

static void leave(struct crew *crew, struct place *place)
{
    arena_destroy(&place->thread.arena);
    pthread_mutex_lock(&crew->lock);
    place->state = PLACE_LEFT;
    pthread_mutex_unlock(&crew->lock);
}

/* Counted as gone when this says yes. */
static bool is_surplus(struct crew *crew, const struct place *place)
{
    if (place - crew->at < crew->wanted)
        return false;
    pthread_mutex_lock(&crew->lock);
    bool surplus = crew->present - crew->resting > crew->wanted + SPARE;
    crew->present -= surplus;
    pthread_mutex_unlock(&crew->lock);
    if (surplus)
        metric_add(crew->standing_in, -1);
    return surplus;
}

static void *thread_main(void *context)
{
    struct place *place = context;
    struct worker *worker = place->thread.worker;
    struct lane_item *item;
    thread_enter(&place->thread);
    while ((item = lanes_take(worker->lanes))) {
        uint64_t lane = item->lane;
        handler_work(&place->thread, (struct job *)(void *)item);
        lanes_finish(worker->lanes, lane);
        if (is_surplus(worker->crew, place))
            break;
    }
    leave(worker->crew, place);
    return NULL;
}

/* With the lock. */
static bool start(struct crew *crew, struct place *place)
{
    if (place->state == PLACE_LEFT)
        pthread_join(place->thread.id, NULL); /* it is past its last step */
    place->state = PLACE_EMPTY;
    place->thread.arena = arena_create((size_t)worker_settings(crew->worker)->call_memory_max);
    int error = pthread_create(&place->thread.id, &crew->attributes, thread_main, place);
    if (error) {
        arena_destroy(&place->thread.arena);
        errno = error;
        return false;
    }
    place->state = PLACE_TAKEN;
    crew->present++;
    return true;
}

void crew_start(struct worker *worker)
{
    struct crew *crew = calloc(1, sizeof *crew);
    ensure(crew);
    crew->worker = worker;
    crew->wanted = worker_settings(worker)->threads_of[worker->kind->service];
    ensure(crew->wanted > 0);
    int stand_ins = crew->wanted * STAND_INS_PER_THREAD;
    crew->places = crew->wanted + (stand_ins < STAND_INS_MIN ? STAND_INS_MIN : stand_ins);
    crew->at = calloc((size_t)crew->places, sizeof *crew->at);
    ensure(crew->at);
    crew->standing_in = metric_gauge("myelin_worker_stand_ins", "Threads in the place of others that wait for long", NULL);
    pthread_mutex_init(&crew->lock, NULL);
    pthread_attr_init(&crew->attributes);
    pthread_attr_setstacksize(&crew->attributes, STACK_BYTES);
    for (int i = 0; i < crew->places; i++) {
        crew->at[i].thread.worker = worker;
        crew->at[i].thread.is_handler = true;
        pthread_mutex_init(&crew->at[i].thread.lock, NULL);
    }
    worker->crew = crew;
    pthread_mutex_lock(&crew->lock);
    for (int i = 0; i < crew->wanted; i++)
        ensure(start(crew, &crew->at[i]));
    pthread_mutex_unlock(&crew->lock);
}

void crew_join(struct worker *worker)
{
    struct crew *crew = worker->crew;
    pthread_mutex_lock(&crew->lock);
    crew->is_ending = true;
    pthread_mutex_unlock(&crew->lock);
    for (int i = 0; i < crew->places; i++) {
        pthread_mutex_lock(&crew->lock);
        bool was_there = crew->at[i].state != PLACE_EMPTY; /* nobody starts any more */
        pthread_mutex_unlock(&crew->lock);
        if (was_there)
            pthread_join(crew->at[i].thread.id, NULL);
    }
}

int crew_wanted(const struct worker *worker)
{
    return worker->crew->wanted;
}

int crew_places(const struct worker *worker)
{
    return worker->crew->places;
}

struct thread *crew_thread(const struct worker *worker, int place)
{
    return &worker->crew->at[place].thread;
}

void crew_rest(struct thread *thread)
{
    struct crew *crew = thread->worker->crew;
    struct place *empty = NULL;
    int error = 0;
    bool started = false;
    pthread_mutex_lock(&crew->lock);
    crew->resting++;
    if (crew->present - crew->resting < crew->wanted && crew->present < crew->places && !crew->is_ending) {
        for (int i = crew->wanted; !empty && i < crew->places; i++)
            if (crew->at[i].state != PLACE_TAKEN)
                empty = &crew->at[i];
        started = empty && start(crew, empty);
        error = errno;
    }
    pthread_mutex_unlock(&crew->lock);
    if (started)
        metric_add(crew->standing_in, 1);
    else if (empty)
        log_event(LOG_WARN, "no thread can be started to stand in", LOG_CSTR("why", strerror(error)));
}

void crew_resume(struct thread *thread)
{
    struct crew *crew = thread->worker->crew;
    pthread_mutex_lock(&crew->lock);
    crew->resting--;
    pthread_mutex_unlock(&crew->lock);
}
