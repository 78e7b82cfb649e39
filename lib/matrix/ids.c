/* Spec appendix "Identifier Grammar". Two strictnesses, because history has user ids that nobody may choose today: what
 * other servers may send us (any code point but ':' and NUL before the server name) and what we hand out. */
#include "lib/matrix/ids.h"

#include "lib/base/json.h" /* utf8_is_valid */

enum { ID_BYTES_MAX = 255 };

struct slice id_server_name(struct slice id)
{
    struct slice before, server;
    return slice_cut(id, ':', &before, &server) ? server : SLICE_ABSENT;
}

struct slice id_localpart(struct slice id)
{
    if (!id.len)
        return SLICE_ABSENT;
    struct slice rest = slice_sub(id, 1, id.len), server;
    slice_cut(rest, ':', &rest, &server);
    return rest;
}

/* Sigil, length and characters; what follows the sigil is the caller's question. */
static bool is_id_text(struct slice id, char sigil)
{
    return id.len >= 2 && id.len <= ID_BYTES_MAX && id.at[0] == sigil && !memchr(id.at, '\0', id.len) && utf8_is_valid(id);
}

static bool has_valid_server(struct slice id)
{
    struct slice server = id_server_name(id);
    return !slice_is_absent(server) && server_name_is_valid(server);
}

bool user_id_is_valid(struct slice id)
{
    return is_id_text(id, '@') && has_valid_server(id);
}

bool user_localpart_is_valid(struct slice local)
{
    for (size_t i = 0; i < local.len; i++) {
        char c = local.at[i];
        bool allowed = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("._=-/+", c));
        if (!allowed)
            return false;
    }
    return local.len > 0;
}

/* Whether the version wants a server name in it is checked with the event (event_parse.c). */
bool room_id_is_valid(struct slice id)
{
    return is_id_text(id, '!') && (slice_is_absent(id_server_name(id)) || has_valid_server(id));
}

bool room_alias_is_valid(struct slice alias)
{
    return is_id_text(alias, '#') && has_valid_server(alias);
}

bool event_id_is_valid(struct slice id)
{
    return is_id_text(id, '$') && (slice_is_absent(id_server_name(id)) || has_valid_server(id));
}
