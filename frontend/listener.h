/* Sockets that accept clients (lib/kit/endpoints.h says how they are written). Each loop has its own socket per address
 * (SO_REUSEPORT), and so may other frontend processes. */
#ifndef MYELIN_FRONTEND_LISTENER_H
#define MYELIN_FRONTEND_LISTENER_H

#include "frontend/front.h"

/* Binds every address for every loop, so that errors show before anything runs, and no connection is lost between the first
 * and the last. False: logged. */
bool listeners_open(struct front *front, const struct settings *settings);
void listeners_start(struct loop *loop);  /* on the loop's thread */
void listeners_reload(struct loop *loop); /* new certificates, when they can be used */
void listeners_close(struct loop *loop);  /* after accepting what waits */

#endif
