/* One level of a JSON text as spans: the members of an object or the elements of an array, found in one pass without a tree.
 * For answers of many megabytes whose parts are parsed one after another (send_join of a large room), where json_parse would
 * need several times their size.
 * The bytes inside a span are not judged: strings and brackets are matched, no more. So whoever uses a span parses it, and what
 * nobody uses may be malformed. When every span of an object or array parses, the whole would have parsed too, up to duplicate
 * keys and depth; keys are decoded and checked here. */
#ifndef MYELIN_BASE_JSON_SPANS_H
#define MYELIN_BASE_JSON_SPANS_H

#include "lib/base/json.h"

struct json_spans {
    struct arena *arena; /* for keys with escapes */
    const char *at, *end;
    bool is_object, is_first;
    const char *error; /* static text, NULL while all is well */
};

/* type: JSON_OBJECT or JSON_ARRAY. False when the text does not begin with such a value. */
bool json_spans_begin(struct json_spans *spans, struct arena *arena, struct slice text, enum json_type type);
/* The next part; key is for objects and may be NULL. False behind the last one, and when something is malformed: look at error
 * then. What was given before an error is from a text that is not JSON. */
bool json_spans_next(struct json_spans *spans, struct slice *key, struct slice *value);
/* How many elements an array has; false when it is malformed. */
bool json_spans_count(struct arena *arena, struct slice array, size_t *count);

#endif
