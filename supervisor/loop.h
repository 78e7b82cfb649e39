/* The supervisor's event loop: one thread, epoll. Events are taken one at a time, so that a handler may remove any other watch.
 * A channel is a non-blocking stream with buffers both ways: children, tool and HTTP clients are channels; none can make us wait.
 */
#ifndef MYELIN_SUPERVISOR_LOOP_H
#define MYELIN_SUPERVISOR_LOOP_H

#include "lib/base/slice.h"

struct watch {
    int descriptor; /* -1: not watched */
    void (*ready)(struct watch *watch, uint32_t events);
};
void loop_init(void);
void loop_add(struct watch *watch, uint32_t events);
void loop_change(struct watch *watch, uint32_t events);
void loop_remove(struct watch *watch); /* does not close */
void loop_once(int timeout_ms);

struct bytes {
    char *at;
    size_t len, capacity;
};
struct channel {
    struct watch watch; /* first: a watch of a channel is the channel */
    struct bytes in, out;
    size_t in_max, out_max;
    bool close_when_sent;
    /* Data came: takes what is whole from `in` by channel_consume. False: this peer is not worth talking to. Must not free. */
    bool (*take)(struct channel *channel);
    void (*closed)(struct channel *channel); /* descriptor and buffers are gone already; may free */
};
void channel_open(struct channel *channel, int descriptor, size_t in_max, size_t out_max);
void channel_consume(struct channel *channel, size_t len);
void channel_write(struct channel *channel, struct slice bytes); /* never waits; a peer that does not read is cut off at out_max */
void channel_close(struct channel *channel);                     /* without calling closed */
int listen_unix(const char *path, const char **error);
int listen_tcp(const char *address, const char **error); /* host:port, numeric */

#endif
