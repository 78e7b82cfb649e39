/* Spec appendix "Server Name": hostname [":" port], where the hostname is a DNS name, an IPv4 literal or a bracketed IPv6
 * literal. Checked to the letter, because these names end up in signatures, in DNS questions and in connection targets. */
#include "lib/matrix/ids.h"

#include <arpa/inet.h>
#include <netinet/in.h>

enum { DNS_NAME_MAX = 255, IPV6_TEXT_MAX = 45, PORT_DIGITS_MAX = 5, PORT_MAX = 65535 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_dns_name(struct slice host)
{
    if (!host.len || host.len > DNS_NAME_MAX)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.at[i];
        if (!is_digit(c) && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '-' && c != '.')
            return false;
    }
    return true;
}

/* Four groups of one to three digits: meant as an address even when the numbers are out of range. */
static bool looks_like_ipv4(struct slice host)
{
    unsigned dots = 0, digits = 0;
    for (size_t i = 0; i < host.len; i++) {
        if (host.at[i] == '.' && digits && dots < 3) {
            dots++;
            digits = 0;
        } else if (!is_digit(host.at[i]) || ++digits > 3) {
            return false;
        }
    }
    return dots == 3 && digits;
}

static bool is_address(int family, struct slice host)
{
    char text[IPV6_TEXT_MAX + 1];
    struct in6_addr address;
    if (host.len > IPV6_TEXT_MAX || memchr(host.at, '\0', host.len))
        return false;
    memcpy(text, host.at, host.len);
    text[host.len] = '\0';
    return inet_pton(family, text, &address) == 1;
}

static bool port_parse(struct slice text, int *port)
{
    int number = 0;
    if (!text.len || text.len > PORT_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.at[i]))
            return false;
        number = number * 10 + (text.at[i] - '0');
    }
    if (number > PORT_MAX)
        return false;
    *port = number;
    return true;
}

/* Splits host from ":port". An IPv6 literal is full of colons; its brackets say where it ends. */
static bool split_port(struct slice name, struct slice *host, struct slice *port, bool *bracketed)
{
    struct slice rest;
    *port = SLICE_ABSENT;
    *bracketed = name.len && name.at[0] == '[';
    if (!*bracketed) {
        if (!slice_cut(name, ':', host, port))
            *host = name;
        return true;
    }
    if (!slice_cut(slice_sub(name, 1, name.len), ']', host, &rest))
        return false;
    if (!rest.len)
        return true;
    *port = slice_sub(rest, 1, rest.len);
    return rest.at[0] == ':';
}

bool server_name_parse(struct slice name, struct server_name *out)
{
    struct server_name found = {.port = -1};
    struct slice port;
    bool bracketed;
    if (!split_port(name, &found.host, &port, &bracketed))
        return false;
    if (!slice_is_absent(port) && !port_parse(port, &found.port))
        return false;
    found.is_ipv6 = bracketed;
    found.is_ipv4 = !bracketed && looks_like_ipv4(found.host);
    if (found.is_ipv6 && !is_address(AF_INET6, found.host))
        return false;
    if (found.is_ipv4 && !is_address(AF_INET, found.host))
        return false;
    if (!bracketed && !is_dns_name(found.host))
        return false;
    *out = found;
    return true;
}

bool server_name_is_valid(struct slice name)
{
    struct server_name ignored;
    return server_name_parse(name, &ignored);
}
