/* Keys of users of other servers: asked for once, kept while we share rooms, since only then are we told of changes. */
#ifndef MYELIN_ACCOUNTS_REMOTE_KEYS_H
#define MYELIN_ACCOUNTS_REMOTE_KEYS_H

#include "workers/accounts/key_set.h"

/* Brings remote users' keys in the set up to date, asking their servers side by side. Servers that could not be asked: *failed. */
enum fault remote_keys_refresh(struct call *call, struct key_set *set, struct slices user_ids, int64_t timeout_ms,
                               struct slices *failed);
/* Requests by server: {server: [indices into user_ids]} */
struct server_group {
    struct slice server;
    size_t *members, count;
    struct bus_ticket *ticket;
    struct server_group *next;
};
struct server_group *group_by_server(struct arena *arena, struct slices user_ids);
/* A POST to the server of the group, sent but not waited for. */
struct bus_ticket *ask_server(struct call *call, struct slice server, const char *path, struct slice content, int64_t timeout_ms);
extern const struct body_member body_timeout_member[];
int64_t body_timeout_ms(struct call *call); /* "timeout" of the body: 10 s by default, at most 30 */

#endif
