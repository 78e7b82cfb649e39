/* Sockets that accept clients. A setting names several: "127.0.0.1:8008,[::]:8448,tls": `tls` and `plain` belong to the address
 * before them. Each loop has its own socket per address (SO_REUSEPORT), and so may other frontend processes. */
#ifndef MYELIN_FRONTEND_LISTENER_H
#define MYELIN_FRONTEND_LISTENER_H

#include "frontend/front.h"

struct endpoint {
    char host[256]; /* "" for any address */
    char port[6];
    bool tls;
    enum listener_role role;
};
enum { ENDPOINTS_MAX = 32 };

/* Appends to endpoints; −1 when the list is malformed (logged), else the new count. Pure. */
int endpoints_parse(const char *list, enum listener_role role, struct endpoint *endpoints, int count);

/* Binds every address for every loop, so that errors show before anything runs, and no connection is lost between the first
 * and the last. False: logged. */
bool listeners_open(struct front *front, const struct settings *settings);
void listeners_start(struct loop *loop);  /* on the loop's thread */
void listeners_reload(struct loop *loop); /* new certificates, when they can be used */
void listeners_close(struct loop *loop);  /* after accepting what waits */

#endif
