/* PQcancel connects and waits for the server to hang up, without any limit: when PostgreSQL is frozen (a stopped postmaster, a
 * machine that swaps) it takes as long as that lasts, and every handler whose deadline passed would hang in it. So one thread per
 * process does it for all of them. What does not fit into its queue is dropped: then the server goes on until statement_timeout, or
 * until client_connection_check_interval tells it that we hung up. */
#include "lib/kit/db_cancel.h"

#include <pthread.h>

#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/base/queue.h"

enum { WAITING_MAX = 64, STACK_BYTES = 256 * 1024 };

static struct queue *waiting; /* of the process's life, as its thread */
static pthread_once_t started_once = PTHREAD_ONCE_INIT;

static void *cancel_thread(void *unused)
{
    for (;;) {
        char why[256];
        PGcancel *cancel = queue_pop(waiting);
        if (!PQcancel(cancel, why, sizeof why))
            log_event(LOG_DEBUG, "query not cancelled", LOG_CSTR("error", why));
        PQfreeCancel(cancel);
    }
    return NULL;
}

static void start(void)
{
    pthread_t thread;
    pthread_attr_t attributes;
    waiting = queue_create(WAITING_MAX);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    ensure(pthread_create(&thread, &attributes, cancel_thread, NULL) == 0);
    pthread_setname_np(thread, "db cancel");
    pthread_attr_destroy(&attributes);
}

void db_cancel_later(PGcancel *cancel)
{
    pthread_once(&started_once, start);
    if (queue_try_push(waiting, cancel))
        return;
    log_event(LOG_DEBUG, "query not cancelled", LOG_CSTR("error", "too many wait to be cancelled"));
    PQfreeCancel(cancel);
}
