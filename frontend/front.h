/* What the modules of the frontend share: the process (struct front) and one event-loop thread (struct loop). A loop's members
 * belong to its thread; front's are constant after the start, atomic, or locked by their module. */
#ifndef MYELIN_FRONTEND_FRONT_H
#define MYELIN_FRONTEND_FRONT_H

#include "frontend/address.h"
#include "frontend/limits.h"
#include "lib/kit/control.h"

#define H2O_USE_LIBUV 0 /* the evloop build; its pkg-config file does not say so */
#define H2O_USE_EPOLL 1
#include <h2o.h>
#include <pthread.h>
#include <stdatomic.h>

enum listener_role { LISTENER_CLIENT, LISTENER_FEDERATION, LISTENER_ROLES };

enum {
    TICK_MS = 250,             /* deadlines are kept to this */
    WAIT_FOR_WORKER_MS = 4000, /* how long a request waits for a live worker: service returns in < 5 s */
    LINK_UP_MS = 1000,         /* a new link that is not up by then counts as down */
    LOSSES_MAX = 3,            /* workers that may die over one request before we stop offering it */
    AVOID_MAX = 8,             /* workers that one request is offered to */
    WAITING_MAX = 20000,       /* requests without a worker, per thread */
    STUCK_MS = 5000,           /* a loop without a pulse for so long is stuck */
    DRAIN_MS = 3500,           /* what is not answered by then is answered 503 */
};

struct front {
    struct control *control;
    void *zmq;
    uint64_t instance;
    h2o_globalconf_t config;
    h2o_hostconf_t *hosts[LISTENER_ROLES][2]; /* NULL-terminated, as h2o wants it */
    struct limits *limits;
    struct admission *admission; /* connection caps, guards.c */
    size_t entity_max;           /* h2o's cap; routes have smaller ones */
    struct loop *loops;
    _Atomic int loop_count; /* set when the loops can take messages */
    _Atomic int loops_running;
    _Atomic bool draining;
    _Atomic int64_t waiting, running; /* requests, for the heartbeat */
};

struct loop {
    struct front *front;
    int index;
    pthread_t thread;
    h2o_evloop_t *events;
    h2o_context_t context;
    _Atomic unsigned mail; /* bits of enum loop_message; h2o's own mailbox hides its locks from thread sanitizers */
    int mail_descriptor;   /* eventfd */
    h2o_socket_t *mailbox;
    const struct settings *settings; /* the newest */
    struct networks *trusted;        /* proxies */
    const struct peers *peers;
    struct arena *outbound; /* while one message is packed and sent */
    uint64_t random;        /* state of loop_random */

    struct listener *listeners; /* NULL-terminated chain */
    struct retired *retired;    /* certificates that were replaced, listener.c */
    h2o_linklist_t clients;     /* struct client, guards.h */
    size_t client_count, client_peak;
    h2o_timeout_entry_t sweep; /* once a second while there are clients */
    h2o_timeout_entry_t pulse; /* once a second */
    _Atomic int64_t pulse_ms;  /* the last one, for the heartbeat */
    struct watch *watch;       /* clients that leave while they wait, watch.c */

    h2o_linklist_t links;     /* struct link, link.h */
    h2o_linklist_t active;    /* struct exchange: not answered yet */
    h2o_linklist_t unplaced;  /* …for which no worker is alive */
    struct pending *pending;  /* correlation → exchange */
    size_t waiting;           /* not sent yet: unplaced, or on a link that is not up */
    h2o_timeout_t tick_every; /* TICK_MS */
    h2o_timeout_entry_t tick; /* linked while there are active exchanges, or while draining */
    int64_t drain_until_ms;   /* 0: not draining */
    bool finished;
};

/* Messages to a loop, from any thread. */
enum loop_message { LOOP_PEERS, LOOP_RELOAD, LOOP_DRAIN };
void loop_tell(struct front *front, enum loop_message what); /* all loops */

bool loop_init(struct loop *loop, struct front *front, int index); /* main thread */
void *loop_thread(void *loop);
uint64_t loop_random(struct loop *loop);
void loop_wants_tick(struct loop *loop);

#endif
