/* The children: which there should be, which there are, and what they know of each other. A post is one replica of a kind; while
 * one child hands over to its successor it has two. Everything here runs on the loop's thread. */
#ifndef MYELIN_SUPERVISOR_FLEET_H
#define MYELIN_SUPERVISOR_FLEET_H

#include "lib/base/json.h"
#include "lib/kit/registry.h"
#include "lib/kit/settings.h"
#include "supervisor/loop.h"

#include <sys/types.h>

enum child_state {
    CHILD_STARTING, /* has settings and peers; no call may be sent yet */
    CHILD_READY,
    CHILD_DRAINING, /* finishes its calls, gets no new ones */
    CHILD_LEAVING,  /* told to end, or its channel is closed */
};

struct child {
    struct channel channel; /* first */
    struct fleet *fleet;
    struct post *post;
    struct child *next;
    uint64_t serial; /* never reused, unlike pids */
    pid_t pid;
    enum child_state state;
    struct peer peer; /* instance 0 until ready */
    bool heard;       /* from it, ever */
    bool hung;        /* we killed it for its silence */
    bool silent;      /* for long enough to be passed over by routers, not yet for long enough to be killed */
    int64_t started_ms, ready_ms, heard_ms;
    int64_t kill_ms; /* when patience ends; 0: no limit */
    int64_t queued, running;
};

struct post {
    enum service kind;
    int number; /* from 0 within its kind */
    const char *program;
    int restarts;
    int64_t start_ms; /* when the next child is due; 0: none is */
};

struct remote {
    struct peer peer;
    char host[64];
};

struct fleet {
    struct arena *arena;
    struct settings *settings;
    const char *lines; /* the settings as handed to children */
    const char *data;
    struct post *posts;
    size_t post_count;
    struct child *children;
    uint64_t serials;
    int64_t generation;
    struct remote *remote; /* workers of other machines, malloc'ed */
    size_t remote_count;
    struct {
        int level;
        int64_t died_ms;
    } backoff[SERVICE_COUNT];
    bool stopping;
    int64_t ticked_ms;
    /* Told to whoever keeps the registry and waits for answers. */
    void (*changed)(void *context, uint64_t gone_instance);
    void (*answered)(void *context, struct child *child, const struct json *packet); /* metrics, calls */
    void (*ended)(void *context, struct child *child);
    void *context;
};

/* Posts for the kinds to be run here; only: comma separated kinds or NULL. Dies when a program that was asked for is missing. */
void fleet_init(struct fleet *fleet, struct arena *arena, struct settings *settings, const char *data, const char *only);
void fleet_start(struct fleet *fleet);
bool fleet_ended(struct fleet *fleet, pid_t pid, int status); /* true: it was a child of ours */
bool fleet_tick(struct fleet *fleet, int64_t now_ms);         /* starts, kills; true while it wants to be asked again soon */
void fleet_set_remote(struct fleet *fleet, struct remote *remote, size_t count); /* takes them; pushes when they changed */
void fleet_push(struct fleet *fleet);                                            /* the live list to every child */
void fleet_tell(struct fleet *fleet, struct slice json);
void fleet_settings_changed(struct fleet *fleet);                           /* after *settings was replaced */
bool fleet_is_listed(const struct fleet *fleet, const struct child *child); /* routers may know of it */
bool fleet_kind_is_up(const struct fleet *fleet, enum service kind);
bool fleet_is_ready(const struct fleet *fleet); /* every post has a child that takes calls */
/* Hands over: a successor is started, and when it is ready the child drains. */
void fleet_replace(struct fleet *fleet, struct child *child);
/* Shutdown: the children of a rank drain; true when none of them is left. */
void fleet_drain_rank(struct fleet *fleet, int rank, int64_t kill_ms);
bool fleet_rank_is_gone(const struct fleet *fleet, int rank);
const char *child_state_name(enum child_state state);

/* child.c */
struct child *child_start(struct post *post, struct fleet *fleet); /* NULL: no process to be had */
void child_send(struct child *child, struct slice json);
void child_drain(struct child *child, int64_t kill_ms);
void child_kill_at(struct child *child, int64_t kill_ms);
void child_free(struct child *child);
/* fleet.c, called by child.c */
void fleet_child_ready(struct fleet *fleet, struct child *child);
void fleet_child_heard(struct fleet *fleet, struct child *child);
struct slice fleet_peers_packet(struct fleet *fleet, struct arena *arena);

#endif
