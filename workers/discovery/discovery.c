/* The cache before the steps, and the bookkeeping behind them. See discovery.h. */
#include "workers/discovery/discovery.h"

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "workers/discovery/search.h"

#include <stdlib.h>

enum {
    RESULTS_BYTES = 4 * 1024 * 1024,
    WELL_KNOWNS_BYTES = 2 * 1024 * 1024,
    NOT_THERE_MS =
        10 *
        1000, /* the name does not exist: now; a server that was restarted has it again. The sender's back-off spares the peers */
    NOT_KNOWN_MS = 5 * 1000,     /* nobody could say */
    REFRESH_LEAST_MS = 5 * 1000, /* younger answers are good enough for everybody: many may ask to refresh at once */
};

static int64_t results_bytes(void *context)
{
    return (int64_t)cache_bytes(((struct discovery *)context)->results);
}

static int64_t well_knowns_bytes(void *context)
{
    return (int64_t)cache_bytes(((struct discovery *)context)->well_knowns);
}

static void create_metrics(struct discovery *discovery)
{
    static const char lookups[] = "myelin_discovery_lookups_total", lookups_help[] = "Server names looked up, by outcome";
    static const char hits[] = "myelin_discovery_cache_hits_total", hits_help[] = "Answers from the caches";
    static const char answers[] = "myelin_discovery_well_known_total",
                      answers_help[] = "Requests for well-known, by what came of them";
    static const char questions[] = "myelin_discovery_dns_questions_total", questions_help[] = "Questions to DNS, by answer";
    static const char bytes[] = "myelin_discovery_cache_bytes", bytes_help[] = "Bytes in the caches";
    static const char *const labels[DNS_STATUSES] = {"status=\"found\"", "status=\"nxdomain\"", "status=\"no_data\"",
                                                     "status=\"failed\"", "status=\"timeout\""};
    discovery->lookups_ok = metric_counter(lookups, lookups_help, "outcome=\"ok\"");
    discovery->lookups_failed = metric_counter(lookups, lookups_help, "outcome=\"not_found\"");
    discovery->lookups_invalid = metric_counter(lookups, lookups_help, "outcome=\"invalid\"");
    discovery->lookups_late = metric_counter(lookups, lookups_help, "outcome=\"deadline\"");
    discovery->coalesced =
        metric_counter("myelin_discovery_coalesced_total", "Look-ups that waited for an equal one under way", NULL);
    discovery->result_hits = metric_counter(hits, hits_help, "cache=\"results\"");
    discovery->well_known_hits = metric_counter(hits, hits_help, "cache=\"well_known\"");
    discovery->well_known_good = metric_counter(answers, answers_help, "outcome=\"good\"");
    discovery->well_known_bad = metric_counter(answers, answers_help, "outcome=\"bad\"");
    for (int i = 0; i < DNS_STATUSES; i++)
        discovery->dns_questions[i] = metric_counter(questions, questions_help, labels[i]);
    discovery->latency = metric_histogram_ms("myelin_discovery_lookup_milliseconds", "Look-ups that were not in the cache", NULL);
    metric_read_by(metric_gauge(bytes, bytes_help, "cache=\"results\""), results_bytes, discovery);
    metric_read_by(metric_gauge(bytes, bytes_help, "cache=\"well_known\""), well_knowns_bytes, discovery);
}

struct discovery *discovery_create(const struct discovery_options *options)
{
    struct discovery *discovery = calloc(1, sizeof *discovery);
    ensure(discovery);
    discovery->wall_ms = options->wall_ms ? options->wall_ms : clock_wall_ms;
    discovery->well_known_port = (int)options->settings->discovery_well_known_port;
    discovery->http = options->http;
    discovery->dns = dns_create(options->settings->discovery_dns_server);
    if (options->settings->discovery_hosts_file)
        discovery->hosts = hosts_file_create(options->hosts_path ? options->hosts_path : "/etc/hosts");
    discovery->results = cache_create(RESULTS_BYTES);
    discovery->well_knowns = cache_create(WELL_KNOWNS_BYTES);
    create_metrics(discovery);
    return discovery;
}

void discovery_destroy(struct discovery **discovery)
{
    struct discovery *it = *discovery;
    if (!it)
        return;
    cache_destroy(&it->results);
    cache_destroy(&it->well_knowns);
    hosts_file_destroy(&it->hosts);
    dns_destroy(&it->dns);
    free(it);
    *discovery = NULL;
}

/* ---- one look-up */

