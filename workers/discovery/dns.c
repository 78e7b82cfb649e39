/* c-ares under a poll loop. Every call has a channel of its own while it waits: in 1.18 a truncated answer whose TCP connection is
 * refused fails all questions of the channel, and so it only meets ours. Channels are kept for the next call, but not their
 * sockets: c-ares closes those when nothing is asked, so each question leaves from a port that nobody can guess. */
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
enum { SOCKETS_MAX = ARES_GETSOCK_MAXNUM - 1 }; /* c-ares' macro for the last one shifts into the sign bit */
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
    bool is_done;
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

/* NOCHECKRESP: say SERVFAIL instead of "could not contact the servers". Without it the next server is asked, if there is one. */
static ares_channel channel_create(const struct dns *dns, int more_flags)
{
    struct ares_options options = {.flags = ARES_FLAG_EDNS | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | more_flags,
                                   .timeout = TRY_TIMEOUT_MS,
                                   .tries = TRIES,
                                   .ednspsz = EDNS_BYTES,
                                   .lookups = (char *)(uintptr_t) "b"};
    ares_channel channel;
    if (ares_init_options(&channel, &options,
                          ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ | ARES_OPT_LOOKUPS) !=
        ARES_SUCCESS)
        return NULL;
    if (dns->server[0] && ares_set_servers_ports_csv(channel, dns->server) != ARES_SUCCESS) {
        log_event(LOG_ERROR, "discovery_dns_server is not address:port", LOG_CSTR("value", dns->server));
        ares_destroy(channel);
        return NULL;
    }
    return channel;
}

/* Under the lock. */
static void drop_outdated(struct dns *dns)
{
    struct stat facts;
    if (dns->server[0] || stat(resolv_conf, &facts) != 0 ||
        (facts.st_mtim.tv_sec == dns->configured.tv_sec && facts.st_mtim.tv_nsec == dns->configured.tv_nsec))
        return;
    dns->configured = facts.st_mtim;
    while (dns->spare_count)
        ares_destroy(dns->spare[--dns->spare_count]);
}

static ares_channel channel_take(struct dns *dns)
{
    ares_channel channel = NULL;
    pthread_mutex_lock(&dns->lock);
    drop_outdated(dns);
    if (dns->spare_count)
        channel = dns->spare[--dns->spare_count];
    pthread_mutex_unlock(&dns->lock);
    return channel ? channel : channel_create(dns, ARES_FLAG_NOCHECKRESP);
}

static void channel_return(struct dns *dns, ares_channel channel)
{
    pthread_mutex_lock(&dns->lock);
    if (dns->spare_count < SPARE_MAX) {
        dns->spare[dns->spare_count++] = channel;
        channel = NULL;
    }
    pthread_mutex_unlock(&dns->lock);
    if (channel)
        ares_destroy(channel);
}

/* ---- one round of questions */

static enum dns_status status_of(int result)
{
    switch (result) {
    case ARES_SUCCESS:
        return DNS_FOUND;
    case ARES_ENOTFOUND:
    case ARES_EBADNAME: /* labels that are too long, empty ones: no such name can exist */
        return DNS_NO_NAME;
    case ARES_ENODATA:
        return DNS_NO_DATA;
    case ARES_ETIMEOUT:
    case ARES_ECANCELLED:
        return DNS_TIMEOUT;
    default:
        return DNS_FAILED;
    }
}

/* Called by c-ares from within wait_for and ares_cancel, on our own thread. */
static void on_answer(void *context, int result, int timeouts, unsigned char *message, int len)
{
    struct inquiry *inquiry = context;
    inquiry->is_done = true;
    inquiry->question->status = status_of(result);
    if (result == ARES_SUCCESS)
        dns_answer_read(inquiry->arena, slice_of(message, (size_t)len), inquiry->question);
}

static bool all_done(const struct inquiry *inquiries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!inquiries[i].is_done)
            return false;
    }
    return true;
}

static void wait_for(ares_channel channel, const struct inquiry *inquiries, size_t count, int64_t deadline_ms)
{
    while (!all_done(inquiries, count)) {
        ares_socket_t sockets[SOCKETS_MAX];
        struct pollfd polls[SOCKETS_MAX];
        nfds_t used = 0;
        int ready = ares_getsock(channel, sockets, SOCKETS_MAX);
        int64_t left_ms = deadline_ms - clock_monotonic_ms();
        if (left_ms <= 0) {
            ares_cancel(channel);
            return;
        }
        for (int i = 0; i < SOCKETS_MAX; i++) {
            short events =
                (short)((ARES_GETSOCK_READABLE(ready, i) ? POLLIN : 0) | (ARES_GETSOCK_WRITABLE(ready, i) ? POLLOUT : 0));
            if (events)
                polls[used++] = (struct pollfd){.fd = sockets[i], .events = events};
        }
        struct timeval most = {left_ms / 1000, left_ms % 1000 * 1000}, next, *due = ares_timeout(channel, &most, &next);
        int wait_ms = (int)(due->tv_sec * 1000 + (due->tv_usec + 999) / 1000);
        if (poll(polls, used, wait_ms) <= 0)
            ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        for (nfds_t i = 0; i < used; i++) {
            if (polls[i].revents)
                ares_process_fd(channel, polls[i].revents & ~POLLOUT ? polls[i].fd : ARES_SOCKET_BAD,
                                polls[i].revents & POLLOUT ? polls[i].fd : ARES_SOCKET_BAD);
        }
    }
}

static void ask_through(ares_channel channel, struct arena *arena, struct inquiry *inquiries, size_t count, int64_t deadline_ms)
{
    for (size_t i = 0; i < count; i++) {
        if (!inquiries[i].is_done)
            ares_query(channel, arena_cstr(arena, inquiries[i].question->name), CLASS_IN, (int)inquiries[i].question->type,
                       on_answer, &inquiries[i]);
    }
    wait_for(channel, inquiries, count, deadline_ms);
}

static size_t count_failed(struct inquiry *inquiries, size_t count)
{
    size_t failed = 0;
    for (size_t i = 0; i < count; i++) {
        if (inquiries[i].question->status == DNS_FAILED) {
            inquiries[i].is_done = false;
            failed++;
        }
    }
    return failed;
}

/* What failed is asked once more, one by one, by a channel that goes from server to server. */
static void ask_again(struct dns *dns, struct arena *arena, struct inquiry *inquiries, size_t count, int64_t deadline_ms)
{
    for (size_t i = 0; i < count; i++) {
        ares_channel channel;
        if (inquiries[i].is_done || !(channel = channel_create(dns, 0)))
            continue;
        ask_through(channel, arena, &inquiries[i], 1, deadline_ms);
        ares_destroy(channel);
    }
}

void dns_ask(struct dns *dns, struct arena *arena, struct dns_question *questions, size_t count, int64_t deadline_ms)
{
    struct inquiry inquiries[QUESTIONS_MAX];
    ensure(count <= QUESTIONS_MAX);
    for (size_t i = 0; i < count; i++) {
        inquiries[i] = (struct inquiry){.arena = arena, .question = &questions[i]};
        questions[i].status = DNS_FAILED;
    }
    ares_channel channel = channel_take(dns);
    if (!channel)
        return;
    ask_through(channel, arena, inquiries, count, deadline_ms);
    if (count_failed(inquiries, count) == 0) {
        channel_return(dns, channel);
        return;
    }
    ares_destroy(channel);
    ask_again(dns, arena, inquiries, count, deadline_ms);
}
