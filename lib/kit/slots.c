/* Slots: 64 pieces of a kind's work, each with one owner in the whole cluster. The owner holds a session advisory lock on a
 * connection of its own, which PostgreSQL frees at once when the process dies. Rendezvous hashing decides who tries for which, so a
 * steady cluster does not fight; a slot whose wanted owner does not have it yet is asked for every half second, otherwise the
 * thread sleeps. A slot is told to be lost before its lock is given back. When the connection breaks the lock is gone first: what
 * slots guard must still be checked in the database (DESIGN §7). A PostgreSQL that does not answer counts as a broken connection
 * after some seconds, and never keeps the process from ending. */
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/database_login.h"
#include "lib/kit/worker_internal.h"

enum { RETRY_MS = 500, ANSWER_MS = 5000, ENDING_MS = 500 /* the same when the process ends */, STACK_BYTES = 512 * 1024 };

struct slots {
    struct worker *worker;
    slots_changed *changed;
    void *context;
    pthread_t thread;
    int wake; /* eventfd */
    atomic_bool ending;
    int lock_class;
    uint64_t owned; /* the thread's own */
    PGconn *connection;
};

int slot_of(struct slice key)
{
    return (int)(slice_hash(key) % SLOT_COUNT);
}

static void set_owned(struct slots *slots, uint64_t owned)
{
    if (owned == slots->owned)
        return;
    slots->owned = owned;
    slots->changed(slots->worker, owned, slots->context);
}

/* ---- the connection */

static void lose_connection(struct slots *slots)
{
    if (slots->connection)
        log_event(LOG_WARN, "the connection for slots broke", LOG_CSTR("why", PQerrorMessage(slots->connection)));
    PQfinish(slots->connection);
    slots->connection = NULL;
    set_owned(slots, 0);
}

/* Waits for the socket; false: the time is over. */
static bool wait_until(struct slots *slots, short events, int64_t begun_ms)
{
    for (;;) {
        int64_t most_ms = atomic_load(&slots->ending) ? ENDING_MS : ANSWER_MS, left_ms = begun_ms + most_ms - clock_monotonic_ms();
        struct pollfd descriptor = {.fd = PQsocket(slots->connection), .events = events};
        if (left_ms <= 0)
            return false;
        if (poll(&descriptor, 1, left_ms < ENDING_MS ? (int)left_ms : ENDING_MS) > 0)
            return true;
    }
}

/* One statement. NULL: no answer, or a broken connection. */
static PGresult *execute(struct slots *slots, const char *sql)
{
    int64_t begun_ms = clock_monotonic_ms();
    PGresult *last = NULL, *result;
    if (!PQsendQuery(slots->connection, sql))
        return NULL;
    for (;;) {
        while (PQflush(slots->connection) > 0 || PQisBusy(slots->connection)) {
            if (!wait_until(slots, POLLIN, begun_ms) || !PQconsumeInput(slots->connection)) {
                PQclear(last);
                return NULL;
            }
        }
        if (!(result = PQgetResult(slots->connection)))
            return last;
        PQclear(last);
        last = result;
    }
}

static bool run(struct slots *slots, const char *sql)
{
    PGresult *result = execute(slots, sql);
    bool fine = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
    PQclear(result);
    return fine;
}

static bool set_role(struct slots *slots)
{
    const char *role = slots->worker->facts->db_role;
    char *name = PQescapeIdentifier(slots->connection, role, strlen(role));
    char sql[160];
    snprintf(sql, sizeof sql, "SET ROLE %s", name ? name : "");
    PQfreemem(name);
    return run(slots, sql);
}

static bool finish_connecting(struct slots *slots)
{
    int64_t begun_ms = clock_monotonic_ms();
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK) {
        if (state == PGRES_POLLING_FAILED || !wait_until(slots, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, begun_ms))
            return false;
        state = PQconnectPoll(slots->connection);
    }
    return PQsetnonblocking(slots->connection, 1) == 0;
}

static bool connect_once(struct slots *slots)
{
    const struct settings *settings = worker_settings(slots->worker);
    struct arena *arena = arena_create(64 * 1024);
    const char *url = settings->database_url;
    if (settings->database_logins)
        url = arena_cstr(arena, database_login_url(arena, url, slots->worker->facts->db_role));
    const char *keys[] = {"dbname", "application_name", "keepalives_idle", "tcp_user_timeout", NULL};
    const char *values[] = {url, "myelin slots", "5", "5000", NULL};
    slots->connection = PQconnectStartParams(keys, values, 1);
    arena_destroy(&arena);
    if (PQstatus(slots->connection) != CONNECTION_BAD && finish_connecting(slots) &&
        (settings->database_logins || set_role(slots)) && run(slots, "SET statement_timeout = 5000"))
        return true;
    lose_connection(slots);
    return false;
}

