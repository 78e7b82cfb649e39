/* The private PostgreSQL cluster: made by initdb at the first start, run as our child, watched, restarted at once when it dies, and
 * stopped last. With database_url set there is none and nothing here is called. */
#ifndef MYELIN_SUPERVISOR_POSTGRES_H
#define MYELIN_SUPERVISOR_POSTGRES_H

#include "lib/kit/settings.h"
#include "supervisor/folder.h"

struct postgres {
    struct arena *arena; /* strings of the process's life */
    const char *programs, *cluster, *log;
    const struct folder *folder;
    pid_t pid;       /* 0: does not run */
    int64_t died_ms; /* monotonic, when pid is 0 after it ran */
    int64_t started_ms;
    int restarts;
    bool stopping;
};

/* Start-up: blocking, dies with a reason. */
void postgres_prepare(struct arena *arena, struct postgres *out, const struct folder *folder, const struct settings *settings);
void postgres_start_and_wait(struct postgres *postgres);
const char *postgres_url(const struct postgres *postgres, const char *database);
int postgres_connections(const struct settings *settings); /* what max_connections must be */

/* In the loop. */
bool postgres_ended(struct postgres *postgres, pid_t pid, int status); /* true: it was ours */
bool postgres_tick(struct postgres *postgres, int64_t now_ms);         /* restarts; true while it wants to be asked again soon */
void postgres_stop(struct postgres *postgres, bool immediately);

/* postgres_conf.c */
struct slice postgres_conf(struct arena *arena, const struct folder *folder, const struct settings *settings);
/* postgres_orphans.c: processes of a cluster whose postmaster is gone. signal 0 only counts them. */
int postgres_orphans(const char *cluster, int signal);

#endif
