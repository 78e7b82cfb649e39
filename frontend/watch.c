/* A second epoll descriptor holds the sockets of waiting HTTP/1 requests for EPOLLRDHUP alone, and is itself a socket of h2o's
 * loop: epoll descriptors are readable when they have something to say. Only requests that wait for longer than a tick are
 * entered (exchange.c), so that the quick ones do not pay two system calls. A client that only closes its sending half counts
 * as gone, as with other servers. */
#include "frontend/watch.h"

#include "frontend/exchange.h"
#include "lib/base/ensure.h"

#include <stdlib.h>
#include <sys/epoll.h>

struct watch {
    int descriptor;
    h2o_socket_t *socket;
};

static void on_hangups(h2o_socket_t *socket, const char *error)
{
    struct watch *watch = socket->data;
    struct epoll_event events[64];
    int count;
    do {
        count = epoll_wait(watch->descriptor, events, 64, 0);
        for (int i = 0; i < count; i++)
            exchange_abandoned(events[i].data.ptr);
    } while (count == 64);
}

struct watch *watch_create(struct loop *loop)
{
    struct watch *watch = calloc(1, sizeof *watch);
    ensure(watch);
    watch->descriptor = epoll_create1(EPOLL_CLOEXEC);
    ensure(watch->descriptor >= 0);
    watch->socket = h2o_evloop_socket_create(loop->events, watch->descriptor, H2O_SOCKET_FLAG_DONT_READ);
    watch->socket->data = watch;
    h2o_socket_read_start(watch->socket, on_hangups);
    return watch;
}

void watch_destroy(struct watch **watch)
{
    if (*watch)
        h2o_socket_close((*watch)->socket);
    free(*watch);
    *watch = NULL;
}

/* One shot: an abandoned exchange answers the dead socket, which ends it, and must not hear of it again. */
void watch_begin(struct watch *watch, int descriptor, struct exchange *exchange)
{
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = exchange};
    epoll_ctl(watch->descriptor, EPOLL_CTL_ADD, descriptor, &event);
}

void watch_end(struct watch *watch, int descriptor)
{
    epoll_ctl(watch->descriptor, EPOLL_CTL_DEL, descriptor, NULL);
}
