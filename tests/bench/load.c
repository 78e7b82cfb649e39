/*
 * load: drives a homeserver through its client API, fast enough not to be the limit itself.
 *
 * One thread, one epoll set, one kept HTTP/1.1 connection per user, all on 127.0.0.1; a request is built in place and a reply is
 * only scanned, never parsed as JSON. A request costs about 5 us of processor time (measured against a server that does nothing).
 *
 *   load send SECONDS              stdin: "PORT TOKEN ROOM" per user. Each sends into its room, one request in flight.
 *   load fanout MESSAGES GAP_MS    stdin: first the sender as above, then "PORT TOKEN SINCE" per listener. Every listener
 * long-polls; a message is sent when all of them wait, and timed until the last has it.
 *
 * ROOM is percent-encoded already. Prints one line of JSON. Exits 1 when a request failed or a message did not arrive.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_USERS = 1024, MAX_WORD = 4096, LOST_AFTER_MS = 30000 };

struct user {
    int fd, port;
    char token[MAX_WORD], room[MAX_WORD]; /* a listener keeps its sync token in `room` */
    char out[3 * MAX_WORD];
    size_t out_size, out_done;
    char *in;
    size_t in_size, in_room;
    uint64_t asked_ns;
    unsigned sent; /* number of the sender's next message */
    unsigned seen; /* fanout: how many messages the listener has */
    bool waiting;  /* a request is on its way */
};

static struct user *users;
static int users_count, epoll_fd;
static unsigned long errors;
static long run_id;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void user_connect(struct user *user)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)user->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    user->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (user->fd < 0 || connect(user->fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect");
    int one = 1;
    setsockopt(user->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = user};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, user->fd, &event) < 0)
        fail("epoll_ctl");
}

/* Requests are far smaller than a socket buffer, so a blocking write does not block. */
static void user_write(struct user *user)
{
    for (user->out_done = 0; user->out_done < user->out_size;) {
        ssize_t n = send(user->fd, user->out + user->out_done, user->out_size - user->out_done, MSG_NOSIGNAL);
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) { /* the server closed an idle connection */
            close(user->fd);
            user_connect(user);
            user->out_done = 0;
            continue;
        }
        if (n < 0)
            fail("send");
        user->out_done += (size_t)n;
    }
    user->waiting = true;
    user->in_size = 0;
}

static void ask_send(struct user *user)
{
    char body[256];
    int size = snprintf(body, sizeof body, "{\"msgtype\":\"m.text\",\"body\":\"bench-%ld-%u.\"}", run_id, user->sent);
    user->out_size = (size_t)snprintf(user->out, sizeof user->out,
                                      "PUT /_matrix/client/v3/rooms/%s/send/m.room.message/%ld-%u HTTP/1.1\r\nHost: localhost\r\n"
                                      "Authorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                                      user->room, run_id, user->sent, user->token, size, body);
    user->sent++;
    user->asked_ns = now_ns();
    user_write(user);
}

static void ask_sync(struct user *user)
{
    char since[3 * MAX_WORD], *to = since;
    for (const char *at = user->room; *at; at++)
        to += sprintf(to, isalnum((unsigned char)*at) || strchr("._-~", *at) ? "%c" : "%%%02X", (unsigned char)*at);
    user->out_size = (size_t)snprintf(user->out, sizeof user->out,
                                      "GET /_matrix/client/v3/sync?timeout=30000&since=%s HTTP/1.1\r\nHost: localhost\r\n"
                                      "Authorization: Bearer %s\r\n\r\n",
                                      since, user->token);
    user_write(user);
}

static const char *header_find(const char *head, const char *name)
{
    size_t size = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n"))
        if (!strncasecmp(line + 2, name, size))
            return line + 2 + size;
    return NULL;
}

/* The whole reply is there when its length is reached, or the last chunk. The buffer is NUL-terminated; head ends before *body. */
static bool reply_complete(struct user *user, char **body)
{
    char *end = strstr(user->in, "\r\n\r\n");
    if (!end)
        return false;
    *body = end + 4;
    const char *length = header_find(user->in, "content-length:");
    if (length && length < end)
        return user->in_size - (size_t)(*body - user->in) >= strtoul(length, NULL, 10);
    const char *coding = header_find(user->in, "transfer-encoding:");
    return coding && coding < end && user->in_size >= 5 && !memcmp(user->in + user->in_size - 5, "0\r\n\r\n", 5);
}

/* Reads what is there; returns the body once the reply is complete, NULL before. */
static char *user_read(struct user *user)
{
    if (user->in_room - user->in_size < 65536)
        user->in = realloc(user->in, user->in_room += 131072);
    ssize_t n = recv(user->fd, user->in + user->in_size, user->in_room - user->in_size - 1, 0);
    if (n <= 0) {
        close(user->fd);
        user_connect(user);
        if (user->waiting) { /* repeated with the same transaction id: the server knows what it has done */
            errors++;
            user_write(user);
        }
        return NULL;
    }
    user->in_size += (size_t)n;
    user->in[user->in_size] = 0;
    char *body;
    if (!user->waiting || !reply_complete(user, &body))
        return NULL;
    user->waiting = false;
    if (strncmp(user->in, "HTTP/1.1 200", 12)) {
        if (!errors++)
            fprintf(stderr, "load: unexpected reply: %.400s\n", user->in);
    }
    return body;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(double *values, size_t count, double share)
{
    if (!count)
        return 0;
    qsort(values, count, sizeof *values, by_value);
    size_t at = (size_t)(share * (double)count);
    return values[at < count ? at : count - 1];
}

static void users_load(void)
{
    users = calloc(MAX_USERS, sizeof *users);
    while (users_count < MAX_USERS &&
           scanf("%d %4095s %4095s", &users[users_count].port, users[users_count].token, users[users_count].room) == 3)
        user_connect(&users[users_count++]);
    if (!users_count)
        fail("no users on standard input");
}

static int bench_send(double seconds)
{
    size_t count = 0, room = 1 << 16;
    double *times = malloc(room * sizeof *times);
    uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9), last = start;
    int busy = users_count;
    for (int i = 0; i < users_count; i++)
        ask_send(&users[i]);
    while (busy) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll_fd, events, 64, LOST_AFTER_MS);
        if (n <= 0)
            fail("no reply");
        for (int i = 0; i < n; i++) {
            struct user *user = events[i].data.ptr;
            if (!user_read(user))
                continue;
            last = now_ns();
            if (count == room)
                times = realloc(times, (room *= 2) * sizeof *times);
            times[count++] = (double)(last - user->asked_ns) / 1e6;
            if (last < end)
                ask_send(user);
            else
                busy--;
        }
    }
    double took = (double)(last - start) / 1e9;
    printf("{\"sends\": %zu, \"seconds\": %.3f, \"per_second\": %.1f, \"p50_ms\": %.3f, \"p95_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"errors\": %lu}\n",
           count, took, (double)count / took, percentile(times, count, .5), percentile(times, count, .95),
           percentile(times, count, .99), errors);
    return errors != 0;
}

