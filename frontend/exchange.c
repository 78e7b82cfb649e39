/* The life of a request between h2o and the workers. Three events move it: an answer (exchange_take_reply), a worker that dies
 * (exchanges_lost), time (exchanges_tick). Its owner, h2o's request, may vanish at any moment; exchange_gone() then takes it out
 * of whatever list it is in and tells the worker.
 * What may be repeated: a request that no worker was given, always; one that was given to a worker which died, only when its route
 * is idempotent (GET, PUT with a transaction id), and not over and over, lest it kills one worker after the other. */
#include "frontend/exchange.h"

#include "frontend/access.h"
#include "frontend/pending.h"
#include "frontend/reply.h"
#include "frontend/watch.h"
#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"

#include <stdio.h>

/* ---- in and out of the lists */

/* No longer SENT or WAITING: nobody else knows it. */
static void detach(struct exchange *exchange)
{
    struct loop *loop = exchange->loop;
    h2o_linklist_unlink(&exchange->queue);
    if (exchange->state == EXCHANGE_SENT) {
        pending_remove(loop->pending, exchange->correlation);
        atomic_fetch_sub_explicit(&loop->front->running, 1, memory_order_relaxed);
    } else if (exchange->state == EXCHANGE_WAITING) {
        loop->waiting--;
        atomic_fetch_sub_explicit(&loop->front->waiting, 1, memory_order_relaxed);
    }
    exchange->link = NULL;
}

static void wait_in(struct exchange *exchange, h2o_linklist_t *list, struct link *link)
{
    struct loop *loop = exchange->loop;
    h2o_linklist_insert(list, &exchange->queue);
    exchange->link = link;
    exchange->state = EXCHANGE_WAITING;
    loop->waiting++;
    atomic_fetch_add_explicit(&loop->front->waiting, 1, memory_order_relaxed);
}

/* Before an answer: h2o has it from here on. */
static void finish(struct exchange *exchange)
{
    detach(exchange);
    h2o_linklist_unlink(&exchange->active);
    exchange->state = EXCHANGE_ANSWERED;
    if (exchange->watched) {
        exchange->watched = false;
        watch_end(exchange->loop->watch, h2o_socket_get_fd(exchange->client->socket));
    }
}

static void answer_fault(struct exchange *exchange, enum fault fault)
{
    finish(exchange);
    reply_fault(exchange, fault, 0);
}

/* The worker need not go on. */
static void tell_cancelled(const struct exchange *exchange)
{
    struct wire_message cancel = {.header = {.major = WIRE_MAJOR,
                                             .minor = WIRE_MINOR,
                                             .type = WIRE_CANCEL,
                                             .message = MESSAGE_http,
                                             .correlation = exchange->correlation,
                                             .lane = exchange->lane,
                                             .caller_rank = RANK_frontend}};
    memcpy(cancel.header.trace, exchange->trace, sizeof cancel.header.trace);
    if (exchange->state == EXCHANGE_SENT)
        link_send(exchange->link, &cancel);
}

/* The request's memory ends: after the answer was written, or because the client is gone. */
static void on_dispose(void *at)
{
    struct exchange *exchange = at;
    bool unanswered = exchange->state != EXCHANGE_ANSWERED;
    if (unanswered) {
        tell_cancelled(exchange);
        finish(exchange);
        client_reset(exchange->client);
    }
    access_ended(exchange, unanswered);
    exchange->client->idle_since_ms = (int64_t)h2o_now(exchange->loop->events);
}

struct exchange *exchange_create(struct loop *loop, h2o_req_t *req)
{
    struct exchange *exchange = h2o_mem_alloc_shared(&req->pool, sizeof *exchange, on_dispose);
    memset(exchange, 0, sizeof *exchange);
    exchange->req = req;
    exchange->loop = loop;
    exchange->client = client_of_request(req);
    exchange->state = EXCHANGE_ANSWERED; /* by the handler, unless it is started */
    exchange->started_us = clock_monotonic_us();
    return exchange;
}

