/* Where programs and files are, from where this program is: the same binary works in the build folder and installed. */
#ifndef MYELIN_SUPERVISOR_PLACE_H
#define MYELIN_SUPERVISOR_PLACE_H

#include "lib/base/arena.h"
#include "proto/service.h"

const char *place_worker(struct arena *arena, enum service kind); /* the program of a kind; NULL when there is none */
const char *place_schema(struct arena *arena, const char *given); /* folder with the migrations; NULL */
const char *place_postgres(struct arena *arena,
                           const char *version); /* PostgreSQL's bin folder, of that major version when not NULL */

#endif
