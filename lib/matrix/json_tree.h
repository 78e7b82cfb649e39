/* Changed copies of a parsed object: the original stays as it was received, its members' bytes are shared. For what is
 * hashed and signed, where a member is left out, replaced or added before the canonical bytes are written. Pure. */
#ifndef MYELIN_MATRIX_JSON_TREE_H
#define MYELIN_MATRIX_JSON_TREE_H

#include "lib/base/json.h"

/* A copy with the members that keep() wants. A value that is no object gives an empty object. */
struct json *json_tree_filter(struct arena *arena, const struct json *object,
                              bool (*keep)(const struct json *member, const void *context), const void *context);
struct json *json_tree_copy(struct arena *arena, const struct json *object);
/* Adds the member, or replaces the one of that key. `value` is copied (not what is below it); object must be such a copy. */
void json_tree_put(struct arena *arena, struct json *object, struct slice key, const struct json *value);
void json_tree_put_string(struct arena *arena, struct json *object, struct slice key, struct slice text);

#endif
