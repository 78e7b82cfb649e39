/* See endpoints.h. */
#include "lib/kit/endpoints.h"

#include <netdb.h>
#include <stdio.h>

static bool endpoint_parse(struct slice text, struct endpoint *out)
{
    size_t colon = text.len;
    while (colon > 0 && text.at[colon - 1] != ':')
        colon--;
    struct slice host = slice_sub(text, 0, colon ? colon - 1 : 0), port = slice_sub(text, colon, SIZE_MAX);
    int64_t number;
    if (colon == 0 || !slice_to_i64(port, &number) || number < 0 || number > 65535)
        return false;
    if (host.len >= 2 && host.at[0] == '[' && host.at[host.len - 1] == ']')
        host = slice_sub(host, 1, host.len - 2);
    else if (host.len && memchr(host.at, ':', host.len))
        return false; /* IPv6 wants brackets */
    if (slice_eq(host, SLICE("*")))
        host = SLICE("");
    if (host.len >= sizeof out->host)
        return false;
    snprintf(out->host, sizeof out->host, "%.*s", PRI(host));
    snprintf(out->port, sizeof out->port, "%d", (int)number);
    return true;
}

int endpoints_parse(const char *list, struct endpoint *endpoints, int count, struct slice *wrong)
{
    int first = count;
    struct slice rest = slice_from_cstr(list), word;
    while (rest.len) {
        if (!slice_cut(rest, ',', &word, &rest)) {
            word = rest;
            rest = SLICE("");
        }
        word = slice_trim(word);
        if (word.len == 0)
            continue;
        *wrong = word;
        bool tls = slice_eq(word, SLICE("tls"));
        if (tls || slice_eq(word, SLICE("plain"))) {
            if (count == first)
                return -1;
            endpoints[count - 1].tls = tls;
            continue;
        }
        if (count == ENDPOINTS_MAX || !endpoint_parse(word, &endpoints[count]))
            return -1;
        endpoints[count++].tls = false;
    }
    return count;
}

const char *endpoint_address(const struct endpoint *endpoint, struct sockaddr_storage *address, socklen_t *len)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    int failed = getaddrinfo(endpoint->host[0] ? endpoint->host : "::", endpoint->port, &hints, &found);
    if (failed)
        return gai_strerror(failed);
    *len = found->ai_addrlen;
    memcpy(address, found->ai_addr, *len);
    freeaddrinfo(found);
    return NULL;
}
