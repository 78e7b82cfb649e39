/* Notices HTTP/1 clients that leave while their request waits for a worker. h2o does not: it stops reading the socket until it
 * has answered, so that a hang-up is seen by nobody. */
#ifndef MYELIN_FRONTEND_WATCH_H
#define MYELIN_FRONTEND_WATCH_H

struct loop;
struct exchange;
struct watch;

struct watch *watch_create(struct loop *loop);
void watch_destroy(struct watch **watch);
/* exchange_abandoned() is called when the peer hangs up. End it before answering. */
void watch_begin(struct watch *watch, int descriptor, struct exchange *exchange);
void watch_end(struct watch *watch, int descriptor);

#endif
