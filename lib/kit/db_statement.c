/* The list of every statement this program carries. Generated queries.c files add theirs from constructors, before main() and any
 * thread; afterwards the list is only read. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/ensure.h"
#include "lib/kit/db.h"

static const struct db_statement **list;
static size_t list_count;

void db_register_statements(const struct db_statement *const *statements, size_t count)
{
    list = realloc(list, (list_count + count) * sizeof *list);
    ensure(list != NULL || count == 0);
    memcpy(list + list_count, statements, count * sizeof *list);
    list_count += count;
}

const struct db_statement *const *db_statements(size_t *count)
{
    *count = list_count;
    return list;
}
