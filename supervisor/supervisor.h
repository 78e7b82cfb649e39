/* One running supervisor: what its parts need of each other. */
#ifndef MYELIN_SUPERVISOR_SUPERVISOR_H
#define MYELIN_SUPERVISOR_SUPERVISOR_H

#include "supervisor/fleet.h"
#include "supervisor/options.h"
#include "supervisor/postgres.h"
#include "supervisor/registry.h"

struct collect;

struct supervisor {
    struct arena *arena;
    const struct options *options;
    struct settings settings;
    struct account account;
    struct folder folder;
    struct postgres postgres; /* unused when !private_postgres */
    bool private_postgres;
    const char *url; /* of the database */
    struct fleet fleet;
    struct registry registry;
    struct collect *collects; /* questions to all children that wait for answers */
    int64_t collect_ids;
    int64_t started_ms;
    bool announced;     /* said that we are ready */
    int stop_rank;      /* -1: running; else the rank that drains now */
    int64_t stop_ms;    /* when the stop began */
    int64_t rank_ms;    /* when this rank must be gone */
    bool stop_database; /* the children are gone, PostgreSQL stops */
    bool over;
};

/* up.c */
void supervisor_prepare(struct supervisor *supervisor, struct arena *arena, const struct options *options, bool run);
int supervisor_run(struct supervisor *supervisor);   /* run.c */
int supervisor_close(struct supervisor *supervisor); /* instead of running: PostgreSQL stops */
void supervisor_reload(struct supervisor *supervisor);
void supervisor_stop(struct supervisor *supervisor);

/* collect.c: a question to every child; done gets what came back within the time. text: metrics, or a JSON array of calls. */
struct answer {
    enum service kind;
    int number;
    pid_t pid;
    uint64_t instance;
    struct slice text;
    struct answer *next;
};
struct collect {
    struct arena *arena;
    struct supervisor *supervisor;
    struct collect *next;
    int64_t id, deadline_ms;
    uint64_t *waiting; /* serials of children; 0: answered */
    size_t waiting_count, missing;
    struct answer *answers, **tail;
    void (*done)(struct collect *collect, void *context); /* the collect and its arena are freed after it */
    void *context;
};
void collect_start(struct supervisor *supervisor, const char *what, void (*done)(struct collect *, void *), void *context);
void collect_answer(struct supervisor *supervisor, struct child *child, const struct json *packet);
void collect_child_gone(struct supervisor *supervisor, const struct child *child);
void collect_tick(struct supervisor *supervisor, int64_t now_ms);
void collect_forget(struct supervisor *supervisor, const void *context); /* whoever asked is gone */

/* status.c */
struct slice status_json(struct supervisor *supervisor, struct arena *arena);
struct slice health_json(struct supervisor *supervisor, struct arena *arena, bool *healthy);

/* metrics_merge.c */
struct slice metrics_merge(struct supervisor *supervisor, struct collect *collect);

/* tool_socket.c, http.c: listeners on the loop */
void tool_socket_open(struct supervisor *supervisor);
void tool_socket_close(struct supervisor *supervisor);
void http_open(struct supervisor *supervisor);

#endif
