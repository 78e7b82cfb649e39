/* The thread that drives libcurl: one multi handle, so one pool of connections and HTTP/2 streams for the whole process. Callers
 * hand in a transfer and sleep until it is done. The thread starts with the first request; when nothing was asked for a while it
 * closes what it has open and gives the memory back: most processes rarely speak to the outside. */
#include "lib/kit/http_client_internal.h"

#include "lib/base/clock.h"
#include "lib/base/ensure.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1000, EVENTS = 64, REST_AFTER_MS = 60000 };

struct engine {
    struct http_client *client;
    pthread_t thread;
    pthread_mutex_t lock; /* the next three */
    struct transfer *submitted, **last_submitted;
    bool is_running, is_closing;
    int wake;
    /* the thread's own */
    int epoll;
    CURLM *multi; /* NULL: resting */
    X509_STORE *trust;
    size_t active;
    int64_t timer_ms, rest_ms; /* when curl, when the rest is due; INT64_MAX: not */
};

X509_STORE *engine_trust(struct engine *engine)
{
    if (!engine->trust)
        engine->trust = trust_load(engine->client->ca_file);
    return engine->trust;
}

/* ---- what curl asks for */

static int on_socket(CURL *easy, curl_socket_t descriptor, int what, void *context, void *known)
{
    struct engine *engine = context;
    struct epoll_event event = {.data.fd = descriptor};
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(engine->epoll, EPOLL_CTL_DEL, descriptor, NULL);
        return 0;
    }
    event.events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) | (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    if (epoll_ctl(engine->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, descriptor, &event) != 0 && errno == EEXIST)
        epoll_ctl(engine->epoll, EPOLL_CTL_MOD, descriptor, &event);
    if (!known)
        curl_multi_assign(engine->multi, descriptor, engine);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *context)
{
    struct engine *engine = context;
    engine->timer_ms = timeout_ms < 0 ? INT64_MAX : clock_monotonic_ms() + timeout_ms;
    return 0;
}

/* ---- the thread */

