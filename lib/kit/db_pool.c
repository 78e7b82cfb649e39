/* Connections are taken for the length of a batch or transaction, last used first, so that those beyond the need grow old and are
 * closed: each costs PostgreSQL some megabytes. Opening and closing happen outside the mutex. */
#include "lib/kit/db_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"

enum { SPARE_IDLE_MS = 30 * 1000, LAST_IDLE_MS = 60 * 1000, TIDY_EACH_MS = 1000 };

struct db_pool {
    char *url, *role;
    int connections_max;
    pthread_mutex_t mutex;
    pthread_cond_t freed;       /* a connection came back or a place became free */
    struct db_connection *idle; /* last used first */
    int64_t tidied_ms;
    struct db_pool_stats stats; /* open: idle, busy or being opened */
    void (*in_doubt)(void *context);
    void *doubt_context;
};

struct db_pool *db_pool_create(const char *url, const char *role, int connections_max)
{
    struct db_pool *pool = calloc(1, sizeof *pool);
    ensure(pool != NULL && connections_max > 0);
    pool->url = strdup(url);
    pool->role = strdup(role);
    ensure(pool->url && pool->role);
    pool->connections_max = connections_max;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->freed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&pool->mutex, NULL);
    return pool;
}

static void close_all(struct db_connection *list)
{
    while (list) {
        struct db_connection *connection = list;
        list = list->next;
        db_connection_close(&connection);
    }
}

void db_pool_destroy(struct db_pool **pool)
{
    if (!*pool)
        return;
    ensure((*pool)->stats.busy == 0);
    close_all((*pool)->idle);
    pthread_cond_destroy(&(*pool)->freed);
    pthread_mutex_destroy(&(*pool)->mutex);
    free((*pool)->url);
    free((*pool)->role);
    free(*pool);
    *pool = NULL;
}

void db_pool_stats(struct db_pool *pool, struct db_pool_stats *out)
{
    pthread_mutex_lock(&pool->mutex);
    *out = pool->stats;
    pthread_mutex_unlock(&pool->mutex);
}

void db_pool_count(struct db_pool *pool, int64_t statements, bool is_failure)
{
    pthread_mutex_lock(&pool->mutex);
    pool->stats.batches++;
    pool->stats.statements += statements;
    pool->stats.failures += is_failure;
    pthread_mutex_unlock(&pool->mutex);
}

void db_pool_on_doubt(struct db_pool *pool, void (*in_doubt)(void *context), void *context)
{
    pool->in_doubt = in_doubt;
    pool->doubt_context = context;
}

void db_pool_doubt(struct db_pool *pool)
{
    if (pool->in_doubt)
        pool->in_doubt(pool->doubt_context);
}

void db_pool_tidy(struct db_pool *pool)
{
    int64_t now_ms = clock_monotonic_ms();
    struct db_connection *old = NULL;
    pthread_mutex_lock(&pool->mutex);
    pool->tidied_ms = now_ms;
    struct db_connection **link = &pool->idle;
    while (*link && now_ms - (*link)->idle_since_ms < (link == &pool->idle ? LAST_IDLE_MS : SPARE_IDLE_MS))
        link = &(*link)->next;
    old = *link; /* those behind were used even longer ago */
    *link = NULL;
    for (const struct db_connection *each = old; each; each = each->next)
        pool->stats.open--;
    pthread_mutex_unlock(&pool->mutex);
    close_all(old);
}

/* With the mutex held. False: the deadline passed. */
static bool wait_for_place(struct db_pool *pool, int64_t deadline_ms)
{
    struct timespec until = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    int error = 0;
    pool->stats.waiting++;
    while (!pool->idle && pool->stats.open >= pool->connections_max && !error)
        error = pthread_cond_timedwait(&pool->freed, &pool->mutex, &until);
    pool->stats.waiting--;
    return !error || pool->idle || pool->stats.open < pool->connections_max;
}

/* A place among connections_max, with an idle connection in it (*out) or empty (NULL). The mutex is held. */
static enum fault take_place(struct db_pool *pool, int64_t deadline_ms, struct db_connection **out)
{
    if (!wait_for_place(pool, deadline_ms))
        return FAULT_DEADLINE;
    *out = pool->idle;
    if (*out)
        pool->idle = (*out)->next;
    else
        pool->stats.open++;
    pool->stats.busy++;
    return FAULT_OK;
}

static void free_place(struct db_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    pool->stats.busy--;
    pool->stats.open--;
    pthread_cond_signal(&pool->freed);
    pthread_mutex_unlock(&pool->mutex);
}

enum fault db_pool_take(struct db_pool *pool, int64_t deadline_ms, bool want_fresh, struct db_connection **out, bool *is_reused)
{
    struct db_connection *connection;
    pthread_mutex_lock(&pool->mutex);
    enum fault fault = take_place(pool, deadline_ms, &connection);
    pthread_mutex_unlock(&pool->mutex);
    if (fault)
        return fault;
    if (connection && (want_fresh || !db_connection_is_quiet(connection)))
        db_connection_close(&connection); /* stale: PostgreSQL restarted or ended it. Its place is ours */
    *is_reused = connection != NULL;
    if (!connection && (fault = db_connection_open(pool->url, pool->role, deadline_ms, &connection))) {
        free_place(pool);
        return fault;
    }
    *out = connection;
    return FAULT_OK;
}

void db_pool_give(struct db_pool *pool, struct db_connection **connection, bool is_clean)
{
    struct db_connection *given = *connection;
    *connection = NULL;
    if (!is_clean) {
        db_connection_close(&given);
        free_place(pool);
        return;
    }
    int64_t now_ms = given->idle_since_ms = clock_monotonic_ms();
    pthread_mutex_lock(&pool->mutex);
    given->next = pool->idle;
    pool->idle = given;
    pool->stats.busy--;
    bool is_tidying_due = now_ms - pool->tidied_ms >= TIDY_EACH_MS;
    pthread_cond_signal(&pool->freed);
    pthread_mutex_unlock(&pool->mutex);
    if (is_tidying_due)
        db_pool_tidy(pool);
}
