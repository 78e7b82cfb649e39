/* The link thread: it alone touches the process's sockets (private to lib/kit). Other threads hand it what to send, through a queue
 * and an eventfd. Four files: link.c is the loop, link_serve.c answers callers, link_peers.c carries our own calls to others,
 * link_stream.c publishes and subscribes. */
#ifndef MYELIN_KIT_LINK_H
#define MYELIN_KIT_LINK_H

#include "lib/kit/job.h"
#include "lib/kit/poll_set.h"
#include "lib/kit/wire_internal.h"

enum { ROUTER_LOCAL /* ipc:// */, ROUTER_REMOTE /* tcp:// with CURVE */, ROUTER_COUNT };

enum { TRIED_MAX = 16 /* workers that a call is offered to, of those that turn it down */ };

/* A call to another worker: shared by the call that waits and the link thread, freed by the last of them. */
struct bus_ticket {
    struct bus_ticket *next; /* link thread: chain of sent ones, a connection's unsent ones, or those that nobody takes now */
    atomic_int references;
    struct worker *worker;
    const struct message_facts *message;
    enum service kind;
    uint64_t correlation, lane;
    uint64_t instance; /* of the peer it was sent to */
    int64_t deadline_ms;
    struct parcel *parcel;     /* until it is settled: it may have to be sent again */
    int64_t give_up_ms;        /* when nobody takes it */
    uint64_t tried[TRIED_MAX]; /* instances that turned it down or died with it */
    int tried_count;
    bool is_repeated, is_mismatched;
    pthread_mutex_t lock; /* the rest */
    pthread_cond_t settled;
    bool is_settled;
    enum fault fault;
    const char *why;     /* static; for faults made here */
    struct arena *arena; /* what came */
    struct packed body;
};
void bus_ticket_release(struct bus_ticket *ticket);
/* Tells the waiting call, and gives the link's reference up. arena: holds the body; NULL for faults made here. */
void bus_ticket_settle(struct bus_ticket *ticket, enum fault fault, const char *why, struct arena *arena,
                       const struct packed *body);

struct connection;
struct subscription;

enum command_type { COMMAND_REPLY, COMMAND_REQUEST, COMMAND_ABANDON, COMMAND_PUBLISH, COMMAND_DOUBT };
struct command {
    struct command *next;
    enum command_type type;
    int router;
    struct parcel *parcel;
    struct bus_ticket *ticket;
    int64_t pos, horizon; /* publications */
};

struct link {
    struct worker *worker;
    void *zmq;
    void *routers[ROUTER_COUNT], *publishers[ROUTER_COUNT]; /* NULL: not used */
    char endpoint[128], publisher[128];                     /* what the registry tells others */
    int wake;                                               /* eventfd */
    int signals;                                            /* signalfd of SIGTERM */
    pthread_mutex_t lock;                                   /* commands, is_awake */
    struct command *commands, **last_command;
    atomic_bool peers_changed;
    bool is_over;        /* under the lock: nothing is sent any more */
    struct arena *spare; /* for the next message */

    const struct peers *peers;
    struct connection *connections;
    struct bus_ticket **sent; /* by correlation */
    size_t sent_count;
    struct bus_ticket *held; /* nobody takes them now */
    int64_t held_look_ms;    /* when they are offered again at the latest */
    unsigned rotor;          /* whom a call without a lane goes to */

    struct subscription *subscriptions;
    uint64_t published; /* sequence of the last publication */
    int64_t tick_ms;    /* when the next one is due */
    int64_t highest_pos, known_horizon;
    atomic_bool is_reading_horizon;
    _Atomic int64_t horizon_read_ms;      /* when it was read last */
    int64_t doubted_ms;                   /* the last doubt; 0: there is none */
    int64_t doubt_shown_ms;               /* the last gap made for one */
    bool doubt_is_new;                    /* no gap was made since the last one */
    struct departure *departures;         /* publishers whose end is told once more */
    size_t publisher_items[ROUTER_COUNT]; /* in polled */

    int64_t draining_since_ms; /* 0: not */
    int64_t draining_seen_ms;  /* since when others know it; 0: they do not */
    _Atomic int64_t turned_ms; /* the last turn of the loop: for the heartbeat */
    struct poll_set polled;
    bool polled_stale; /* a socket came or went */
};

struct link *link_create(struct worker *worker); /* binds; NULL: logged */
void link_run(struct link *link);                /* until drained; after it calls fail and nothing is sent */
void link_destroy(struct link **link);

/* ---- any thread */
void link_send_reply(struct link *link, int router, struct parcel *parcel);
void link_send_request(struct link *link, struct bus_ticket *ticket);
void link_abandon(struct link *link, struct bus_ticket *ticket); /* takes the caller's reference over */
void link_send_publication(struct link *link, struct parcel *parcel, int64_t pos, int64_t horizon);
void link_send_doubt(struct link *link);
void link_poke(struct link *link); /* peers, times or draining changed */
void link_peers_changed(struct link *link);

/* ---- link thread only: link_serve.c */
void serve_router(struct link *link, int router);

/* ---- link_peers.c */
void peers_update(struct link *link);
void peers_poll_items(struct link *link);
void peers_poll_done(struct link *link);
int64_t peers_next_ms(const struct link *link);
void peers_tick(struct link *link, int64_t now_ms);
void peers_request(struct link *link, struct bus_ticket *ticket);
void peers_abandon(struct link *link, struct bus_ticket *ticket);
void peers_close(struct link *link);

/* ---- link_stream.c */
void streams_update(struct link *link); /* subscribes to publishers that are new, leaves those that are gone */
void streams_poll_items(struct link *link);
void streams_poll_done(struct link *link);
void streams_publish(struct link *link, struct parcel *parcel, int64_t pos, int64_t horizon);
void streams_doubt(struct link *link);
int64_t streams_next_ms(const struct link *link);
void streams_tick(struct link *link, int64_t now_ms);
void streams_close(struct link *link);

/* ---- shared */
struct arena *link_arena(struct link *link); /* an empty one; give it back with link_arena_return when it was not needed */
void link_arena_return(struct link *link, struct arena *arena);
/* Where to connect: a worker on this machine is reached by its ipc:// socket, whatever the registry says. */
void link_nearest_endpoint(const struct link *link, const struct peer *peer, bool publisher, char *out, size_t size);
void *link_connect(struct link *link, int type, const char *endpoint);

#endif