/* ---- to a worker */

static void pack(struct arena *arena, const struct exchange *exchange, const struct routed *routed, struct packed *out)
{
    const struct inquiry *inquiry = &exchange->inquiry;
    struct http_request request = {
        .route_key = (int64_t)route_key(exchange->route),
        .target = inquiry->target,
        .params = {routed->params, routed->param_count},
        .query = inquiry->query,
        .authorization = inquiry->authorization,
        .content_type = inquiry->content_type,
        .remote_address = slice_from_cstr(exchange->address.text),
#ifdef MYELIN_NEXT_ROUTES
        .next = true,
#endif
        .user_agent = inquiry->user_agent,
        .body = slice_is_absent(inquiry->body) ? SLICE("") : inquiry->body,
    };
    message_find(MESSAGE_http)->pack_request(arena, &request, out);
}

/* False: the link does not take it now. fresh: the handler's match, still in loop->outbound; NULL later on. The request is matched
 * and packed anew for each further worker that it is offered to: a copy kept for that would cost memory for each parked poll. */
static bool send_to(struct exchange *exchange, struct link *link, const struct routed *fresh)
{
    struct loop *loop = exchange->loop;
    struct routed again;
    int64_t left_ms = exchange->deadline_ms - clock_monotonic_ms();
    struct wire_message message = {.header = {.major = WIRE_MAJOR,
                                              .minor = WIRE_MINOR,
                                              .type = WIRE_REQUEST,
                                              .message = MESSAGE_http,
                                              .timeout_ms = left_ms > 0 ? (uint32_t)left_ms : 0,
                                              .lane = exchange->lane,
                                              .caller_rank = RANK_frontend}};
    if (!link->up)
        return false;
    if (!fresh) {
        arena_reset(loop->outbound);
        ensure(router_match(loop->outbound, &exchange->inquiry, &again) == FAULT_OK);
    }
    pack(loop->outbound, exchange, fresh ? fresh : &again, &message.body);
    memcpy(message.header.trace, exchange->trace, sizeof message.header.trace);
    exchange->correlation = message.header.correlation = pending_add(loop->pending, exchange);
    if (!link_send(link, &message)) {
        pending_remove(loop->pending, exchange->correlation);
        return false;
    }
    h2o_linklist_insert(&link->sent, &exchange->queue);
    exchange->link = link;
    exchange->state = EXCHANGE_SENT;
    atomic_fetch_add_explicit(&loop->front->running, 1, memory_order_relaxed);
    return true;
}

/* The heaviest peer that may be reachable: for when the registry still lists some that are not. */
static const struct peer *choose_reachable(const struct exchange *exchange, int64_t now_ms)
{
    const struct peers *peers = exchange->loop->peers;
    const struct peer *best = NULL;
    uint64_t best_weight = 0;
    for (size_t i = 0; i < peers->count; i++) {
        const struct peer *peer = &peers->at[i];
        if (peer->kind != exchange->route->kind || peer->draining || peer->instance == exchange->avoid)
            continue;
        const struct link *link = link_find(exchange->loop, peer->instance);
        uint64_t weight = rendezvous_weight(exchange->choice, peer->instance);
        if ((link && !link_is_hopeful(link, now_ms)) || (best && weight <= best_weight))
            continue;
        best = peer;
        best_weight = weight;
    }
    return best;
}

/* The link to the owner of the request's lane, or to the next one when that owner failed us or cannot be reached. NULL: nobody. */
static struct link *choose(struct exchange *exchange, int64_t now_ms)
{
    struct loop *loop = exchange->loop;
    const struct peer *peer = peers_pick(loop->peers, exchange->route->kind, exchange->choice, exchange->avoid);
    struct link *link = peer ? link_to(loop, peer) : NULL;
    if (link && link_is_hopeful(link, now_ms))
        return link;
    if (peer && (peer = choose_reachable(exchange, now_ms)))
        return link_to(loop, peer);
    /* The one that failed us may be back: a network that hiccuped, not a death. */
    link = exchange->avoid ? link_find(loop, exchange->avoid) : NULL;
    return link && link->up ? link : NULL;
}

