/* Batches and transactions: what handlers see. Both are the same thing, a list of statements and a connection that is held from the
 * first trip to the last; a batch has one trip. What holds the connection is registered with the arena before it is taken,
 * so an arena that ends early, or jumps out in the middle of a row, still gives it back. */
#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/kit/db_pool.h"
#include "lib/kit/db_trip.h"
#include "lib/kit/db_value.h"
#include "lib/kit/queries.h"

enum { ROLLBACK_MAX_MS = 1000, WRITE_MAX_MS = 5000, WRITE_BULK_MAX_MS = 30000 };

enum db_batch_state { DB_BATCH_OPEN, DB_BATCH_BEGUN /* a transaction after its first trip */, DB_BATCH_OVER };

struct db_batch {
    struct db_pool *pool;
    struct arena *arena;
    int64_t deadline_ms;
    int64_t write_until_ms; /* a transaction that began to write; 0: not yet */
    bool is_transaction;
    bool is_bulk;
    bool is_committing; /* db_after_commit: the next statement starts behind a sync */
    enum db_batch_state state;
    enum fault fault;                 /* why a transaction is over */
    struct db_connection *connection; /* held */
    struct db_trip trip;              /* the last one */
    struct db_result *first, *last;   /* to be sent with the next trip */
    int64_t waiting;                  /* how many they are */
};

/* Gives the connection back. Unread answers: what still runs is cancelled and the connection closed. UNAVAILABLE, said by the
 * server: closed too, it may be a standby or have lost our prepared statements. */
static void give_back(struct db_batch *batch)
{
    if (!batch->connection)
        return;
    PQclear(batch->trip.in_hand);
    batch->trip.in_hand = NULL;
    bool is_clean = batch->trip.is_clean && batch->trip.error.fault != FAULT_UNAVAILABLE &&
                    PQtransactionStatus(batch->connection->pg) == PQTRANS_IDLE;
    if (!batch->trip.is_clean && PQstatus(batch->connection->pg) == CONNECTION_OK)
        db_connection_cancel(batch->connection);
    db_pool_give(batch->pool, &batch->connection, is_clean);
}

/* Also after the deadline: a transaction left open holds locks and everybody's horizon. */
static void end_transaction(struct db_batch *batch)
{
    PGTransactionStatusType status = PQtransactionStatus(batch->connection->pg);
    if (batch->trip.is_clean && (status == PQTRANS_INTRANS || status == PQTRANS_INERROR)) {
        struct db_error error = batch->trip.error;
        batch->trip =
            (struct db_trip){.deadline_ms = clock_monotonic_ms() + ROLLBACK_MAX_MS, .after = "ROLLBACK", .error = {FAULT_OK}};
        db_trip_make(&batch->trip, batch->connection);
        batch->trip.error = error;
    }
    give_back(batch);
}

static void batch_release(void *object)
{
    db_rollback(object);
}

static struct db_batch *batch_create(struct db_pool *pool, struct arena *arena, int64_t deadline_ms, bool is_transaction)
{
    struct db_batch *batch = arena_new(arena, struct db_batch);
    *batch = (struct db_batch){.pool = pool, .arena = arena, .deadline_ms = deadline_ms, .is_transaction = is_transaction};
    arena_defer(arena, batch_release, batch);
    return batch;
}

struct db_batch *db_batch(struct db_pool *pool, struct arena *arena, int64_t deadline_ms)
{
    return batch_create(pool, arena, deadline_ms, false);
}

struct db_batch *db_transaction(struct db_pool *pool, struct arena *arena, int64_t deadline_ms)
{
    return batch_create(pool, arena, deadline_ms, true);
}

struct db_result *db_add(struct db_batch *batch, const struct db_statement *statement, const union db_value *params)
{
    ensure(batch->state != DB_BATCH_OVER || batch->fault); /* after a failed step, what follows only fails too */
    size_t count = (size_t)statement->param_count;
    struct db_result *result = arena_new(batch->arena, struct db_result);
    *result = (struct db_result){.statement = statement,
                                 .arena = batch->arena,
                                 .values = arena_new_array(batch->arena, count, const char *),
                                 .lengths = arena_new_array(batch->arena, count, int),
                                 .formats = arena_new_array(batch->arena, count, int)};
    for (size_t i = 0; i < count; i++) {
        struct slice image = db_value_encode(batch->arena, statement->params[i], &params[i]);
        ensure(image.len <= INT32_MAX);
        result->values[i] = image.at;
        result->lengths[i] = (int)image.len;
        result->formats[i] = 1;
    }
    result->is_after_commit = batch->is_committing;
    batch->is_committing = false;
    *(batch->last ? &batch->last->next : &batch->first) = result;
    batch->last = result;
    batch->waiting++;
    return result;
}

void db_bulk(struct db_batch *batch)
{
    ensure(batch->state == DB_BATCH_OPEN && !batch->first);
    batch->is_bulk = true;
    q_mark_bulk(batch);
}

void db_after_commit(struct db_batch *batch)
{
    ensure(!batch->is_transaction && batch->first);
    batch->is_committing = true;
}

static bool writes_nothing(const struct db_result *result)
{
    while (result && !result->statement->writes)
        result = result->next;
    return !result;
}

