/* One round trip: statements and a sync out, their results back (private to lib/kit/db*.c). */
#ifndef MYELIN_KIT_DB_TRIP_H
#define MYELIN_KIT_DB_TRIP_H

#include "lib/kit/db_connection.h"
#include "lib/kit/db_error.h"

struct db_row {
    struct db_row *next;
    struct slice columns[]; /* as received, absent for NULL; the bytes follow */
};

enum db_result_state { DB_RESULT_WAITING, DB_RESULT_READ, DB_RESULT_FAILED };

struct db_result {
    struct db_result *next; /* in order of the batch */
    const struct db_statement *statement;
    struct arena *arena;
    const char **values; /* parameters, encoded */
    int *lengths, *formats;
    bool is_preparing;    /* a prepare goes before it in this trip */
    bool is_after_commit; /* a sync goes before it: db_after_commit */
    bool is_checked;      /* the columns are as declared */
    enum db_result_state state;
    struct db_row *first, *last, *upcoming;
    int64_t affected;
};

struct db_trip {
    int64_t deadline_ms;
    struct db_result *first;
    const char *before, *after; /* "BEGIN", "COMMIT", "ROLLBACK" or NULL */
    /* The result that is being copied. The arena may jump out of the middle: its owner clears this one then. */
    PGresult *in_hand;
    struct db_error error; /* the first one */
    bool is_sent;          /* the sync may have reached the server; libpq does not tell surely that it has not */
    bool is_heard;         /* the server answered something */
    bool is_clean;         /* all was read up to the sync: the connection can be used again */
};

/* Makes the trip. On a fault nothing of an implicit transaction was committed, unless !is_clean. */
enum fault db_trip_make(struct db_trip *trip, struct db_connection *connection);

#endif
