/* How long things of passage are kept, and how much one user may keep; the sweep removes older ones, what is more is refused. */
#ifndef MYELIN_ACCOUNTS_EXPIRY_H
#define MYELIN_ACCOUNTS_EXPIRY_H

#include <stdint.h>

#define NONCE_MS INT64_C(60000)              /* of the shared-secret route */
#define UI_SESSION_MS INT64_C(3600000)       /* of user-interactive authentication */
#define TO_DEVICE_SEEN_MS INT64_C(604800000) /* transaction and message ids: a week, longer than anyone retries */

enum {
    DEVICES_MAX = 1000,       /* per user: a login beyond it is refused until some are deleted */
    ACCOUNT_DATA_MAX = 20000, /* rows per user, global and of rooms */
    ONE_TIME_KEYS_KEPT = 1000 /* per device: beyond it the oldest go, whose private halves clients forget first */
};

#endif
