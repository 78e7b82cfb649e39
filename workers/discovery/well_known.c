/* Step 3: GET https://<hostname>/.well-known/matrix/server, with its redirects and its cache. Every hop's name is resolved here, by
 * the same DNS as everything else, and the HTTP client is told the numbers. The cache is by hostname and outlives results: what was
 * delegated is stable for hours, addresses are not. */
#include "workers/discovery/search.h"

#include "lib/base/clock.h"
#include "lib/kit/http_url.h"
#include "workers/discovery/well_known_answer.h"

#include <stdarg.h>

enum { REDIRECTS_MAX = 5, FETCH_MOST_MS = 10000, ADDRESSES_RACED = 6 };

/* What the request brought. */
struct finding {
    struct slice server; /* absent: none, and why not */
    struct slice why;
    int64_t lifetime_ms; /* of a good one */
};

static struct slice join_addresses(struct arena *arena, struct slices addresses)
{
    struct strbuf list = strbuf_in(arena);
    for (size_t i = 0; i < addresses.len && i < ADDRESSES_RACED; i++) {
        if (i)
            strbuf_add_char(&list, ',');
        strbuf_add(&list, addresses.at[i]);
    }
    return strbuf_slice(&list);
}

/* One hop. False: finding->why says what failed. */
static bool fetch(struct search *search, const struct http_url *url, bool is_first, int64_t deadline_ms, struct http_answer *answer,
                  struct finding *finding)
{
    struct host host = {.name = url->host};
    hosts_find(search, &host, 1, deadline_ms);
    if (is_first)
        search->known = host;
    if (host.status != DNS_FOUND) {
        finding->why = slice_from_cstr(host.source);
        return false;
    }
    struct http_fetch request = {
        .method = SLICE("GET"),
        .certificate_name = url->host,
        .host_header = url->host_header,
        .address = join_addresses(search->arena, host.addresses),
        .port = url->port,
        .uri = url->uri,
        .deadline_ms = deadline_ms,
        .size_max = WELL_KNOWN_MAX_BYTES,
    };
    if (http_fetch(search->discovery->http, search->arena, &request, answer) == FAULT_OK)
        return true;
    finding->why = slice_from_cstr(answer->error);
    return false;
}

static void read_answer(struct search *search, const struct http_answer *answer, struct finding *finding)
{
    const char *why;
    if (answer->status != 200) {
        finding->why = arena_printf(search->arena, "HTTP %d", answer->status);
        return;
    }
    finding->server = well_known_server(search->arena, answer->body, &why);
    if (slice_is_absent(finding->server))
        finding->why = slice_from_cstr(why);
    else
        finding->lifetime_ms =
            well_known_lifetime_ms(search->arena, answer->cache_control, answer->expires, search->discovery->wall_ms());
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* From the first hop to the answer. A URL that was seen before is a loop; a chain that never repeats ends by its length. */
static void follow(struct search *search, struct slice hostname, struct finding *finding)
{
    struct arena *arena = search->arena;
    struct slice seen[REDIRECTS_MAX + 1];
    int64_t now_ms = clock_monotonic_ms(), half_ms = (search->deadline_ms - now_ms) / 2; /* the rest is for the steps after this */
    int64_t deadline_ms = now_ms + (half_ms < FETCH_MOST_MS ? half_ms : FETCH_MOST_MS);
    struct http_url url = {
        .host = hostname, .port = search->discovery->well_known_port, .uri = SLICE("/.well-known/matrix/server")};
    url.host_header = url.port == 443 ? hostname : arena_printf(arena, "%.*s:%d", PRI(hostname), url.port);
    for (int hop = 0; hop <= REDIRECTS_MAX; hop++) {
        struct http_answer answer;
        seen[hop] = http_url_write(arena, url.host, url.port, url.uri);
        for (int i = 0; i < hop; i++) {
            if (slice_eq(seen[i], seen[hop])) {
                finding->why = SLICE("a redirect loop");
                return;
            }
        }
        if (!fetch(search, &url, hop == 0, deadline_ms, &answer, finding))
            return;
        if (!is_redirect(answer.status)) {
            read_answer(search, &answer, finding);
            return;
        }
        if (slice_is_absent(answer.location) || !http_url_parse(arena, seen[hop], answer.location, &url)) {
            finding->why = SLICE("a redirect to what is not https");
            return;
        }
    }
    finding->why = SLICE("too many redirects");
}

/* ---- the cache */

static struct cache_value ask_the_server(struct search *search, struct slice hostname, const struct cache_value *outdated)
{
    struct finding finding = {.server = SLICE_ABSENT, .why = SLICE("")};
    follow(search, hostname, &finding);
    bool is_good = !slice_is_absent(finding.server);
    int64_t now_ms = search->discovery->wall_ms();
    struct cache_value made = {.verdict = is_good ? CACHE_GOOD : CACHE_BAD, .made_ms = now_ms};
    made.bytes = is_good ? finding.server : finding.why;
    made.failures = is_good ? 0 : outdated->failures + 1;
    made.valid_until_ms = now_ms + (is_good ? finding.lifetime_ms : well_known_retry_ms(made.failures));
    metric_add(is_good ? search->discovery->well_known_good : search->discovery->well_known_bad, 1);
    return made;
}

struct slice well_known_find(struct search *search, struct slice host)
{
    struct discovery *discovery = search->discovery;
    struct cache_value value;
    bool waited;
    switch (cache_ask(discovery->well_knowns, search->arena, host, discovery->wall_ms(), search->not_before_ms, search->deadline_ms,
                      &value, &waited)) {
    case CACHE_HIT:
        metric_add(discovery->well_known_hits, 1);
        break;
    case CACHE_TOO_LATE:
        search_step(search, "no well-known (time-out)");
        return SLICE_ABSENT;
    case CACHE_YOURS:
        value = ask_the_server(search, host, &value);
        cache_settle(discovery->well_knowns, host, &value);
        break;
    }
    search->valid_until_ms = value.valid_until_ms;
    if (value.verdict == CACHE_GOOD) {
        search_step(search, "well-known");
        return value.bytes;
    }
    search_step(search, "no well-known (%.*s)", PRI(value.bytes));
    return SLICE_ABSENT;
}
