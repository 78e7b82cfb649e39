/* "Redactions" of each room version, on the parsed object: what hashes, signatures and redacted copies are made from.
 * Callers outside lib/matrix want event_redact() (event.h), which gives the bytes. Pure; any thread. */
#ifndef MYELIN_MATRIX_REDACT_H
#define MYELIN_MATRIX_REDACT_H

#include "lib/base/json.h"
#include "lib/matrix/room_version.h"

/* The redacted object; shares what it keeps with `event`, which stays as it is. */
struct json *redact_tree(struct arena *arena, const struct room_version *version, const struct json *event);

#endif
