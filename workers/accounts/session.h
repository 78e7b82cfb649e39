/* A session: a device and its access token (Client-Server API "Relationship between access tokens and devices"). */
#ifndef MYELIN_ACCOUNTS_SESSION_H
#define MYELIN_ACCOUNTS_SESSION_H

#include "workers/accounts/changes.h"

enum { DISPLAY_NAME_BYTES_MAX = 512, DEVICE_ID_BYTES_MAX = 255 };
enum { REFRESHABLE_MS = 60 * 60 * 1000 }; /* life of an access token that can be refreshed */

struct session {
    struct slice user_id, device_id, display_name /* of a new device; absent if none */;
    bool is_refreshable;
    struct slice access_token, refresh_token; /* made by session_add */
    struct db_result *opened, *dropped;
};

/* device_id, initial_device_display_name, refresh_token of the body. False: *answer. */
bool session_from_body(struct call *call, struct session *session, struct reply *answer);
/* Adds what opens it to the batch: an older token of the same device ends. */
void session_add(struct call *call, struct db_batch *batch, struct session *session);
/* After the commit: tells about ended tokens. */
void session_opened(struct call *call, struct session *session);
enum fault session_open(struct call *call, struct session *session);      /* all of it in one trip */
void session_write(struct json_writer *w, const struct session *session); /* members of the answer */
/* Every row of a tokens_drop… statement as a change. */
#define TOKENS_DROPPED(changes, result, row_type, next) \
    do { \
        struct row_type row_; \
        while (next(result, &row_)) \
            changes_add(changes, STREAM_token, hex_encode((changes)->call->arena, row_.token_hash), row_.pos); \
    } while (0)

#endif