/* ---- who has what */

static uint64_t wanted_slots(struct slots *slots)
{
    if (atomic_load(&slots->ending) || worker_is_draining(slots->worker))
        return 0;
    uint64_t wanted = 0;
    const struct peers *peers = worker_peers(slots->worker);
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        char name[16];
        int len = snprintf(name, sizeof name, "slot %d", slot);
        uint64_t key = slice_hash(slice_of(name, (size_t)len));
        const struct peer *owner = peers_pick(peers, slots->worker->kind->service, key, 0);
        if (owner && owner->instance == slots->worker->instance)
            wanted |= UINT64_C(1) << slot;
    }
    worker_peers_release(peers);
    return wanted;
}

/* One statement for all: SELECT s FROM unnest('{1,2}'::int[]) s WHERE <function>(class, s). False: the connection broke. */
static bool ask(struct slots *slots, const char *function, uint64_t which, uint64_t *granted)
{
    char sql[512];
    size_t len = (size_t)snprintf(sql, sizeof sql, "SELECT s FROM unnest('{");
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        if (which >> slot & 1)
            len += (size_t)snprintf(sql + len, sizeof sql - len, "%d,", slot);
    }
    snprintf(sql + len - 1, sizeof sql - len + 1, "}'::int[]) s WHERE %s(%d, s)", function, slots->lock_class);
    PGresult *result = execute(slots, sql);
    bool fine = PQresultStatus(result) == PGRES_TUPLES_OK;
    for (int row = 0; fine && row < PQntuples(result); row++)
        *granted |= UINT64_C(1) << atoi(PQgetvalue(result, row, 0));
    PQclear(result);
    return fine;
}

/* False: the connection broke. */
static bool settle(struct slots *slots, uint64_t wanted)
{
    uint64_t surplus = slots->owned & ~wanted, missing = wanted & ~slots->owned, granted = 0, freed = 0;
    if (surplus) {
        set_owned(slots, slots->owned & wanted);
        if (!ask(slots, "pg_advisory_unlock", surplus, &freed))
            return false;
    }
    if (missing && !ask(slots, "pg_try_advisory_lock", missing, &granted))
        return false;
    set_owned(slots, slots->owned | granted);
    return true;
}

static void sleep_until_needed(struct slots *slots, bool is_steady)
{
    struct pollfd descriptors[] = {{.fd = slots->wake, .events = POLLIN},
                                   {.fd = slots->connection ? PQsocket(slots->connection) : -1, .events = POLLIN}};
    if (poll(descriptors, 2, is_steady ? -1 : RETRY_MS) < 0)
        return;
    uint64_t count;
    ensure(read(slots->wake, &count, sizeof count) == sizeof count || errno == EAGAIN);
    /* Nothing is asked while we sleep: something to read means that the server says good-bye. */
    if (slots->connection && descriptors[1].revents &&
        (!PQconsumeInput(slots->connection) || PQstatus(slots->connection) != CONNECTION_OK))
        lose_connection(slots);
}

static void *slots_thread(void *context)
{
    struct slots *slots = context;
    while (!atomic_load(&slots->ending)) {
        uint64_t wanted = wanted_slots(slots);
        bool fine = slots->connection || !wanted || connect_once(slots);
        if (fine && slots->connection && !settle(slots, wanted))
            lose_connection(slots);
        sleep_until_needed(slots, slots->owned == wanted);
    }
    set_owned(slots, 0);
    PQfinish(slots->connection); /* frees the locks */
    return NULL;
}

/* ---- what others call */

enum fault worker_slots(struct worker *worker, slots_changed *changed, void *context)
{
    ensure(!worker->slots && worker->db);
    struct slots *slots = calloc(1, sizeof *slots);
    ensure(slots);
    slots->worker = worker;
    slots->changed = changed;
    slots->context = context;
    slots->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* By name: numbers of kinds may differ between versions that run side by side. */
    slots->lock_class = (int)(slice_hash(slice_from_cstr(worker->facts->name)) & 0x7fffffff);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    ensure(slots->wake >= 0 && pthread_create(&slots->thread, &attributes, slots_thread, slots) == 0);
    pthread_attr_destroy(&attributes);
    worker->slots = slots;
    return FAULT_OK;
}

static void wake(struct slots *slots)
{
    uint64_t one = 1;
    ensure(write(slots->wake, &one, sizeof one) == sizeof one || errno == EAGAIN);
}

void slots_peers_changed(struct worker *worker)
{
    if (worker->slots)
        wake(worker->slots);
}

void slots_stop(struct worker *worker)
{
    struct slots *slots = worker->slots;
    if (!slots)
        return;
    atomic_store(&slots->ending, true);
    wake(slots);
    pthread_join(slots->thread, NULL);
    close(slots->wake);
    free(slots);
    worker->slots = NULL;
}
