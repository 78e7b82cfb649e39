/* How long things of passage are kept; the sweep removes older ones. */
#ifndef MYELIN_ACCOUNTS_EXPIRY_H
#define MYELIN_ACCOUNTS_EXPIRY_H

#include <stdint.h>

#define NONCE_MS INT64_C(60000)              /* of the shared-secret route */
#define UI_SESSION_MS INT64_C(3600000)       /* of user-interactive authentication */
#define TO_DEVICE_SEEN_MS INT64_C(604800000) /* transaction and message ids: a week, longer than anyone retries */

#endif
