/* Brings a database to this program's schema (DESIGN §7): the files schema/NNNN_name.sql in order, then roles and grants from
 * services.def and schema/OWNERS. Called by the supervisor before it starts workers and by `myelin` commands; may block for long,
 * may be called by several supervisors at once (an advisory lock lets one work, the others find it done).
 * A file runs in a transaction of its own, unless its first line is "-- no transaction" (CREATE INDEX CONCURRENTLY): then its
 * statements run one by one, each ending with ";" at a line's end, and must bear being run again after an interruption. A line "--
 * oldest compatible: N" among a file's first lines says that programs of schema version below N cannot work with it; without it,
 * programs that worked before still do (expand/contract). */
#ifndef MYELIN_KIT_MIGRATE_H
#define MYELIN_KIT_MIGRATE_H

#include "lib/base/arena.h"

enum migrate_result {
    MIGRATE_DONE,        /* also when there was nothing to do */
    MIGRATE_UNREACHABLE, /* try again later */
    MIGRATE_UNFIT,       /* database_check refused it */
    MIGRATE_BAD_FILES,   /* the schema folder is incomplete, or OWNERS has a mistake */
    MIGRATE_CHANGED,     /* a file that was applied reads differently now */
    MIGRATE_TOO_NEW,     /* the database's schema is no longer compatible with this program */
    MIGRATE_FAILED,      /* a statement failed; what was applied before stays */
};

struct migrate_report {
    int version_before, version_after; /* 0: an empty database */
    int applied;                       /* files */
    const char *error;                 /* NULL when done; in the arena */
};

enum migrate_result migrate_run(const char *url, const char *schema_folder, struct arena *arena, struct migrate_report *report);

#endif
