/* What strangers' servers send to discovery. The well-known answer: body, Cache-Control and Expires on lines of their own; a name
 * that is accepted is a server name, a lifetime is within its bounds. With a first byte of 0xff: a DNS message, its type in the
 * second. */
#include "lib/base/ensure.h"
#include "lib/matrix/ids.h"
#include "workers/discovery/dns.h"
#include "workers/discovery/srv.h"
#include "workers/discovery/well_known_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int64_t minute_ms = 60 * 1000, now_ms = INT64_C(1700000000000);

static void try_well_known(struct arena *arena, struct slice input)
{
    struct slice body = input, headers = SLICE(""), cache_control = SLICE_ABSENT, expires = SLICE_ABSENT;
    const char *why = NULL;
    if (slice_cut(input, '\n', &body, &headers) && !slice_cut(headers, '\n', &cache_control, &expires))
        cache_control = headers;
    struct slice server = well_known_server(arena, body, &why);
    ensure(slice_is_absent(server) ? why != NULL : server_name_is_valid(server));
    int64_t lifetime_ms = well_known_lifetime_ms(arena, cache_control, expires, now_ms);
    ensure(lifetime_ms >= minute_ms && lifetime_ms <= 48 * 60 * minute_ms);
}

static uint32_t first_of(uint32_t bound)
{
    return bound - 1;
}

static void try_dns(struct arena *arena, uint8_t type, struct slice message)
{
    struct dns_question question = {.name = SLICE("a.b"), .type = type};
    dns_answer_read(arena, message, &question);
    ensure(question.addresses.len <= DNS_ADDRESSES_MAX && question.service_count <= DNS_SRV_MAX);
    ensure(question.status == DNS_FOUND || question.status == DNS_NO_DATA || question.status == DNS_FAILED);
    ensure(question.ttl_s >= 0 && (question.status != DNS_FOUND || question.addresses.len || question.service_count));
    srv_order((struct dns_srv *)(uintptr_t)question.services, question.service_count, first_of);
    for (size_t i = 1; i < question.service_count; i++)
        ensure(question.services[i - 1].priority <= question.services[i].priority);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(1 << 26);
    bool is_dns = size > 2 && data[0] == 0xff && (data[1] == DNS_A || data[1] == DNS_AAAA || data[1] == DNS_SRV);
    if (is_dns)
        try_dns(arena, data[1], slice_of(data + 2, size - 2));
    else
        try_well_known(arena, slice_of(data, size));
    arena_destroy(&arena);
    return 0;
}
