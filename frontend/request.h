/* h2o's handler: everything that is decided about a request before a worker sees it. */
#ifndef MYELIN_FRONTEND_REQUEST_H
#define MYELIN_FRONTEND_REQUEST_H

#include "frontend/front.h"

/* Registers it for both kinds of listener, with compression. Main thread, before the loops. */
void request_register(struct front *front);

#endif
