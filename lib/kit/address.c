/* The special-purpose registries of IANA as a table (RFC 6890 and its successors). Everything that is not plain global unicast
 * counts as private: an outbound request made for a stranger has no business there. IPv6 addresses that carry an IPv4 address are
 * judged by that one, because that is where the packets end up. */
#include "lib/kit/address.h"

#include "lib/kit/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>

struct range {
    const char *network;
    int bits;
};

static const struct range ranges_v4[] = {
    {"0.0.0.0", 8},       /* this network */
    {"10.0.0.0", 8},      /* RFC 1918 */
    {"100.64.0.0", 10},   /* carrier-grade NAT */
    {"127.0.0.0", 8},     /* loopback */
    {"169.254.0.0", 16},  /* link-local; cloud metadata lives here */
    {"172.16.0.0", 12},   /* RFC 1918 */
    {"192.0.0.0", 24},    /* IETF protocol assignments */
    {"192.0.2.0", 24},    /* documentation */
    {"192.88.99.0", 24},  /* 6to4 relays, withdrawn */
    {"192.168.0.0", 16},  /* RFC 1918 */
    {"198.18.0.0", 15},   /* benchmarks */
    {"198.51.100.0", 24}, /* documentation */
    {"203.0.113.0", 24},  /* documentation */
    {"224.0.0.0", 4},     /* multicast */
    {"240.0.0.0", 4},     /* reserved, broadcast */
};
static const struct range ranges_v6[] = {
    {"64:ff9b:1::", 48}, /* local NAT64 */
    {"100::", 64},       /* discard */
    {"2001::", 23},      /* IETF protocol assignments, Teredo */
    {"2001:db8::", 32},  /* documentation */
    {"3fff::", 20},      /* documentation */
    {"5f00::", 16},      /* segment routing */
    {"fc00::", 7},       /* unique local */
    {"fe80::", 10},      /* link-local */
    {"fec0::", 10},      /* site-local, withdrawn */
    {"ff00::", 8},       /* multicast */
};
/* Where the embedded IPv4 address starts. */
static const struct {
    struct range range;
    int offset;
} carriers[] = {
    {{"::", 96}, 12},                                     /* IPv4-compatible; also :: and ::1, whose rest is 0.0.0.x */
    {{"::ffff:0:0", 96}, 12}, {{"::ffff:0:0:0", 96}, 12}, /* translated, RFC 2765 */
    {{"64:ff9b::", 96}, 12},                              /* NAT64 */
    {{"2002::", 16}, 2},                                  /* 6to4 */
};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static bool in_range(int family, const unsigned char *bytes, const struct range *range)
{
    unsigned char network[16];
    inet_pton(family, range->network, network);
    int whole = range->bits / 8, rest = range->bits % 8;
    if (memcmp(bytes, network, (size_t)whole) != 0)
        return false;
    return rest == 0 || (bytes[whole] ^ network[whole]) >> (8 - rest) == 0;
}

static bool is_private_v4(const unsigned char bytes[4])
{
    for (size_t i = 0; i < COUNT(ranges_v4); i++) {
        if (in_range(AF_INET, bytes, &ranges_v4[i]))
            return true;
    }
    return false;
}

static bool is_private_v6(const unsigned char bytes[16])
{
    for (size_t i = 0; i < COUNT(carriers); i++) {
        if (in_range(AF_INET6, bytes, &carriers[i].range))
            return is_private_v4(bytes + carriers[i].offset);
    }
    for (size_t i = 0; i < COUNT(ranges_v6); i++) {
        if (in_range(AF_INET6, bytes, &ranges_v6[i]))
            return true;
    }
    return false;
}

bool address_socket_is_private(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return is_private_v4((const unsigned char *)&((const struct sockaddr_in *)(const void *)address)->sin_addr);
    if (address->sa_family == AF_INET6)
        return is_private_v6(((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr);
    return true;
}

static int parse(struct slice text, unsigned char bytes[16])
{
    char copy[INET6_ADDRSTRLEN];
    if (text.len == 0 || text.len >= sizeof copy || slice_has_nul(text))
        return AF_UNSPEC;
    memcpy(copy, text.at, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, bytes) == 1)
        return AF_INET;
    return inet_pton(AF_INET6, copy, bytes) == 1 ? AF_INET6 : AF_UNSPEC;
}

bool address_is_numeric(struct slice text)
{
    unsigned char bytes[16];
    return parse(text, bytes) != AF_UNSPEC;
}

bool address_is_private(struct slice numeric_address)
{
    unsigned char bytes[16];
    int family = parse(numeric_address, bytes);
    if (family == AF_INET)
        return is_private_v4(bytes);
    return family == AF_UNSPEC || is_private_v6(bytes);
}
