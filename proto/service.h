/* enum service and its table, from services.def. */
#ifndef MYELIN_PROTO_SERVICE_H
#define MYELIN_PROTO_SERVICE_H

#include <stdbool.h>

enum service {
#define SERVICE(kind, rank, threads, db_role, publishes) SERVICE_##kind,
#include "proto/services.def"
#undef SERVICE
    SERVICE_COUNT
};

enum service_rank {
#define SERVICE(kind, rank, threads, db_role, publishes) RANK_##kind = rank,
#include "proto/services.def"
#undef SERVICE
};

struct service_facts {
    const char *name;
    int rank;
    int threads;         /* handler threads per process by default */
    const char *db_role; /* "" = no database */
    bool publishes;
};

const struct service_facts *service_facts(enum service kind);
bool service_from_name(const char *name, enum service *out);

#endif