/* Detached → SENT or WAITING. */
static void place(struct exchange *exchange, const struct routed *fresh)
{
    struct link *link = choose(exchange, clock_monotonic_ms());
    if (!link)
        wait_in(exchange, &exchange->loop->unplaced, NULL);
    else if (!send_to(exchange, link, fresh))
        wait_in(exchange, &link->waiting, link);
}

void exchange_start(struct exchange *exchange, const struct routed *routed)
{
    struct loop *loop = exchange->loop;
    int64_t now_ms = clock_monotonic_ms();
    if (loop->waiting >= WAITING_MAX) {
        reply_fault(exchange, FAULT_UNAVAILABLE, 0);
        return;
    }
    exchange->lane = router_lane(routed, &exchange->inquiry);
    exchange->choice = exchange->lane ? exchange->lane : loop_random(loop);
    exchange->deadline_ms = now_ms + router_timeout_ms(exchange->route, &exchange->inquiry, loop->settings);
    exchange->waiting_since_ms = now_ms;
    h2o_linklist_insert(&loop->active, &exchange->active);
    loop_wants_tick(loop);
    place(exchange, routed);
}

/* Given to a worker that did not answer: offered to the next one, or given up. */
static void place_again(struct exchange *exchange, uint64_t failed, enum fault fault)
{
    if (!exchange->route->idempotent || ++exchange->losses >= LOSSES_MAX) {
        answer_fault(exchange, fault);
        return;
    }
    log_event(LOG_DEBUG, "request offered to another worker", LOG_CSTR("route", exchange->route->handler),
              LOG_I64("losses", exchange->losses));
    detach(exchange);
    exchange->avoid = failed;
    exchange->waiting_since_ms = clock_monotonic_ms();
    place(exchange, NULL);
}

/* ---- from the link */

void exchange_take_reply(struct link *link, struct arena *arena, const struct wire_message *message)
{
    struct exchange *exchange = pending_get(link->loop->pending, message->header.correlation);
    if (!exchange || exchange->link != link)
        return; /* answered, timed out or gone meanwhile */
    enum fault fault = fault_from_number(message->header.fault);
    if (fault == FAULT_UNAVAILABLE) {
        place_again(exchange, link->instance, fault);
        return;
    }
    if (fault) {
        log_event(LOG_DEBUG, "worker refused a request", LOG_CSTR("route", exchange->route->handler),
                  LOG_STR("why", message->body.head));
        answer_fault(exchange, fault);
        return;
    }
    struct http_reply reply;
    if (!message_find(MESSAGE_http)->unpack_reply(arena, &message->body, &reply)) {
        log_event(LOG_ERROR, "a worker's answer cannot be read", LOG_CSTR("route", exchange->route->handler));
        answer_fault(exchange, FAULT_INTERNAL);
        return;
    }
    finish(exchange);
    reply_http(exchange, &reply);
}

/* Moves all of `list` to `out`, so that they can be placed again while new ones arrive. */
static void take_all(h2o_linklist_t *list, h2o_linklist_t *out)
{
    h2o_linklist_init_anchor(out);
    h2o_linklist_insert_list(out, list);
}

static struct exchange *first_of(h2o_linklist_t *list)
{
    return h2o_linklist_is_empty(list) ? NULL : H2O_STRUCT_FROM_MEMBER(struct exchange, queue, list->next);
}

void exchanges_resume(struct link *link)
{
    for (struct exchange *exchange; link->up && (exchange = first_of(&link->waiting));) {
        detach(exchange);
        if (!send_to(exchange, link, NULL)) {
            wait_in(exchange, &link->waiting, link);
            return;
        }
    }
}

