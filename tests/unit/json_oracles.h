/* Other JSON libraries, each behind one C function, for test_json_differential.c only. Separate files, because their names
 * clash with ours (and with each other's). */
#ifndef MYELIN_TEST_JSON_ORACLES_H
#define MYELIN_TEST_JSON_ORACLES_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Keys sorted by bytes, reals as %.17g; to be freed. NULL: the text was not accepted. */
char *simdjson_canonical(const char *text, size_t len, size_t *canonical_len);
char *jansson_canonical(const char *text, size_t len, size_t *canonical_len); /* told to reject duplicate keys */

#ifdef __cplusplus
}
#endif
#endif
