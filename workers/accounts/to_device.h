/* To-device messages into the inboxes of our users' devices. */
#ifndef MYELIN_ACCOUNTS_TO_DEVICE_H
#define MYELIN_ACCOUNTS_TO_DEVICE_H

#include "lib/kit/call.h"

enum { INBOX_MESSAGES_MAX = 20000, MESSAGE_TYPE_BYTES_MAX = 255 };

struct to_device {
    struct slice dedupe_sender, dedupe_id; /* seen before: nothing happens */
    struct slice sender, type;
    const struct json *messages; /* {user id: {device id or "*": content}}; users of others are passed over */
};
/* NULL: fine; else what is wrong with `messages`. */
const char *to_device_problem(const struct json *messages);
enum fault to_device_deliver(struct call *call, const struct to_device *message);

#endif
