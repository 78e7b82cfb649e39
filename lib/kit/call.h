/* One call: what a handler gets and gives (DESIGN §4, §6). A handler runs on one of the worker's threads, may block, reads top to
 * bottom, and may be run twice: effects outside the database come after commit. Everything reachable from the call dies with it. */
#ifndef MYELIN_KIT_CALL_H
#define MYELIN_KIT_CALL_H

#include "lib/base/json.h"
#include "lib/kit/db.h"
#include "proto/message.h"
#include "proto/route.h"

struct worker;

/* Who asks, checked by the kit as the route's auth column says. */
struct requester {
    struct slice user_id;   /* AUTH_USER…: the user (for application services: the one acted for) */
    struct slice device_id; /* absent for application services without a device */
    struct slice token_hash;
    bool is_guest, is_admin, is_suspended;
    struct slice appservice_id; /* absent unless an application service asks */
};

struct call {
    struct arena *arena;
    struct worker *worker;
    const struct route *route; /* NULL for bus messages */
    const struct http_request *http;
    struct slice params[ROUTE_PARAMS_MAX]; /* by position in the route; use call_param */
    const struct json *json;               /* the body, when the route takes a JSON object; empty object for an absent body */
    struct requester requester;
    struct slice origin;    /* AUTH_SERVER: the verified server name */
    int64_t deadline_ms;    /* monotonic */
    char trace[33];         /* hex, W3C trace id */
    int64_t parked_ms;      /* how long it was parked so far; 0 on the first run */
    const char *wake_topic; /* what woke it; NULL on the first run and at its time-out */
    const char *detail;     /* for the log line; set by call_fail */
    struct slice why;       /* detail of the last failed bus call */
};

/* ---- what the request says */
struct slice call_param(const struct call *call,
                        const char *name); /* path parameter, decoded; absent when the route has none of that name */
struct slice call_query(const struct call *call, const char *name);      /* query parameter, decoded; absent if none */
struct slices call_query_all(const struct call *call, const char *name); /* repeated ones: ver, server_name, via */
bool call_query_i64(const struct call *call, const char *name,
                    int64_t *out); /* false: present and not a number; absent leaves *out */
bool call_query_bool(const struct call *call, const char *name, bool otherwise);

/* ---- answers. A reply is made in the call's arena. */
struct reply {
    int status;
    struct slice content_type; /* absent: application/json */
    struct slice body;
    const struct slice *headers; /* name, value pairs */
    size_t header_count;         /* slices in headers */
    bool park;                   /* see call_park */
    bool raw;                    /* bus messages: body is made by the generated wrapper */
};
struct reply reply_json(struct json_writer *w); /* 200 */
struct reply reply_raw_json(struct slice json); /* 200 */
struct reply reply_empty(void);                 /* 200 {} */
struct reply reply_status(int status, struct slice json);
/* The fault's status and errcode; detail (may be NULL) replaces its text and must be safe to show. */
struct reply call_fail(struct call *call, enum fault fault, const char *detail);
struct reply call_failf(struct call *call, enum fault fault, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A peer's refusal passed on to the client with its own status and errcode when they are Matrix errors. */
struct reply call_fail_peer(struct call *call, int64_t peer_status, struct slice peer_body);
/* What an object of the body may hold, and as what: all optional, null stands for an absent one. The list ends with a NULL key.
 * False: *answer names a member of another type. */
struct body_member {
    const char *key;
    enum json_type type;
};
bool call_members_fit(struct call *call, const struct json *object, const struct body_member *members, struct reply *answer);

/* ---- parking: nothing to say yet. The call is kept (no thread, no connection), and its handler is run again from the top when
 * one of the topics is published or the deadline passes. Look first, then park: what was published between the look and the park
 * wakes it too, because the kit compares with the sequence taken before the handler started. */
struct reply call_park(struct call *call, const struct slice *topics, size_t count, int64_t until_ms /* monotonic */);

/* ---- the database, with this call's arena and deadline */
struct db_batch *call_batch(struct call *call);
struct db_batch *call_transaction(struct call *call);

/* ---- other workers. Typed stubs: proto/stubs.h makes `enum fault call_<name>(call, lane, &request, &reply)` for each message
 * whose kind ranks above ours. These are what they stand on. UNAVAILABLE: no live worker of the kind or it died; DEADLINE. */
enum fault call_bus(struct call *call, const struct message_facts *message, struct slice lane, const void *request, void *reply);
/* Fan-out: send k, then collect k before the call's deadline. The ticket belongs to the call. */
struct bus_ticket;
struct bus_ticket *call_bus_send(struct call *call, const struct message_facts *message, struct slice lane, const void *request);
enum fault call_bus_wait(struct call *call, struct bus_ticket *ticket, void *reply);

/* ---- the server we are */
struct slice server_name(void);

typedef struct reply route_handler(struct call *call);
/* Bus handlers fill the reply and return the fault; `why` for humans goes into call->why. */
typedef enum fault message_handler(struct call *call, const void *request, void *reply);

#endif