void exchanges_lost(struct link *link)
{
    h2o_linklist_t sent, waiting;
    take_all(&link->sent, &sent);
    take_all(&link->waiting, &waiting);
    for (struct exchange *exchange; (exchange = first_of(&sent));)
        place_again(exchange, link->instance, FAULT_UNAVAILABLE);
    for (struct exchange *exchange; (exchange = first_of(&waiting));) {
        detach(exchange);
        exchange->avoid = link->instance;
        place(exchange, NULL);
    }
}

/* ---- from the client */

/* Any answer will do: nobody reads it, but h2o ends the connection with it, and on_dispose follows. */
void exchange_abandoned(struct exchange *exchange)
{
    tell_cancelled(exchange);
    finish(exchange);
    exchange->req->http1_is_persistent = 0;
    reply_abandoned(exchange);
}

/* ---- from the loop */

static void replace_one(struct exchange *exchange)
{
    detach(exchange);
    place(exchange, NULL);
}

void exchanges_replace(struct loop *loop)
{
    h2o_linklist_t list;
    take_all(&loop->unplaced, &list);
    for (struct exchange *exchange; (exchange = first_of(&list));)
        replace_one(exchange);
}

static void judge_waiting(struct exchange *exchange, int64_t now_ms)
{
    if (now_ms - exchange->waiting_since_ms > WAIT_FOR_WORKER_MS)
        answer_fault(exchange, FAULT_UNAVAILABLE);
    else if (!exchange->link || !link_is_hopeful(exchange->link, now_ms))
        replace_one(exchange);
}

/* HTTP/1 requests older than a tick are watched for hang-ups. */
static void watch(struct exchange *exchange)
{
    if (exchange->watched || exchange->req->version >= 0x200)
        return;
    exchange->watched = true;
    watch_begin(exchange->loop->watch, h2o_socket_get_fd(exchange->client->socket), exchange);
}

void exchanges_tick(struct loop *loop)
{
    int64_t now_ms = clock_monotonic_ms(), old_us = clock_monotonic_us() - TICK_MS * 1000;
    for (h2o_linklist_t *node = loop->active.next, *next; node != &loop->active; node = next) {
        next = node->next;
        struct exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct exchange, active, node);
        if (now_ms >= exchange->deadline_ms) {
            tell_cancelled(exchange);
            answer_fault(exchange, FAULT_DEADLINE);
            continue;
        }
        if (exchange->started_us < old_us)
            watch(exchange);
        if (exchange->state == EXCHANGE_WAITING)
            judge_waiting(exchange, now_ms);
    }
}

/* A long poll that had nothing to say until now can say so: the client asks the next frontend from where it was. */
static bool answer_poll(struct exchange *exchange)
{
    struct slice since = query_value(exchange->inquiry.query, SLICE("since"));
    if (exchange->route->rate != RATE_SYNC || exchange->route->method != METHOD_GET || !since.len)
        return false;
    for (size_t i = 0; i < since.len; i++)
        if (strchr("%\"\\+<>", since.at[i]) || (unsigned char)since.at[i] < 0x20 || (unsigned char)since.at[i] > 0x7e)
            return false; /* none of our tokens */
    char body[512];
    int len = snprintf(body, sizeof body, "{\"next_batch\":\"%.*s\"}", PRI(since));
    if (len < 0 || (size_t)len >= sizeof body)
        return false;
    finish(exchange);
    reply_json(exchange, 200, slice_of(body, (size_t)len));
    return true;
}

void exchanges_drain(struct loop *loop, bool all)
{
    for (h2o_linklist_t *node = loop->active.next, *next; node != &loop->active; node = next) {
        next = node->next;
        struct exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct exchange, active, node);
        if (!all && exchange->route->rate != RATE_SYNC)
            continue;
        tell_cancelled(exchange);
        if (!answer_poll(exchange))
            answer_fault(exchange, FAULT_UNAVAILABLE);
    }
}