/* Whether the trip makes changes that others can see. after: its word at the end. */
static bool commits(const struct db_batch *batch, const char *after)
{
    return after || !(batch->is_transaction || writes_nothing(batch->trip.first));
}

/* A connection that died in the pool unseen (it is looked at before use, so this is rare) gives no answer at all. The trip is made
 * again, on a new one and once, when that cannot do anything twice: it was not sent, or it commits nothing. */
static bool can_repeat(const struct db_batch *batch, const char *after)
{
    const struct db_trip *trip = &batch->trip;
    return !trip->is_heard && (!trip->is_sent || !commits(batch, after));
}

/* Counted from here, not from the wait for a connection before it. */
static int64_t trip_deadline(struct db_batch *batch)
{
    if (!batch->write_until_ms && !writes_nothing(batch->first))
        batch->write_until_ms = clock_monotonic_ms() + (batch->is_bulk ? WRITE_BULK_MAX_MS : WRITE_MAX_MS);
    bool is_sooner = batch->write_until_ms && batch->write_until_ms < batch->deadline_ms;
    return is_sooner ? batch->write_until_ms : batch->deadline_ms;
}

static enum fault take_and_send(struct db_batch *batch, bool want_fresh, bool *is_reused)
{
    enum fault fault = FAULT_OK;
    if (!batch->connection)
        fault = db_pool_take(batch->pool, batch->deadline_ms, want_fresh, &batch->connection, is_reused);
    if (fault)
        return fault;
    batch->trip.deadline_ms = trip_deadline(batch);
    return db_trip_make(&batch->trip, batch->connection);
}

static enum fault make_trip(struct db_batch *batch, const char *before, const char *after)
{
    batch->trip = (struct db_trip){
        .deadline_ms = batch->deadline_ms, .first = batch->first, .before = before, .after = after, .is_clean = true};
    bool is_reused = false;
    enum fault fault = clock_monotonic_ms() < batch->deadline_ms ? FAULT_OK : FAULT_DEADLINE;
    if (!fault)
        fault = take_and_send(batch, false, &is_reused);
    if (fault == FAULT_UNAVAILABLE && is_reused && can_repeat(batch, after)) {
        give_back(batch);
        batch->trip.error = (struct db_error){FAULT_OK, ""};
        fault = take_and_send(batch, true, &is_reused);
    }
    db_pool_count(batch->pool, batch->waiting, fault != FAULT_OK);
    bool is_lost = fault == FAULT_UNAVAILABLE || fault == FAULT_DEADLINE;
    if (is_lost && batch->trip.is_sent && !batch->trip.is_clean && commits(batch, after))
        db_pool_doubt(batch->pool);
    for (struct db_result *result = batch->first; result && fault; result = result->next)
        result->state = DB_RESULT_FAILED; /* also when no connection was had */
    batch->first = batch->last = NULL;
    batch->waiting = 0;
    if (!batch->is_transaction)
        batch->write_until_ms = 0;
    return fault;
}

enum fault db_run(struct db_batch *batch)
{
    ensure(!batch->is_transaction);
    if (!batch->first)
        return FAULT_OK;
    enum fault fault = make_trip(batch, NULL, NULL);
    give_back(batch);
    return fault;
}

static enum fault transaction_trip(struct db_batch *transaction, const char *after)
{
    enum fault fault = make_trip(transaction, transaction->state == DB_BATCH_OPEN ? "BEGIN" : NULL, after);
    transaction->state = fault || after ? DB_BATCH_OVER : DB_BATCH_BEGUN;
    transaction->fault = fault;
    if (transaction->state == DB_BATCH_OVER && transaction->connection)
        end_transaction(transaction);
    return fault;
}

enum fault db_step(struct db_batch *transaction)
{
    ensure(transaction->is_transaction && (transaction->state != DB_BATCH_OVER || transaction->fault));
    if (transaction->fault || !transaction->first)
        return transaction->fault;
    return transaction_trip(transaction, NULL);
}

enum fault db_commit(struct db_batch *transaction)
{
    ensure(transaction->is_transaction && (transaction->state != DB_BATCH_OVER || transaction->fault));
    if (transaction->fault)
        return transaction->fault;
    if (transaction->state == DB_BATCH_OPEN && !transaction->first) {
        transaction->state = DB_BATCH_OVER;
        return FAULT_OK;
    }
    return transaction_trip(transaction, "COMMIT");
}

void db_rollback(struct db_batch *transaction)
{
    if (transaction->connection)
        end_transaction(transaction);
    transaction->state = DB_BATCH_OVER;
}

const char *db_constraint(const struct db_batch *batch)
{
    return batch->trip.error.constraint;
}

int64_t db_affected(const struct db_result *result)
{
    ensure(result->state != DB_RESULT_WAITING);
    return result->state == DB_RESULT_READ ? result->affected : 0;
}

bool db_next(struct db_result *result, union db_value *columns)
{
    ensure(result->state != DB_RESULT_WAITING); /* run the batch first */
    const struct db_row *row = result->state == DB_RESULT_READ ? result->upcoming : NULL;
    if (!row)
        return false;
    result->upcoming = row->next;
    for (int i = 0; i < result->statement->column_count; i++)
        columns[i] = db_value_decode(result->arena, result->statement->columns[i], row->columns[i]);
    return true;
}
