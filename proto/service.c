#include "proto/service.h"

#include <string.h>

static const struct service_facts facts[SERVICE_COUNT] = {
#define SERVICE(kind, rank, threads, db_role, publishes, reach) \
    [SERVICE_##kind] = {#kind, rank, threads, db_role, publishes, reach},
#include "proto/services.def"
#undef SERVICE
};

const struct service_facts *service_facts(enum service kind)
{
    return &facts[kind];
}

bool service_from_name(const char *name, enum service *out)
{
    for (int i = 0; i < SERVICE_COUNT; i++) {
        if (strcmp(facts[i].name, name) == 0) {
            *out = (enum service)i;
            return true;
        }
    }
    return false;
}
