/* Unread counts (Client-Server API "Receiving notifications"): what notifies by the default rules after the user's receipts, for the whole
 * room and by thread. */
#ifndef MYELIN_SYNC_UNREAD_H
#define MYELIN_SYNC_UNREAD_H

#include "lib/base/slice.h"

struct unread_thread {
    struct slice thread_id; /* the root's event id; "main" */
    int64_t notifications, highlights;
};
struct unread {
    struct unread_thread *threads; /* [0] is the main timeline */
    size_t count;
};

#endif
