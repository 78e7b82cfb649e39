/* See loop.h. */
#include "supervisor/loop.h"

#include "lib/base/ensure.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { READ_BYTES = 16 * 1024 };

static int poller = -1;

void loop_init(void)
{
    poller = epoll_create1(EPOLL_CLOEXEC);
    ensure(poller >= 0);
}

static void control(int operation, struct watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    epoll_ctl(poller, operation, watch->descriptor, &event);
}

void loop_add(struct watch *watch, uint32_t events)
{
    control(EPOLL_CTL_ADD, watch, events);
}

void loop_change(struct watch *watch, uint32_t events)
{
    control(EPOLL_CTL_MOD, watch, events);
}

void loop_remove(struct watch *watch)
{
    if (watch->descriptor >= 0)
        control(EPOLL_CTL_DEL, watch, 0);
}

void loop_once(int timeout_ms)
{
    struct epoll_event event;
    if (epoll_wait(poller, &event, 1, timeout_ms) == 1) {
        struct watch *watch = event.data.ptr;
        watch->ready(watch, event.events);
    }
}

/* ---- buffers */

static void bytes_add(struct bytes *bytes, const char *at, size_t len)
{
    if (bytes->len + len > bytes->capacity) {
        size_t capacity = bytes->capacity ? bytes->capacity : 1024;
        while (capacity < bytes->len + len)
            capacity *= 2;
        bytes->at = realloc(bytes->at, capacity);
        ensure(bytes->at);
        bytes->capacity = capacity;
    }
    memcpy(bytes->at + bytes->len, at, len);
    bytes->len += len;
}

/* Empty buffers keep no memory: most of the time nothing is said. */
static void bytes_drop(struct bytes *bytes, size_t len)
{
    bytes->len -= len;
    if (bytes->len) {
        memmove(bytes->at, bytes->at + len, bytes->len);
        return;
    }
    free(bytes->at);
    *bytes = (struct bytes){NULL};
}

/* ---- channels */

void channel_close(struct channel *channel)
{
    if (channel->watch.descriptor < 0)
        return;
    loop_remove(&channel->watch);
    close(channel->watch.descriptor);
    channel->watch.descriptor = -1;
    free(channel->in.at);
    free(channel->out.at);
    channel->in = channel->out = (struct bytes){NULL};
}

static void channel_end(struct channel *channel)
{
    channel_close(channel);
    channel->closed(channel);
}

/* False: the other side is gone. */
static bool channel_flush(struct channel *channel)
{
    while (channel->out.len) {
        ssize_t sent = send(channel->watch.descriptor, channel->out.at, channel->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN;
        bytes_drop(&channel->out, (size_t)sent);
    }
    return !channel->close_when_sent;
}

static bool channel_fill(struct channel *channel)
{
    char block[READ_BYTES];
    ssize_t got = recv(channel->watch.descriptor, block, sizeof block, MSG_DONTWAIT);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    if (got == 0 || channel->in.len + (size_t)got > channel->in_max)
        return false;
    bytes_add(&channel->in, block, (size_t)got);
    return channel->take(channel);
}

static void channel_ready(struct watch *watch, uint32_t events)
{
    struct channel *channel = (struct channel *)watch;
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !channel_fill(channel)) {
        channel_end(channel);
        return;
    }
    if (!channel_flush(channel)) {
        channel_end(channel);
        return;
    }
    loop_change(watch, channel->out.len ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void channel_open(struct channel *channel, int descriptor, size_t in_max, size_t out_max)
{
    channel->watch = (struct watch){descriptor, channel_ready};
    channel->in = channel->out = (struct bytes){NULL};
    channel->in_max = in_max;
    channel->out_max = out_max;
    loop_add(&channel->watch, EPOLLIN);
}

void channel_consume(struct channel *channel, size_t len)
{
    bytes_drop(&channel->in, len);
}

void channel_write(struct channel *channel, struct slice bytes)
{
    if (channel->watch.descriptor < 0)
        return;
    if (channel->out.len + bytes.len > channel->out_max) {
        shutdown(channel->watch.descriptor, SHUT_RDWR); /* the loop sees the end and says so */
        return;
    }
    bytes_add(&channel->out, bytes.at, bytes.len);
    if (!channel_flush(channel))
        shutdown(channel->watch.descriptor, SHUT_RDWR);
    else if (channel->out.len)
        loop_change(&channel->watch, EPOLLIN | EPOLLOUT);
}

/* ---- listeners */

int listen_unix(const char *path, const char **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        *error = "the path is too long for a socket";
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    unlink(path);
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made >= 0 && bind(made, (struct sockaddr *)&address, sizeof address) == 0 && listen(made, 16) == 0)
        return made;
    *error = strerror(errno);
    if (made >= 0)
        close(made);
    return -1;
}

int listen_tcp(const char *address, const char **error)
{
    char host[256];
    const char *colon = strrchr(address, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE}, *found;
    *error = "must be address:port";
    if (!colon || (size_t)(colon - address) >= sizeof host)
        return -1;
    bool bracketed = address[0] == '[' && colon > address && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - address) - 2 * bracketed, address + bracketed);
    if (getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, &found) != 0)
        return -1;
    int one = 1, made = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made >= 0)
        setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bool bound = made >= 0 && bind(made, found->ai_addr, found->ai_addrlen) == 0 && listen(made, 64) == 0;
    if (!bound) {
        *error = strerror(errno);
        if (made >= 0)
            close(made);
        made = -1;
    }
    freeaddrinfo(found);
    return made;
}
