/* Defences that libh2o 2.2.5 lacks (facts/STACK.md §1): connection caps, limits on stream resets, deadlines for headers, bodies
 * and idle connections, and refusal of requests whose end is ambiguous. README.md says which guard meets which attack. */
#ifndef MYELIN_FRONTEND_GUARDS_H
#define MYELIN_FRONTEND_GUARDS_H

#include "frontend/front.h"

/* One connection, from accept to close. Found from a request by client_of_request. */
struct client {
    h2o_linklist_t link; /* in loop->clients */
    struct loop *loop;
    h2o_socket_t *socket;
    struct address address;
    bool counted;                  /* against the cap of its address */
    bool doomed;                   /* shut down; it gets no more service */
    int64_t idle_since_ms;         /* HTTP/1: since accept or the end of the last request */
    int64_t resets_full_at_ms;     /* HTTP/2: see client_reset */
    uint64_t received_before;      /* HTTP/2: bytes of the connection that do not belong to unfinished requests */
    uint64_t unfinished;           /* bytes of bodies that are still arriving, in this sweep */
    bool is_http2, has_unfinished; /* HTTP/2: had a request in this sweep that is still arriving */
};

struct admission *admission_create(void);
void admission_destroy(struct admission **admission);

/* A new connection: NULL when a cap refuses it; then the socket is closed. Freed when the socket closes. */
struct client *client_admit(struct loop *loop, h2o_socket_t *socket);
struct client *client_of_request(h2o_req_t *req);
/* A request of it ended before it was answered. Too many of these on HTTP/2 are an attack. */
void client_reset(struct client *client);
void client_finished_body(struct client *client, const h2o_req_t *req); /* a request of it has arrived whole */
void client_shut(struct client *client); /* the connection ends as soon as h2o looks at it; safe inside h2o's callbacks */

/* Looks at every connection of the loop; once a second. */
void guards_sweep(struct loop *loop);
/* HTTP/1 connections without a request end now. */
void guards_shut_idle(struct loop *loop);
/* Why an HTTP/1 request may be understood differently by a proxy before us ("two Content-Length headers"); NULL when it is clear.
 */
const char *guards_framing_error(h2o_req_t *req);

#endif
