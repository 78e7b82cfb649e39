/* One request on its way: from the handler that read it to the answer. It lives in the request's memory and dies with it, whether
 * it was answered or the client left. States: WAITING  no worker has it: none is alive (loop->unplaced), or the link to one is not
 * up or full (link->waiting) SENT     a worker has it (link->sent); its answer finds it by the correlation number ANSWERED h2o has
 * the answer, or the request is gone */
#ifndef MYELIN_FRONTEND_EXCHANGE_H
#define MYELIN_FRONTEND_EXCHANGE_H

#include "frontend/guards.h"
#include "frontend/link.h"
#include "frontend/router.h"

enum exchange_state { EXCHANGE_WAITING, EXCHANGE_SENT, EXCHANGE_ANSWERED };

struct exchange {
    h2o_generator_t generator; /* of a long body, reply.c */
    struct slice body_rest;
    h2o_req_t *req;
    struct loop *loop;
    struct client *client;
    struct inquiry inquiry;
    struct address address; /* of the client, behind trusted proxies */
    unsigned char trace[16];
    bool is_head, is_cors;
    int64_t started_us;
    int status; /* answered with */

    const struct route *route; /* NULL: none matched */
    enum exchange_state state;
    uint64_t lane;             /* 0: none */
    uint64_t choice;           /* decides among the workers: the lane, or random */
    uint64_t avoid[AVOID_MAX]; /* instances that failed us, the last one last */
    int avoid_count, losses;
    bool is_mismatched;                    /* somebody said VERSION_MISMATCH */
    int64_t deadline_ms, waiting_since_ms; /* monotonic */
    uint64_t correlation;
    struct link *link; /* SENT, or WAITING for it; NULL: unplaced */
    h2o_linklist_t active, queue;
    bool watched; /* watch.c has its descriptor */
};

struct exchange *exchange_create(struct loop *loop, h2o_req_t *req);
/* Hands it to a worker; `routed` is what router_match gave. From now on it answers by itself. */
void exchange_start(struct exchange *exchange, const struct routed *routed);
/* The client hung up (HTTP/1). */
void exchange_abandoned(struct exchange *exchange);

/* From the link. */
void exchange_take_reply(struct link *link, struct arena *arena, const struct wire_message *message);
void exchanges_resume(struct link *link); /* it can send again */
void exchanges_lost(struct link *link);   /* the worker is gone */

/* From the loop. */
void exchanges_tick(struct loop *loop);            /* deadlines, late links, hang-ups to watch */
void exchanges_replace(struct loop *loop);         /* the registry changed: try the unplaced again */
void exchanges_drain(struct loop *loop, bool all); /* answers long polls, or everything */

#endif