/* Takes the next token out of a sync reply and says whether message `number` was in it. */
static bool sync_take(struct user *user, char *body, unsigned number)
{
    char marker[64];
    snprintf(marker, sizeof marker, "bench-%ld-%u.", run_id, number);
    char *token = strstr(body, "\"next_batch\":");
    if (token) {
        token = strchr(token + 13, '"');
        size_t size = token ? strcspn(token + 1, "\"") : 0;
        if (size && size < MAX_WORD) {
            memcpy(user->room, token + 1, size);
            user->room[size] = 0;
        }
    }
    return strstr(body, marker) != NULL;
}

static int bench_fanout(unsigned messages, int gap_ms)
{
    struct user *sender = &users[0];
    size_t listeners = (size_t)users_count - 1, each_count = 0;
    double *each = malloc(messages * listeners * sizeof *each), *whole = malloc(messages * sizeof *whole);
    unsigned arrived = 0;
    for (int i = 1; i < users_count; i++)
        ask_sync(&users[i]);
    for (unsigned number = 0; number < messages; number++) {
        size_t missing = listeners;
        uint64_t quiet_until = now_ns() + (uint64_t)gap_ms * 1000000u, lost = quiet_until + LOST_AFTER_MS * 1000000ull;
        bool sent = false;
        while (missing || sender->waiting || !sent) {
            uint64_t now = now_ns();
            if (!sent && now >= quiet_until) {
                ask_send(sender);
                sent = true;
            }
            if (now > lost) {
                fprintf(stderr, "load: message %u did not reach %zu listeners\n", number, missing);
                errors++;
                break;
            }
            struct epoll_event events[64];
            int n = epoll_wait(epoll_fd, events, 64, sent ? 1000 : 1);
            for (int i = 0; i < n; i++) {
                struct user *user = events[i].data.ptr;
                char *body = user_read(user);
                if (!body || user == sender)
                    continue;
                uint64_t at = now_ns();
                if (sync_take(user, body, number) && user->seen == number) {
                    user->seen = number + 1;
                    each[each_count++] = (double)(at - sender->asked_ns) / 1e6;
                    if (!--missing)
                        whole[arrived++] = each[each_count - 1];
                }
                ask_sync(user);
            }
        }
        for (int i = 1; i < users_count; i++)
            users[i].seen = number + 1;
    }
    printf("{\"messages\": %u, \"listeners\": %zu, \"arrived\": %u, \"all_p50_ms\": %.3f, \"all_p95_ms\": %.3f, \"each_p50_ms\": "
           "%.3f, \"each_p95_ms\": %.3f, "
           "\"errors\": %lu}\n",
           messages, listeners, arrived, percentile(whole, arrived, .5), percentile(whole, arrived, .95),
           percentile(each, each_count, .5), percentile(each, each_count, .95), errors);
    return errors != 0;
}

int main(int argc, char **argv)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    run_id = (long)time(NULL) * 100000 + getpid() % 100000;
    if (argc == 3 && !strcmp(argv[1], "send")) {
        users_load();
        return bench_send(atof(argv[2]));
    }
    if (argc == 4 && !strcmp(argv[1], "fanout")) {
        users_load();
        return bench_fanout((unsigned)atoi(argv[2]), atoi(argv[3]));
    }
    fprintf(stderr, "usage: load send SECONDS | load fanout MESSAGES GAP_MS\n");
    return 2;
}
