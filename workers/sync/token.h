/* Tokens of /sync (README.md, "Token"): the snapshot of the database that the client has seen, what it got beyond it, and the
 * cursors of what is in no table. */
#ifndef MYELIN_SYNC_TOKEN_H
#define MYELIN_SYNC_TOKEN_H

#include "lib/base/arena.h"

enum { TOKEN_DELIVERED_MAX = 32, TOKEN_RUNNING_MAX = 256 };

struct sync_token {
    int64_t xmin, xmax;    /* pg_snapshot: below xmin everything was seen, from xmax on nothing */
    struct i64s running;   /* between them, not seen: transactions that were at work */
    struct i64s delivered; /* events (nids) told all the same: the fast path is ahead of the horizon */
    int64_t to_device_seq; /* messages up to it were told, as far as the snapshot knows them */
    int64_t serial;        /* typing up to it was told: typing.h, "clock of changes" */
    int64_t epoch;         /* of the cluster: lib/store/cluster_epoch.h */
    int64_t presence;      /* presence up to it was told, on the same clock */
};

/* False: not a token of ours. */
bool sync_token_parse(struct arena *arena, struct slice text, struct sync_token *out);
struct slice sync_token_format(struct arena *arena, const struct sync_token *token);
/* The token of somebody who saw nothing. */
struct sync_token sync_token_none(void);

/* PostgreSQL's text form "xmin:xmax:running,…", both ways. */
bool sync_token_take_snapshot(struct arena *arena, struct slice snapshot, struct sync_token *token);
struct slice sync_token_snapshot(struct arena *arena, const struct sync_token *token);
/* Was the transaction's work in the snapshot? */
bool sync_token_saw(const struct sync_token *token, int64_t pos);
bool sync_token_got(const struct sync_token *token, int64_t event_nid); /* is it among delivered? */

#endif
