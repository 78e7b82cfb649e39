/* What the link thread waits for: ZeroMQ sockets that have something to receive, and plain descriptors (private to lib/kit).
 *
 * zmq_poll asks every socket twice per call, at a poll(2) each: with the sockets of a dozen peers that was more than all the rest
 * of a turn. A socket's descriptor tells when its state has changed, but only once: whatever is done with the socket afterwards may
 * swallow the news. So a socket is asked when its descriptor says so, or when it was used since it was asked last. */
#ifndef MYELIN_KIT_POLL_SET_H
#define MYELIN_KIT_POLL_SET_H

#include <stdbool.h>
#include <stddef.h>

struct poll_set {
    struct poll_item {
        void *socket; /* NULL: a plain descriptor */
        bool used, ready;
    } * items;
    struct pollfd *polled; /* in the same order */
    size_t count, capacity;
};

void poll_set_clear(struct poll_set *set);
/* The index in items. A socket counts as used. */
size_t poll_set_add(struct poll_set *set, void *socket, int descriptor);
/* After sending through it, or before. Who is ready needs no word: it is going to be received from. */
void poll_set_used(struct poll_set *set, const void *socket);
/* Waits until one is ready, at most so long (-1: no limit). Sets `ready` everywhere; false: none is, perhaps before its time: a
 * signal came, or news of a socket that is not about receiving. */
bool poll_set_wait(struct poll_set *set, long timeout_ms);
void poll_set_free(struct poll_set *set);

#endif
