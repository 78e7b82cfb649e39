/* JSON strings read and written (private to lib/base; json.h has what others use). */
#ifndef MYELIN_BASE_JSON_STRING_H
#define MYELIN_BASE_JSON_STRING_H

#include "lib/base/json.h"

/* *at is at the opening quote and moves behind the closing one. *text borrows from the source unless it has escapes, then
 * *escaped is set and the text is in the arena. Gives what is wrong, in static storage, or NULL. */
const char *json_string_read(struct arena *arena, const char **at, const char *end, struct slice *text, bool *escaped);

#endif
