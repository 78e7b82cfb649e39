/* The headers that the specification recommends for every answer; a preflight needs no knowledge of the endpoint, so the frontend
 * answers it alone. */
#include "frontend/cors.h"

#define WORD(literal) \
    { \
        (literal), sizeof(literal) - 1 \
    } /* SLICE is no constant expression */

const struct cors_header cors_headers[] = {
    {WORD("access-control-allow-origin"), WORD("*")},
    {WORD("access-control-allow-methods"), WORD("GET, POST, PUT, DELETE, OPTIONS")},
    {WORD("access-control-allow-headers"), WORD("X-Requested-With, Content-Type, Authorization")},
};
const size_t cors_header_count = sizeof cors_headers / sizeof cors_headers[0];

bool cors_applies(struct slice path)
{
    return !slice_starts_with(path, SLICE("/_matrix/federation/")) && !slice_starts_with(path, SLICE("/_matrix/key/"));
}
