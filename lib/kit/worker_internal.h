/* What the kit's files share about a worker process (private to lib/kit). One struct worker per process; everything in it is made
 * by worker_main before the first call and stays until the last. Threads: the link thread owns the sockets (link.c), handler
 * threads take jobs from the lanes (handlers.c), the control thread talks to the supervisor (control.c), the slot thread is
 * optional (slots.c). */
#ifndef MYELIN_KIT_WORKER_INTERNAL_H
#define MYELIN_KIT_WORKER_INTERNAL_H

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>

#include "lib/kit/control.h"
#include "lib/kit/lanes.h"
#include "lib/kit/metrics.h"
#include "lib/kit/park.h"
#include "lib/kit/worker.h"

struct crew;
struct jobs;
struct link;
struct listener;
struct slots;
struct tokens;

enum { STATUS_CLASSES = 6 };

/* A handler thread, or one of the kind's own that has a call, and what it does now: for `calls` on the control channel. */
struct thread {
    pthread_t id;
    struct worker *worker;
    struct arena *arena;         /* of the call at hand */
    struct thread *next, *outer; /* kind's own: the next of them; what this thread was before */
    char name[16];               /* kind's own */
    pthread_mutex_t lock;        /* the rest */
    const char *what;            /* handler or message; NULL: idle */
    const char *waits_for;       /* see wait.h; NULL: it runs */
    bool is_handler;             /* of the crew */
    bool rests;                  /* what it waits for takes long (crew.c); of its own thread only */
    struct slice waits_on;
    char trace[33];
    int64_t since_us;
};

/* Counted per route and per message. */
struct call_metrics {
    struct metric *by_status[STATUS_CLASSES]; /* 1xx…5xx at [1]…[5]; for messages [2] fine, [4] and [5] faults */
    struct metric *latency;
};

struct worker {
    const struct worker_kind *kind;
    const struct service_facts *facts;
    uint64_t instance;
    struct control *control;
    struct db_pool *db;
    struct lanes *lanes;
    struct park *park;
    struct jobs *jobs;
    struct link *link;
    struct listener *listeners; /* added before worker_run only */
    struct tokens *tokens;
    struct slots *slots;
    route_handler **route_handlers;       /* by index in routes[]; NULL: not ours */
    struct call_metrics *route_metrics;   /* the same */
    struct call_metrics *message_metrics; /* by index in kind->messages */
    struct metric *expired, *overload, *unsent;
    struct crew *crew;
    atomic_bool draining;
};

/* What the kit knows about a call besides what its handler sees. */
struct call_state {
    struct call call;           /* first */
    struct thread *thread;      /* that runs it */
    const struct slice *topics; /* call_park */
    size_t topic_count;
    int64_t park_until_ms;
    jmp_buf boundary; /* where a call that wants too much memory ends */
};

static inline struct call_state *call_state_of(struct call *call)
{
    return (struct call_state *)(void *)call;
}

/* ---- handlers.c, handlers_tables.c */
void handlers_prepare(struct worker *worker); /* tables and metrics */
void handlers_gauges_off(void);               /* before the database pool goes */
const struct worker_message *handlers_message(const struct worker *worker, unsigned id, size_t *index);

/* ---- wait.c */
struct thread *thread_enter(struct thread *thread); /* what waits from here on is this one's; gives who was before */
void thread_show(struct thread *thread, const char *what, const char *trace, int64_t since_us);
struct thread *stranger_enter(struct worker *worker, const char *trace); /* a thread of the kind's own begins a call */
void stranger_leave(struct thread **thread);
struct slice waits_list(struct arena *arena, struct worker *worker); /* JSON: threads that have a call, and parked calls */

/* ---- call.c */
void call_init(struct call_state *state, struct worker *worker, struct arena *arena, int64_t deadline_ms);
bool call_query_is_text(const struct call *call); /* once decoded: UTF-8 without NUL */
void trace_make(uint8_t out[16]);
void trace_to_hex(const uint8_t trace[16], char out[33]);
void trace_from_hex(const char *hex, uint8_t out[16]);
void call_server_name_set(const char *name);

/* ---- call_http.c: everything about a request but the handler itself */
struct reply call_http_run(struct call *call, const struct http_request *request);

/* ---- auth_token.c, auth_server.c: fill the call; a fault's reply goes to *refusal */
void tokens_start(struct worker *worker);
void tokens_stop(struct worker *worker);
bool auth_token(struct call *call, struct reply *refusal);
bool auth_server(struct call *call, struct reply *refusal);

/* ---- slots.c */
void slots_peers_changed(struct worker *worker);
void slots_stop(struct worker *worker);

/* ---- stream.c */
void listeners_free(struct worker *worker);

#endif
