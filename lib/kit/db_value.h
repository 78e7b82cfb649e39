/* The binary form of SQL values (private to lib/kit/db*.c): bigint, integer, boolean, xid8, text, bytea and one-dimensional arrays.
 */
#ifndef MYELIN_KIT_DB_VALUE_H
#define MYELIN_KIT_DB_VALUE_H

#include "lib/kit/db.h"

unsigned db_type_oid(enum db_type type);
/* The bytes to send, copied into the arena; absent for NULL. */
struct slice db_value_encode(struct arena *arena, enum db_type type, const union db_value *value);
/* What the server sent; absent for NULL. Text and bytes keep pointing into `image`, arrays get their index from the arena. */
union db_value db_value_decode(struct arena *arena, enum db_type type, struct slice image);

#endif
