/* The `worker` table, kept by one connection of the loop: a heartbeat of all our children per second, an announcement when
 * something changed, an ear for the announcements of others, a look at who holds the horizon back. Never waits: while PostgreSQL is
 * away, local changes still reach every child, and the last known list of other machines is kept. */
#ifndef MYELIN_SUPERVISOR_REGISTRY_H
#define MYELIN_SUPERVISOR_REGISTRY_H

#include "supervisor/database_facts.h"
#include "supervisor/fleet.h"

#include <libpq-fe.h>

enum registry_state { REGISTRY_AWAY, REGISTRY_CONNECTING, REGISTRY_PREPARING, REGISTRY_IDLE, REGISTRY_BUSY };
enum registry_question { ASK_BEAT, ASK_ANNOUNCE, ASK_HORIZON, ASK_TABLES };

struct registry {
    struct watch watch; /* first */
    struct fleet *fleet;
    const char *url;
    PGconn *connection;
    enum registry_state state;
    int64_t retry_ms, sent_ms, beat_ms, answered_ms, connected_ms;
    enum registry_question asked; /* the statement under way, when busy */
    bool changed;                 /* since the last heartbeat was sent */
    bool announce;                /* after that heartbeat */
    bool watch_horizon;           /* after that */
    struct database_facts facts;
    int64_t gone[64]; /* instances to remove with the next heartbeat */
    size_t gone_count;
    char host[64];
    bool closing;
};

void registry_init(struct registry *registry, struct fleet *fleet, const char *url);
void registry_changed(struct registry *registry, uint64_t gone_instance); /* 0: somebody came or changed */
void registry_tick(struct registry *registry, int64_t now_ms);
bool registry_answers(const struct registry *registry, int64_t now_ms); /* PostgreSQL does, now */
void registry_finish(struct registry *registry);

#endif
