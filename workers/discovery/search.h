/* One resolution under way, and what its steps share (private to workers/discovery): resolve.c is the spec's list, well_known.c
 * step 3's request, hosts.c names to addresses. */
#ifndef MYELIN_DISCOVERY_SEARCH_H
#define MYELIN_DISCOVERY_SEARCH_H

#include "lib/base/strbuf.h"
#include "lib/kit/metrics.h"
#include "workers/discovery/cache.h"
#include "workers/discovery/discovery.h"
#include "workers/discovery/dns.h"
#include "workers/discovery/hosts_file.h"

enum { TTL_LEAST_S = 60, TTL_MOST_S = 3600 };

struct discovery {
    int64_t (*wall_ms)(void);
    int well_known_port;
    struct http_client *http;
    struct dns *dns;
    struct hosts_file *hosts; /* NULL: not looked into */
    struct cache *results, *well_knowns;
    struct metric *lookups_ok, *lookups_failed, *lookups_invalid, *lookups_late, *coalesced, *result_hits, *well_known_hits;
    struct metric *well_known_good, *well_known_bad, *dns_questions[DNS_STATUSES], *latency;
};

/* A name and its addresses. */
struct host {
    struct slice name;
    enum dns_status status;
    struct slices addresses; /* numeric, AAAA before A */
    int64_t ttl_s;
    const char *source; /* for the steps: "aaaa+a", "hosts file", or why there are none */
};

struct search {
    struct discovery *discovery;
    struct arena *arena;
    int64_t deadline_ms, not_before_ms; /* not_before: older answers in caches do not count */
    struct strbuf steps;
    int64_t ttl_s;
    int64_t valid_until_ms; /* what well-known allows; INT64_MAX without */
    struct host known;      /* the host of the well-known request: it may be needed again */
};
void search_step(struct search *search, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* resolve.c: all but the cache. *status: why it failed. */
enum fault resolve_steps(struct search *search, struct slice server_name, struct resolve_reply *reply, enum dns_status *status);

/* hosts.c: asks for all of them at once. */
void hosts_find(struct search *search, struct host *hosts, size_t count, int64_t deadline_ms);
void hosts_count(struct search *search, const struct dns_question *questions, size_t count); /* metrics */

/* well_known.c: m.server, or absent; adds its step and its bound on the answer's life. */
struct slice well_known_find(struct search *search, struct slice host);

#endif
