/* One form for both families (IPv4 mapped into IPv6) keeps comparison and prefixes in one line. An IPv6 customer owns at least a
 * /64, so caps and limits count that, not the single address. */
#include "frontend/address.h"

#include "lib/base/ensure.h"
#include "lib/base/keyed_hash.h"
#include "lib/base/log.h"

#include <arpa/inet.h>
#include <stdlib.h>

static const unsigned char MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_mapped(const unsigned char bytes[16])
{
    return memcmp(bytes, MAPPED, sizeof MAPPED) == 0;
}

static void finish(struct address *address)
{
    if (is_mapped(address->bytes)) {
        inet_ntop(AF_INET, address->bytes + 12, address->text, sizeof address->text);
        address->key = slice_hash_keyed(slice_of((const char *)address->bytes + 12, 4));
    } else {
        inet_ntop(AF_INET6, address->bytes, address->text, sizeof address->text);
        address->key = slice_hash_keyed(slice_of((const char *)address->bytes, 8));
    }
}

void address_from_socket(const struct sockaddr *from, struct address *out)
{
    memset(out, 0, sizeof *out);
    if (from->sa_family == AF_INET) {
        memcpy(out->bytes, MAPPED, sizeof MAPPED);
        memcpy(out->bytes + 12, &((const struct sockaddr_in *)from)->sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        memcpy(out->bytes, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
    }
    finish(out);
}

bool address_parse(struct slice text, struct address *out)
{
    char copy[INET6_ADDRSTRLEN];
    text = slice_trim(text);
    if (text.len >= 2 && text.at[0] == '[' && text.at[text.len - 1] == ']')
        text = slice_sub(text, 1, text.len - 2);
    if (text.len == 0 || text.len >= sizeof copy)
        return false;
    memcpy(copy, text.at, text.len);
    copy[text.len] = '\0';
    struct address parsed = {.key = 0};
    if (inet_pton(AF_INET, copy, parsed.bytes + 12) == 1)
        memcpy(parsed.bytes, MAPPED, sizeof MAPPED);
    else if (inet_pton(AF_INET6, copy, parsed.bytes) != 1)
        return false;
    finish(&parsed);
    *out = parsed;
    return true;
}

struct network {
    unsigned char bytes[16];
    int bits;
};
struct networks {
    size_t count;
    struct network at[];
};

static bool network_parse(struct slice word, struct network *out)
{
    struct slice base = word, length;
    struct address address;
    int64_t bits = -1;
    if (slice_cut(word, '/', &base, &length) && (!slice_to_i64(length, &bits) || bits < 0))
        return false;
    if (!address_parse(base, &address))
        return false;
    int width = is_mapped(address.bytes) ? 32 : 128;
    if (bits > width)
        return false;
    memcpy(out->bytes, address.bytes, sizeof out->bytes);
    out->bits = 128 - width + (bits < 0 ? width : (int)bits);
    return true;
}

struct networks *networks_parse(const char *list)
{
    size_t words = 1;
    for (const char *at = list; *at; at++)
        words += *at == ',';
    struct networks *made = calloc(1, sizeof *made + words * sizeof made->at[0]);
    ensure(made);
    struct slice rest = slice_from_cstr(list), word;
    while (rest.len) {
        if (!slice_cut(rest, ',', &word, &rest)) {
            word = rest;
            rest = SLICE("");
        }
        word = slice_trim(word);
        if (word.len == 0)
            continue;
        if (network_parse(word, &made->at[made->count]))
            made->count++;
        else
            log_event(LOG_WARN, "not an address or network in trusted_proxies", LOG_STR("word", word));
    }
    return made;
}

bool networks_contain(const struct networks *networks, const struct address *address)
{
    for (size_t i = 0; i < networks->count; i++) {
        const struct network *network = &networks->at[i];
        int whole = network->bits / 8, rest = network->bits % 8;
        if (memcmp(network->bytes, address->bytes, (size_t)whole) != 0)
            continue;
        if (rest == 0 || ((network->bytes[whole] ^ address->bytes[whole]) >> (8 - rest)) == 0)
            return true;
    }
    return false;
}

/* Each proxy appends the peer that it saw, so the truth ends at the last hop that is not ours: read from the right. */
void address_of_client(const struct networks *trusted, const struct address *peer, struct slice forwarded_for, struct address *out)
{
    *out = *peer;
    while (networks_contain(trusted, out) && forwarded_for.len) {
        size_t from = forwarded_for.len;
        while (from > 0 && forwarded_for.at[from - 1] != ',')
            from--;
        struct address hop;
        if (!address_parse(slice_sub(forwarded_for, from, forwarded_for.len), &hop))
            return;
        *out = hop;
        forwarded_for = slice_sub(forwarded_for, 0, from ? from - 1 : 0);
    }
}