static void wake_up(struct engine *engine)
{
    engine->multi = curl_multi_init();
    ensure(engine->multi);
    engine->timer_ms = INT64_MAX;
    curl_multi_setopt(engine->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(engine->multi, CURLMOPT_SOCKETDATA, engine);
    curl_multi_setopt(engine->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(engine->multi, CURLMOPT_TIMERDATA, engine);
    curl_multi_setopt(engine->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    curl_multi_setopt(engine->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
}

static void rest(struct engine *engine)
{
    if (!engine->multi)
        return;
    curl_multi_cleanup(engine->multi);
    engine->multi = NULL;
    engine->timer_ms = engine->rest_ms = INT64_MAX;
    X509_STORE_free(engine->trust);
    engine->trust = NULL;
    malloc_trim(0);
}

static void finish(struct engine *engine, struct transfer *transfer, CURLcode result)
{
    engine->active--;
    curl_multi_remove_handle(engine->multi, transfer->easy);
    pthread_mutex_lock(&transfer->lock);
    transfer->result = result;
    transfer->is_done = true;
    pthread_cond_signal(&transfer->done);
    pthread_mutex_unlock(&transfer->lock); /* from here on it is gone */
}

static void take_submitted(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    struct transfer *list = engine->submitted, *next;
    engine->submitted = NULL;
    engine->last_submitted = &engine->submitted;
    pthread_mutex_unlock(&engine->lock);
    for (struct transfer *transfer = list; transfer; transfer = next) {
        next = transfer->next;
        if (!engine->multi)
            wake_up(engine);
        engine->active++;
        if (curl_multi_add_handle(engine->multi, transfer->easy) != CURLM_OK)
            finish(engine, transfer, CURLE_FAILED_INIT);
    }
}

static void collect_finished(struct engine *engine)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(engine->multi, &left))) {
        struct transfer *transfer = NULL;
        CURLcode result = message->data.result; /* the message dies with the handle's removal */
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
        finish(engine, transfer, result);
    }
}

static void handle_events(struct engine *engine, const struct epoll_event *events, int count)
{
    int running;
    for (int i = 0; i < count; i++) {
        int descriptor = events[i].data.fd, what = 0;
        if (descriptor == engine->wake) {
            uint64_t ignored;
            ensure(read(engine->wake, &ignored, sizeof ignored) == sizeof ignored || errno == EAGAIN);
            continue;
        }
        if (events[i].events & (EPOLLIN | EPOLLHUP))
            what |= CURL_CSELECT_IN;
        if (events[i].events & EPOLLOUT)
            what |= CURL_CSELECT_OUT;
        if (events[i].events & EPOLLERR)
            what |= CURL_CSELECT_ERR;
        curl_multi_socket_action(engine->multi, descriptor, what, &running);
    }
    if (engine->multi && clock_monotonic_ms() >= engine->timer_ms) {
        engine->timer_ms = INT64_MAX; /* curl sets it again when it wants to */
        curl_multi_socket_action(engine->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
}

static int timeout_ms(const struct engine *engine)
{
    int64_t due_ms = engine->timer_ms < engine->rest_ms ? engine->timer_ms : engine->rest_ms, now_ms = clock_monotonic_ms();
    if (due_ms == INT64_MAX)
        return -1;
    return due_ms <= now_ms ? 0 : due_ms - now_ms < REST_AFTER_MS ? (int)(due_ms - now_ms) : REST_AFTER_MS;
}

static bool is_closing(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    bool closing = engine->is_closing;
    pthread_mutex_unlock(&engine->lock);
    return closing;
}

static void *engine_thread(void *context)
{
    struct engine *engine = context;
    struct epoll_event events[EVENTS];
    pthread_setname_np(pthread_self(), "http");
    while (!is_closing(engine)) {
        take_submitted(engine);
        int count = epoll_wait(engine->epoll, events, EVENTS, timeout_ms(engine));
        ensure(count >= 0 || errno == EINTR);
        handle_events(engine, events, count);
        if (!engine->multi)
            continue;
        collect_finished(engine);
        int64_t now_ms = clock_monotonic_ms();
        if (engine->active)
            engine->rest_ms = INT64_MAX;
        else if (engine->rest_ms == INT64_MAX)
            engine->rest_ms = now_ms + REST_AFTER_MS;
        else if (now_ms >= engine->rest_ms)
            rest(engine);
    }
    rest(engine);
    return NULL;
}

/* ---- any thread */

struct engine *engine_create(struct http_client *client)
{
    struct engine *engine = calloc(1, sizeof *engine);
    ensure(engine);
    engine->client = client;
    engine->last_submitted = &engine->submitted;
    engine->timer_ms = engine->rest_ms = INT64_MAX;
    pthread_mutex_init(&engine->lock, NULL);
    engine->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    engine->epoll = epoll_create1(EPOLL_CLOEXEC);
    ensure(engine->wake >= 0 && engine->epoll >= 0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = engine->wake};
    ensure(epoll_ctl(engine->epoll, EPOLL_CTL_ADD, engine->wake, &event) == 0);
    return engine;
}

static void poke(struct engine *engine)
{
    uint64_t one = 1;
    ensure(write(engine->wake, &one, sizeof one) == sizeof one || errno == EAGAIN);
}

void engine_run(struct engine *engine, struct transfer *transfer)
{
    pthread_mutex_lock(&engine->lock);
    ensure(!engine->is_closing); /* whoever destroys a client waits for its users first */
    bool was_empty = !engine->submitted;
    *engine->last_submitted = transfer;
    engine->last_submitted = &transfer->next;
    if (!engine->is_running) {
        ensure(pthread_create(&engine->thread, NULL, engine_thread, engine) == 0);
        engine->is_running = true;
    }
    pthread_mutex_unlock(&engine->lock);
    if (was_empty)
        poke(engine);
    pthread_mutex_lock(&transfer->lock);
    while (!transfer->is_done)
        pthread_cond_wait(&transfer->done, &transfer->lock);
    pthread_mutex_unlock(&transfer->lock);
}

void engine_destroy(struct engine **engine)
{
    struct engine *it = *engine;
    if (!it)
        return;
    pthread_mutex_lock(&it->lock);
    it->is_closing = true;
    bool was_running = it->is_running;
    pthread_mutex_unlock(&it->lock);
    poke(it);
    if (was_running)
        pthread_join(it->thread, NULL);
    close(it->wake);
    close(it->epoll);
    pthread_mutex_destroy(&it->lock);
    free(it);
    *engine = NULL;
}
