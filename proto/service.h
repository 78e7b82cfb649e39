/* enum service and its table, from services.def. */
#ifndef MYELIN_PROTO_SERVICE_H
#define MYELIN_PROTO_SERVICE_H

#include <stdbool.h>

enum service {
#define SERVICE(kind, rank, threads, db_role, publishes, reach) SERVICE_##kind,
#include "proto/services.def"
#undef SERVICE
    SERVICE_COUNT
};

enum service_rank {
#define SERVICE(kind, rank, threads, db_role, publishes, reach) RANK_##kind = rank,
#include "proto/services.def"
#undef SERVICE
};

/* What a process may reach once it runs, besides the bus, its database and the system's own files. Two walls stand around it: files
 * are closed by the supervisor before the program starts (supervisor/confine.h), system calls by the process itself when everything
 * is in place (lib/kit/sandbox.h). */
enum reach {
    REACH_NOTHING = 0,
    REACH_SERVERS = 1,     /* other servers: sockets of the internet, the authorities' certificates */
    REACH_TLS_FILES = 2,   /* the listeners' certificate and key, again at each reload */
    REACH_SPOOL = 4,       /* unlinked files in data/run, for bodies that are too large for memory */
    REACH_SIGNING_KEY = 8, /* until the kind's own seal is on */
};

struct service_facts {
    const char *name;
    int rank;
    int threads;         /* handler threads per process by default */
    const char *db_role; /* "" = no database */
    bool publishes;
    unsigned reach; /* of enum reach */
};

const struct service_facts *service_facts(enum service kind);
bool service_from_name(const char *name, enum service *out);

#endif
