/* Identifiers, server names and globs. Up to the first line break it is an id and a pattern, after it the glob's text. */
#include "lib/base/ensure.h"
#include "lib/matrix/ids.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice id = slice_of(data, size), text = SLICE("");
    struct server_name name;
    slice_cut(id, '\n', &id, &text);
    int kinds = user_id_is_valid(id) + room_id_is_valid(id) + room_alias_is_valid(id) + event_id_is_valid(id);
    ensure(kinds <= 1);
    ensure(!user_id_is_valid(id) || server_name_is_valid(id_server_name(id)));
    ensure(!user_localpart_is_valid(id) || id.len);
    ensure(server_name_is_valid(id) == server_name_parse(id, &name));
    ensure(!server_name_is_valid(id) ||
           (name.host.len && name.port >= -1 && name.port <= 65535 && !(name.is_ipv4 && name.is_ipv6)));
    ensure(!user_id_is_valid(id) || id_localpart(id).len + id_server_name(id).len + 2 == id.len);
    if (text.len < 4096 && !memchr(id.at ? id.at : "", '*', id.len) && glob_match(id, text))
        ensure(text.len >= id.len); /* without '*' each pattern character takes a character */
    ensure(glob_match(SLICE("*"), text));
    return 0;
}
