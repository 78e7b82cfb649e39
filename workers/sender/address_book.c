/* Addresses of servers; see address_book.h. */
#include "workers/sender/address_book.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/lru.h"
#include "proto/stubs.h"

enum { BOOK_BYTES = 4 * 1024 * 1024, REMEMBER_MS = 5 * 60 * 1000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lru *book; /* guarded by lock */

void address_book_start(void)
{
    book = lru_create(BOOK_BYTES, free);
}

static bool find(struct slice server, struct address_entry *out)
{
    pthread_mutex_lock(&lock);
    const struct address_entry *entry = lru_get(book, server);
    bool found = entry && entry->valid_until_ms > clock_wall_ms();
    if (found)
        *out = *entry;
    pthread_mutex_unlock(&lock);
    return found;
}

static void remember(struct slice server, const struct address_entry *entry)
{
    struct address_entry *copy = malloc(sizeof *copy);
    ensure(copy);
    *copy = *entry;
    int64_t last_ms = clock_wall_ms() + REMEMBER_MS;
    if (copy->valid_until_ms > last_ms)
        copy->valid_until_ms = last_ms;
    pthread_mutex_lock(&lock);
    lru_put(book, server, copy, sizeof *copy);
    pthread_mutex_unlock(&lock);
}

static bool fits(char *out, size_t size, struct slice text)
{
    if (slice_is_absent(text) || text.len >= size)
        return false;
    memcpy(out, text.at, text.len);
    out[text.len] = '\0';
    return true;
}

enum fault address_book_get(struct call *call, struct slice server, bool refresh, struct address_entry *out, bool *remembered)
{
    *remembered = !refresh && find(server, out);
    if (*remembered)
        return FAULT_OK;
    struct resolve_request request = {.server_name = server, .refresh = refresh};
    struct resolve_reply reply;
    enum fault fault = call_resolve(call, server, &request, &reply);
    if (fault)
        return fault;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < reply.addresses.len && i < reply.ports.len && out->count < ADDRESSES_MAX; i++) {
        if (fits(out->addresses[out->count], sizeof out->addresses[0], reply.addresses.at[i]))
            out->ports[out->count++] = (int)reply.ports.at[i];
    }
    if (!out->count || !fits(out->host_header, sizeof out->host_header, reply.host_header) ||
        !fits(out->certificate_name, sizeof out->certificate_name, reply.certificate_name))
        return FAULT_PEER;
    out->valid_until_ms = reply.valid_until_ms;
    remember(server, out);
    return FAULT_OK;
}

bool address_entry_same(const struct address_entry *a, const struct address_entry *b)
{
    return a->count == b->count && memcmp(a->addresses, b->addresses, sizeof a->addresses) == 0 &&
           memcmp(a->ports, b->ports, sizeof a->ports) == 0 && strcmp(a->host_header, b->host_header) == 0 &&
           strcmp(a->certificate_name, b->certificate_name) == 0;
}
