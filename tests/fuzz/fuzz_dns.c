/* DNS messages from whoever answers first. The first byte chooses the type that was asked for, the rest is the message. */
#include "lib/base/ensure.h"
#include "workers/discovery/dns.h"
#include "workers/discovery/srv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t first_of(uint32_t bound)
{
    return bound - 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum dns_type types[] = {DNS_A, DNS_AAAA, DNS_SRV};
    if (!size)
        return 0;
    struct arena *arena = arena_create(1 << 26);
    struct dns_question question = {.name = SLICE("a.b"), .type = types[data[0] % 3]};
    dns_answer_read(arena, slice_of(data + 1, size - 1), &question);
    ensure(question.addresses.len <= DNS_ADDRESSES_MAX && question.service_count <= DNS_SRV_MAX);
    ensure(question.status == DNS_FOUND || question.status == DNS_NO_DATA || question.status == DNS_FAILED);
    ensure(question.ttl_s >= 0 && (question.status != DNS_FOUND || question.addresses.len || question.service_count));
    ensure(question.type == DNS_SRV ? !question.addresses.len : !question.service_count);
    for (size_t i = 0; i < question.service_count; i++)
        ensure(question.services[i].port >= 0 && question.services[i].port <= 65535);
    srv_order((struct dns_srv *)(uintptr_t)question.services, question.service_count, first_of);
    for (size_t i = 1; i < question.service_count; i++)
        ensure(question.services[i - 1].priority <= question.services[i].priority);
    arena_destroy(&arena);
    return 0;
}
