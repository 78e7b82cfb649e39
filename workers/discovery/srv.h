/* The order in which a domain wants its services tried (RFC 2782). */
#ifndef MYELIN_DISCOVERY_SRV_H
#define MYELIN_DISCOVERY_SRV_H

#include "workers/discovery/dns.h"

/* Sorts by priority; among equals by chance, in proportion to the weights. random(bound) gives 0 … bound - 1. */
void srv_order(struct dns_srv *services, size_t count, uint32_t (*random)(uint32_t bound));
/* "A Target of "." means that the service is decidedly not available at this domain." */
bool srv_says_not_here(const struct dns_srv *services, size_t count);

#endif
