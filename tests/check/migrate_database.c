/* migrate_database URL SCHEMA_FOLDER: the migration of lib/kit for tests that are not written in C. */
#include <stdio.h>

#include "lib/base/log.h"
#include "lib/kit/migrate.h"

int main(int count, char **arguments)
{
    if (count != 3) {
        fprintf(stderr, "usage: migrate_database URL SCHEMA_FOLDER\n");
        return 2;
    }
    log_init("test", LOG_WARN);
    struct arena *arena = arena_create(64 << 20);
    struct migrate_report report;
    enum migrate_result result = migrate_run(arguments[1], arguments[2], arena, &report);
    if (result)
        fprintf(stderr, "%s\n", report.error);
    arena_destroy(&arena);
    return result != MIGRATE_DONE;
}
