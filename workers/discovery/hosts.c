/* Names to addresses: numeric ones, the hosts file, names that are always here, DNS. */
#include "workers/discovery/search.h"

#include "lib/base/ensure.h"
#include "lib/kit/address.h"

enum { LOCAL_TTL_S = 60, DOUBTFUL_TTL_S = 60, HOSTS_MAX = 8 };

static void set_found(struct host *host, struct slices addresses, int64_t ttl_s, const char *source)
{
    host->status = DNS_FOUND;
    host->addresses = addresses;
    host->ttl_s = ttl_s;
    host->source = source;
}

/* RFC 6761: localhost and what is below it is this machine; servers of the public DNS are not to be asked. */
static bool is_localhost(struct slice name)
{
    static const struct slice localhost = {"localhost", 9}, below = {".localhost", 10};
    if (name.len && name.at[name.len - 1] == '.')
        name.len--;
    return slice_eq_ignoring_case(name, localhost) ||
           (name.len > below.len && slice_eq_ignoring_case(slice_sub(name, name.len - below.len, below.len), below));
}

static bool find_here(struct search *search, struct host *host)
{
    static const struct slice loopback[] = {{"::1", 3}, {"127.0.0.1", 9}};
    if (address_is_numeric(host->name)) {
        struct slice *self = arena_new(search->arena, struct slice);
        *self = host->name;
        set_found(host, (struct slices){self, 1}, TTL_MOST_S, "ip literal");
        return true;
    }
    if (search->discovery->hosts) {
        struct slices found = hosts_file_find(search->discovery->hosts, search->arena, host->name);
        if (found.len) {
            set_found(host, found, LOCAL_TTL_S, "hosts file");
            return true;
        }
    }
    if (is_localhost(host->name))
        set_found(host, (struct slices){loopback, 2}, LOCAL_TTL_S, "localhost");
    return is_localhost(host->name);
}

/* Neither has addresses: what to say? "No such name" is definite; otherwise it matters whether somebody failed to answer. */
static enum dns_status worse(enum dns_status a, enum dns_status b)
{
    if (a == DNS_NO_NAME || b == DNS_NO_NAME)
        return DNS_NO_NAME;
    return a > b ? a : b;
}

static void take_answers(struct search *search, struct host *host, const struct dns_question *aaaa, const struct dns_question *a)
{
    bool has_v6 = aaaa->status == DNS_FOUND, has_v4 = a->status == DNS_FOUND;
    if (!has_v6 && !has_v4) {
        host->status = worse(aaaa->status, a->status);
        host->source = dns_status_name(host->status);
        return;
    }
    size_t count_v6 = has_v6 ? aaaa->addresses.len : 0, count_v4 = has_v4 ? a->addresses.len : 0;
    struct slice *all = arena_new_array(search->arena, count_v6 + count_v4, struct slice);
    for (size_t i = 0; i < count_v6; i++)
        all[i] = aaaa->addresses.at[i];
    for (size_t i = 0; i < count_v4; i++)
        all[count_v6 + i] = a->addresses.at[i];
    int64_t ttl_s = has_v6 ? aaaa->ttl_s : a->ttl_s;
    if (has_v6 && has_v4 && a->ttl_s < ttl_s)
        ttl_s = a->ttl_s;
    bool is_doubtful =
        aaaa->status == DNS_FAILED || aaaa->status == DNS_TIMEOUT || a->status == DNS_FAILED || a->status == DNS_TIMEOUT;
    if (is_doubtful && ttl_s > DOUBTFUL_TTL_S)
        ttl_s = DOUBTFUL_TTL_S;
    set_found(host, (struct slices){all, count_v6 + count_v4}, ttl_s, has_v6 && has_v4 ? "aaaa+a" : has_v6 ? "aaaa" : "a");
}

void hosts_count(struct search *search, const struct dns_question *questions, size_t count)
{
    for (size_t i = 0; i < count; i++)
        metric_add(search->discovery->dns_questions[questions[i].status], 1);
}

void hosts_find(struct search *search, struct host *hosts, size_t count, int64_t deadline_ms)
{
    struct dns_question questions[2 * HOSTS_MAX];
    struct host *asked[HOSTS_MAX];
    size_t asked_count = 0;
    ensure(count <= HOSTS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct host *host = &hosts[i];
        if (!slice_is_absent(search->known.name) && slice_eq(search->known.name, host->name)) {
            *host = search->known;
        } else if (!find_here(search, host)) {
            questions[2 * asked_count] = (struct dns_question){.name = host->name, .type = DNS_AAAA};
            questions[2 * asked_count + 1] = (struct dns_question){.name = host->name, .type = DNS_A};
            asked[asked_count++] = host;
        }
    }
    if (!asked_count)
        return;
    dns_ask(search->discovery->dns, search->arena, questions, 2 * asked_count, deadline_ms);
    hosts_count(search, questions, 2 * asked_count);
    for (size_t i = 0; i < asked_count; i++)
        take_answers(search, asked[i], &questions[2 * i], &questions[2 * i + 1]);
}