/* How long the answer counts: as long as DNS says, within bounds, and not longer than the well-known one. */
static int64_t valid_until(const struct search *search, int64_t now_ms)
{
    int64_t ttl_s = search->ttl_s < TTL_LEAST_S ? TTL_LEAST_S : search->ttl_s, until_ms = now_ms + ttl_s * 1000;
    return until_ms < search->valid_until_ms ? until_ms : search->valid_until_ms;
}

/* By the steps, into what the cache keeps. Absent bytes: not to be kept. */
static enum fault find_out(struct search *search, struct slice server_name, struct cache_value *value)
{
    struct resolve_reply reply = {.valid_until_ms = 0};
    struct packed packed;
    enum dns_status status;
    int64_t start_us = clock_monotonic_us();
    enum fault fault = resolve_steps(search, server_name, &reply, &status);
    int64_t now_ms = search->discovery->wall_ms();
    metric_observe_us(search->discovery->latency, clock_monotonic_us() - start_us);
    *value = (struct cache_value){.made_ms = now_ms, .verdict = fault ? CACHE_BAD : CACHE_GOOD};
    if (fault == FAULT_INVALID_PARAM) {
        value->bytes = SLICE_ABSENT;
        return fault;
    }
    if (fault) {
        bool is_late = clock_monotonic_ms() >= search->deadline_ms, is_definite = status == DNS_NO_NAME || status == DNS_NO_DATA;
        value->bytes = is_late ? SLICE_ABSENT : strbuf_slice(&search->steps);
        value->valid_until_ms = now_ms + (is_definite ? NOT_THERE_MS : NOT_KNOWN_MS);
        return is_late ? FAULT_DEADLINE : fault;
    }
    reply.valid_until_ms = value->valid_until_ms = valid_until(search, now_ms);
    reply.steps = strbuf_slice(&search->steps);
    message_find(MESSAGE_resolve)->pack_reply(search->arena, &reply, &packed);
    value->bytes = packed.head;
    return FAULT_OK;
}

static enum fault answer_from(struct arena *arena, const struct cache_value *value, struct resolve_reply *reply, struct slice *why)
{
    if (value->verdict == CACHE_BAD) {
        *why = value->bytes;
        return FAULT_PEER;
    }
    const struct packed packed = {.head = value->bytes};
    ensure(message_find(MESSAGE_resolve)->unpack_reply(arena, &packed, reply));
    return FAULT_OK;
}

static void count(struct discovery *discovery, enum fault fault)
{
    switch (fault) {
    case FAULT_OK:
        metric_add(discovery->lookups_ok, 1);
        break;
    case FAULT_INVALID_PARAM:
        metric_add(discovery->lookups_invalid, 1);
        break;
    case FAULT_DEADLINE:
        metric_add(discovery->lookups_late, 1);
        break;
    default:
        metric_add(discovery->lookups_failed, 1);
    }
}

static enum fault resolve(struct discovery *discovery, struct arena *arena, const struct resolve_request *request,
                          int64_t deadline_ms, struct resolve_reply *reply, struct slice *why)
{
    int64_t now_ms = discovery->wall_ms();
    struct search search = {.discovery = discovery,
                            .arena = arena,
                            .deadline_ms = deadline_ms,
                            .not_before_ms = request->refresh ? now_ms - REFRESH_LEAST_MS : INT64_MIN,
                            .steps = strbuf_in(arena),
                            .ttl_s = TTL_MOST_S,
                            .valid_until_ms = INT64_MAX};
    struct cache_value value;
    bool waited;
    enum cache_turn turn =
        cache_ask(discovery->results, arena, request->server_name, now_ms, search.not_before_ms, deadline_ms, &value, &waited);
    metric_add(discovery->coalesced, waited);
    if (turn == CACHE_TOO_LATE) {
        *why = SLICE("an equal look-up takes too long");
        return FAULT_DEADLINE;
    }
    if (turn == CACHE_HIT) {
        metric_add(discovery->result_hits, 1);
        return answer_from(arena, &value, reply, why);
    }
    enum fault fault = find_out(&search, request->server_name, &value);
    cache_settle(discovery->results, request->server_name, &value);
    if (fault == FAULT_OK || fault == FAULT_PEER)
        return answer_from(arena, &value, reply, why);
    *why = fault == FAULT_INVALID_PARAM ? SLICE("not a server name") : strbuf_slice(&search.steps);
    return fault;
}

enum fault discovery_resolve(struct discovery *discovery, struct arena *arena, const struct resolve_request *request,
                             int64_t deadline_ms, struct resolve_reply *reply, struct slice *why)
{
    enum fault fault = resolve(discovery, arena, request, deadline_ms, reply, why);
    count(discovery, fault);
    return fault;
}
