/* What the process remembers of each device that syncs here, so that its next sync may need no SQL: where it stands in the log of
 * hints, which rooms its user is in, what is unread in them. Bounded in bytes; who is forgotten takes the SQL path once.
 * Hold the readers' lock (readers_find … readers_release) for microseconds, and without asking an arena. */
#ifndef MYELIN_SYNC_READERS_H
#define MYELIN_SYNC_READERS_H

#include "workers/sync/unread.h"
#include "workers/sync/work.h"

struct reader_room {
    int64_t head_pos;
    struct unread_thread all, main; /* counts only */
    bool counts_known;
    enum loudness loudness;
};

struct reader {
    char *token, *filter; /* of the client's next request; filter NULL: none */
    const char *state_after;
    struct sync_token base; /* what that token stands for, in full */
    int64_t running[TOKEN_RUNNING_MAX], delivered[TOKEN_DELIVERED_MAX];
    int64_t heard;         /* the log up to here is in it */
    int64_t good_until_ms; /* monotonic: key counts change without a hint */
    struct map *rooms;     /* room id → struct reader_room *; joined ones that the filter lets through */
    char *topics;          /* NUL between them */
    size_t topics_bytes, topic_count;
    char *one_time_keys, *fallback_keys;
    uint64_t *ignored; /* hashes of user ids */
    size_t ignored_count;
};

void readers_start(size_t limit_bytes);
void readers_stop(void);

/* NULL: not known, not at this token, or with other parameters; then nothing is held. */
struct reader *readers_find(const struct sync_request *request);
void readers_release(void);
void readers_set_token(struct reader *reader, struct slice token, const struct sync_token *base);
/* After the SQL path: parked: the client stays at its token, which stands for more now. */
void readers_keep(const struct sync_request *request, const struct sync_work *work, int64_t heard, bool parked);
void readers_forget(const struct sync_request *request);

bool reader_ignores(const uint64_t *ignored, size_t count, struct slice user_id); /* perhaps */

#endif
