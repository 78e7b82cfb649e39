/* m.room.server_acl: which servers may take part in a room. Applied at the network layer, not by the authorisation rules
 * (Client-Server API "Server Access Control Lists (ACLs) for rooms"). */
#include "lib/matrix/auth_rules.h"
#include "lib/matrix/ids.h"

/* "the suspect server's port number must not be considered". IPv6 literals keep their brackets, as they do in names. */
static struct slice without_port(struct slice server_name)
{
    const char *closing = server_name.len && server_name.at[0] == '[' ? memchr(server_name.at, ']', server_name.len) : NULL;
    if (closing)
        return slice_of(server_name.at, (size_t)(closing + 1 - server_name.at));
    struct slice host, port;
    return slice_cut(server_name, ':', &host, &port) ? host : server_name;
}

static bool is_ip_literal(struct slice server_name)
{
    struct server_name parsed;
    return server_name_parse(server_name, &parsed) && (parsed.is_ipv4 || parsed.is_ipv6);
}

static bool any_matches(const struct json *patterns, struct slice host)
{
    json_each (pattern, patterns)
        if (json_is(pattern, JSON_STRING) && glob_match(pattern->text, host))
            return true;
    return false;
}

bool server_acl_allows(const struct json *acl_content, struct slice server_name)
{
    /* 1. If there is no m.room.server_acl event in the room state, allow. */
    if (!acl_content)
        return true;
    /* 2. If the server name is an IP address literal, and allow_ip_literals is present and false, deny. */
    if (!json_get_bool(acl_content, "allow_ip_literals", true) && is_ip_literal(server_name))
        return false;
    struct slice host = without_port(server_name);
    /* 3. If the server name matches an entry in the deny list, deny. */
    if (any_matches(json_get_array(acl_content, "deny"), host))
        return false;
    /* 4. If the server name matches an entry in the allow list, allow. 5. Otherwise, deny. */
    return any_matches(json_get_array(acl_content, "allow"), host);
}
