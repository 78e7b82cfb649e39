/* What the supervisor asks PostgreSQL about itself between two heartbeats: who holds the horizon of every stream back (DESIGN §8:
 * a metric and an alert, offenders of our own roles are ended), once a second; how large our tables are, once a minute. registry.c
 * sends the questions, this keeps the answers and writes them as metrics. */
#ifndef MYELIN_SUPERVISOR_DATABASE_FACTS_H
#define MYELIN_SUPERVISOR_DATABASE_FACTS_H

#include "lib/base/strbuf.h"

#include <libpq-fe.h>

enum { HORIZON_END_MS = 5000, TABLES_EACH_MS = 60 * 1000 };

struct database_facts {
    int64_t horizon_lag_ms; /* age of the oldest transaction that holds it; 0: none does */
    int64_t offenders_ended;
    int64_t warned_pid, warned_ms; /* of whom we spoke last, and when (monotonic) */
    int64_t tables_ms;             /* when to ask next (monotonic) */
    char *tables;                  /* their metrics as text; malloc'ed, NULL before the first answer */
};

/* The roles of our workers as PostgreSQL's text form of an array; for the question horizon_holders. */
struct slice database_facts_roles(struct arena *arena);
void database_facts_take_horizon(struct database_facts *facts, const PGresult *result, int64_t now_ms);
void database_facts_take_tables(struct database_facts *facts, const PGresult *result);
void database_facts_metrics(const struct database_facts *facts, struct strbuf *out);

#endif
