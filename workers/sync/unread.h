/* Unread counts (Client-Server API "Receiving notifications"): what notifies by the default rules after the user's receipts, for
 * the whole room and by thread. */
#ifndef MYELIN_SYNC_UNREAD_H
#define MYELIN_SYNC_UNREAD_H

#include "lib/base/json.h"

enum { UNREAD_MAX = 200 }; /* newest events looked at per room */

struct unread_thread {
    struct slice thread_id; /* the root's event id; "main" */
    int64_t notifications, highlights;
};
enum loudness { LOUD, MENTIONS_ONLY, SILENT };
struct unread {
    struct unread_thread *threads; /* [0] is the main timeline */
    size_t count;
    enum loudness loudness; /* the user's rules for this room */
};

/* One event of somebody else, judged. content may be NULL when it has no telling words. */
struct judgement {
    struct slice thread_id;
    bool notifies, is_highlight;
};
bool unread_counts(struct slice type); /* can events of this type notify at all? */
struct judgement unread_judge(struct slice type, const struct json *content, struct slice user_id);
bool unread_add(struct unread_thread *thread, struct judgement judgement, enum loudness loudness); /* true: it counted */

/* From the push rules (account data m.push_rules; NULL: none). */
enum loudness loudness_of(const struct json *rules, struct slice room_id);

#endif
