/* The parts of a migration (private to lib/kit/migrate*.c). */
#ifndef MYELIN_KIT_MIGRATE_PARTS_H
#define MYELIN_KIT_MIGRATE_PARTS_H

#include <libpq-fe.h>

#include "lib/kit/migrate.h"

enum { MIGRATE_CHECKSUM = 32 };

struct migrate_file {
    int version;
    const char *name; /* "0001_base.sql" */
    struct slice sql;
    unsigned char checksum[MIGRATE_CHECKSUM]; /* SHA-256 */
    bool is_transaction;
    int oldest_compatible; /* 0: as before */
};

struct migrate {
    struct arena *arena;
    PGconn *pg;
    const char *folder;
    struct migrate_file *files; /* version i + 1 at i */
    int count;
    struct migrate_report *report;
};

enum migrate_result migrate_fail(struct migrate *migrate, enum migrate_result result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* One or more statements without parameters. */
enum migrate_result migrate_exec(struct migrate *migrate, const char *sql, const char *what);
/* The first value of the first row, "" if there is none. */
enum migrate_result migrate_ask(struct migrate *migrate, const char *sql, const char **out);

enum migrate_result migrate_read_file(struct migrate *migrate, const char *name, struct slice *out);
enum migrate_result migrate_read_folder(struct migrate *migrate);
enum migrate_result migrate_epoch(struct migrate *migrate);
enum migrate_result migrate_grant(struct migrate *migrate);

#endif
