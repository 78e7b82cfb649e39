/* c-ares under a poll loop. Every call has a channel of its own while it waits: in 1.18 a truncated answer whose TCP connection is refused
 * fails all questions of the channel, and so it only meets ours. Channels are kept for the next call, but not their sockets: c-ares
 * closes those when nothing is asked, so each question leaves from a port that nobody can guess. */
#include "workers/discovery/dns.h"

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"

#include <ares.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { SPARE_MAX = 8, TRY_TIMEOUT_MS = 1500, TRIES = 2, EDNS_BYTES = 1232, CLASS_IN = 1, QUESTIONS_MAX = 64 };
static const char resolv_conf[] = "/etc/resolv.conf";

struct dns {
    char *server;
    pthread_mutex_t lock; /* the rest */
    ares_channel spare[SPARE_MAX];
    size_t spare_count;
    struct timespec configured; /* resolv.conf's time when the spare ones were made */
};

/* A question under way. */
struct inquiry {
    struct arena *arena;
    struct dns_question *question;
    bool is_done, again; /* again: c-ares gave up for reasons that may be another question's */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start_library(void)
{
    ensure(ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS);
}

struct dns *dns_create(const char *server)
{
    pthread_once(&once, start_library);
    struct dns *dns = calloc(1, sizeof *dns);
    ensure(dns);
    dns->server = strdup(server);
    ensure(dns->server);
    pthread_mutex_init(&dns->lock, NULL);
    return dns;
}

void dns_destroy(struct dns **dns)
{
    if (!*dns)
        return;
    for (size_t i = 0; i < (*dns)->spare_count; i++)
        ares_destroy((*dns)->spare[i]);
    pthread_mutex_destroy(&(*dns)->lock);
    free((*dns)->server);
    free(*dns);
    *dns = NULL;
}

const char *dns_status_name(enum dns_status status)
{
    static const char *const names[DNS_STATUSES] = {"found", "nxdomain", "no data", "server failure", "time-out"};
    return names[status];
}

/* ---- channels */

static ares_channel channel_create(const struct dns *dns)
{
    /* NOCHECKRESP: say SERVFAIL instead of "could not contact the servers". With several servers we rather have the next one asked. */
    struct ares_options options = {.flags = ARES_FLAG_EDNS | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
                                   .timeout = TRY_TIMEOUT_MS,
                                   .tries = TRIES,
                                   .ednspsz = EDNS_BYTES,
                                   .lookups = (char *)(uintptr_t) "b"};
    int which = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ | ARES_OPT_LOOKUPS;
    ares_channel channel;
    if (ares_init_options(&channel, &options, which) != ARES_SUCCESS)
        return NULL;
    if (dns->server[0] && ares_set_servers_ports_csv(channel, dns->server) != ARES_SUCCESS) {
        ares_destroy(channel);
        return NULL;
    }
    struct ares_options made;
    int ignored;
    if (ares_save_options(channel, &made, &ignored) == ARES_SUCCESS) {
        bool is_only = made.nservers <= 1;
        ares_destroy_options(&made);
        if (is_only && !(options.flags & ARES_FLAG_NOCHECKRESP)) {
            ares_destroy(channel);
            options.flags |= ARES_FLAG_NOCHECKRESP;
            if (ares_init_options(&channel, &options, which) != ARES_SUCCESS)
                return NULL;
            if (dns->server[0])
                ares_set_servers_ports_csv(channel, dns->server);
        }
    }
    return channel;
}
