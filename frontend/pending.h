/* Correlation numbers: what a worker's answer carries, to find the request it belongs to. A number is a place in a table and how
 * often that place was used, so that late answers find nobody. Belongs to one loop. */
#ifndef MYELIN_FRONTEND_PENDING_H
#define MYELIN_FRONTEND_PENDING_H

#include <stdint.h>

struct exchange;
struct pending;
struct pending *pending_create(void);
void pending_destroy(struct pending **pending);

uint64_t pending_add(struct pending *pending, struct exchange *exchange);
struct exchange *pending_get(const struct pending *pending, uint64_t correlation); /* NULL: nobody waits for it any more */
void pending_remove(struct pending *pending, uint64_t correlation);

#endif
