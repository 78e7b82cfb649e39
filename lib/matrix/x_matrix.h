/* The Authorization header of federation requests (Server-Server API "Request Authentication"). Pure. */
#ifndef MYELIN_MATRIX_X_MATRIX_H
#define MYELIN_MATRIX_X_MATRIX_H

#include "lib/base/json.h"

struct x_matrix {
    struct slice origin, destination /* absent with old servers */, key_id, signature;
};
/* RFC 9110 auth-params: quoted or not, any order, names case-insensitive, blanks around = and commas. False when malformed. */
bool x_matrix_parse(struct arena *arena, struct slice header, struct x_matrix *out);
struct slice x_matrix_format(struct arena *arena, const struct x_matrix *header);
/* The canonical JSON that is signed: method, uri (path and query as sent), origin, destination, content (raw JSON or absent).
 * Absent when content is not JSON. A receiver passes its own name as destination also when the header names none: senders that
 * are too old to say so in the header sign it all the same. */
struct slice x_matrix_signing_bytes(struct arena *arena, struct slice method, struct slice uri, struct slice origin,
                                    struct slice destination, struct slice content);

#endif
