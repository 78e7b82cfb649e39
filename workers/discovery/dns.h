/* Questions to DNS, through c-ares, blocking: each calling thread waits for its own (facts/STACK.md §5 for c-ares' traps). This and
 * dns_wire.c are the only files that know the library. Any thread. */
#ifndef MYELIN_DISCOVERY_DNS_H
#define MYELIN_DISCOVERY_DNS_H

#include "lib/base/arena.h"

enum { DNS_ADDRESSES_MAX = 16, DNS_SRV_MAX = 32 };

enum dns_status {
    DNS_FOUND,
    DNS_NO_NAME, /* NXDOMAIN: the name does not exist */
    DNS_NO_DATA, /* it does, without such records */
    DNS_FAILED,  /* SERVFAIL, REFUSED, nonsense: nobody knows */
    DNS_TIMEOUT, /* no answer in time */
    DNS_STATUSES
};
enum dns_type { DNS_A = 1, DNS_AAAA = 28, DNS_SRV = 33 };

struct dns_srv {
    struct slice target; /* without the final dot; "" is the root: "decidedly not available" */
    int priority, weight, port;
};

struct dns_question {
    struct slice name;
    enum dns_type type;
    /* the answer */
    enum dns_status status;
    int64_t ttl_s;           /* the smallest of the records and of the CNAMEs on the way; 0 unless found */
    struct slices addresses; /* numeric */
    const struct dns_srv *services;
    size_t service_count;
};

struct dns;
struct dns *dns_create(const char *server /* "address:port"; "": as /etc/resolv.conf says */);
void dns_destroy(struct dns **dns);
/* Asks all at once and waits for all. Answers are in the arena. */
void dns_ask(struct dns *dns, struct arena *arena, struct dns_question *questions, size_t count,
             int64_t deadline_ms /* monotonic */);
const char *dns_status_name(enum dns_status status); /* "nxdomain", … */

/* dns_wire.c: from a whole DNS message to the answer. NO_DATA when there are no records of the type, FAILED when it is malformed.
 */
void dns_answer_read(struct arena *arena, struct slice message, struct dns_question *question);

#endif
