/* Answers as they come from the wire. By hand, because c-ares 1.18 has no TTLs for SRV; the names on the way are followed like a
 * resolver does: records count only when their owner is the name asked for or at the end of its chain of CNAMEs. */
#include "workers/discovery/dns.h"

#include <ares.h>
#include <arpa/inet.h>

enum { HEADER_BYTES = 12, CLASS_IN = 1, TYPE_CNAME = 5, CHAIN_MAX = 16, TTL_MAX_S = 7 * 24 * 3600 };

struct record {
    struct slice owner;
    unsigned type, class;
    int64_t ttl_s;
    size_t data, data_len; /* offset in the message */
};

struct reader {
    struct arena *arena;
    const unsigned char *at;
    size_t len, next;
};

static unsigned number16(const unsigned char *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

/* A name, perhaps compressed, at the offset. *size: what it takes there. False: malformed. */
static bool read_name(const struct reader *reader, size_t offset, struct slice *name, size_t *size)
{
    char *text;
    long used;
    if (offset >= reader->len || ares_expand_name(reader->at + offset, reader->at, (int)reader->len, &text, &used) != ARES_SUCCESS)
        return false;
    *name = arena_copy(reader->arena, slice_from_cstr(text));
    ares_free_string(text);
    *size = (size_t)used;
    return true;
}

static bool skip_questions(struct reader *reader)
{
    struct slice ignored;
    size_t size;
    for (unsigned left = number16(reader->at + 4); left; left--) {
        if (!read_name(reader, reader->next, &ignored, &size))
            return false;
        reader->next += size + 4;
    }
    return true;
}

static bool next_record(struct reader *reader, struct record *out)
{
    size_t size;
    if (!read_name(reader, reader->next, &out->owner, &size) || reader->len - reader->next < size + 10)
        return false;
    const unsigned char *at = reader->at + reader->next + size;
    out->type = number16(at);
    out->class = number16(at + 2);
    out->ttl_s = (int64_t)number16(at + 4) << 16 | number16(at + 6);
    if (out->ttl_s > TTL_MAX_S) /* also those with the top bit, which RFC 2181 calls zero */
        out->ttl_s = out->ttl_s >> 31 ? 0 : TTL_MAX_S;
    out->data_len = number16(at + 8);
    out->data = reader->next + size + 10;
    reader->next = out->data + out->data_len;
    return reader->next <= reader->len;
}

/* ---- collecting */

static bool same_name(struct slice a, struct slice b)
{
    if (a.len && a.at[a.len - 1] == '.')
        a.len--;
    if (b.len && b.at[b.len - 1] == '.')
        b.len--;
    return slice_eq_ignoring_case(a, b);
}

static void take_ttl(struct dns_question *question, const struct record *record, bool *seen)
{
    if (!*seen || record->ttl_s < question->ttl_s)
        question->ttl_s = record->ttl_s;
    *seen = true;
}

static bool add_address(const struct reader *reader, const struct record *record, struct dns_question *question)
{
    char text[INET6_ADDRSTRLEN];
    bool v6 = record->type == DNS_AAAA;
    struct slice *list = (struct slice *)(uintptr_t)question->addresses.at;
    if (record->data_len != (v6 ? 16u : 4u))
        return false;
    if (question->addresses.len == DNS_ADDRESSES_MAX)
        return true;
    inet_ntop(v6 ? AF_INET6 : AF_INET, reader->at + record->data, text, sizeof text);
    list[question->addresses.len++] = arena_copy(reader->arena, slice_from_cstr(text));
    return true;
}

static bool add_service(const struct reader *reader, const struct record *record, struct dns_question *question)
{
    struct dns_srv *list = (struct dns_srv *)(uintptr_t)question->services, *service = &list[question->service_count];
    const unsigned char *at = reader->at + record->data;
    size_t size;
    if (record->data_len < 7)
        return false;
    if (question->service_count == DNS_SRV_MAX)
        return true;
    if (!read_name(reader, record->data + 6, &service->target, &size) || size + 6 != record->data_len)
        return false;
    service->priority = (int)number16(at);
    service->weight = (int)number16(at + 2);
    service->port = (int)number16(at + 4);
    question->service_count++;
    return true;
}

/* Chains may come in any order, though servers send them in the right one. */
static struct slice follow_names(const struct reader *reader, const struct record *records, size_t count,
                                 struct dns_question *question, bool *seen)
{
    struct slice name = question->name;
    for (int steps = 0; steps < CHAIN_MAX; steps++) {
        size_t i = 0, size;
        while (i < count && !(records[i].type == TYPE_CNAME && records[i].class == CLASS_IN && same_name(records[i].owner, name)))
            i++;
        if (i == count || !read_name(reader, records[i].data, &name, &size))
            break;
        take_ttl(question, &records[i], seen);
    }
    return name;
}

void dns_answer_read(struct arena *arena, struct slice message, struct dns_question *question)
{
    struct reader reader = {arena, (const unsigned char *)message.at, message.len, HEADER_BYTES};
    bool seen = false;
    question->status = DNS_FAILED;
    question->ttl_s = 0;
    question->addresses = (struct slices){arena_new_array(arena, DNS_ADDRESSES_MAX, struct slice), 0};
    question->services = arena_new_array(arena, DNS_SRV_MAX, struct dns_srv);
    question->service_count = 0;
    if (message.len < HEADER_BYTES || !skip_questions(&reader))
        return;
    size_t count = number16(reader.at + 6), found = 0;
    if (count > message.len / 11) /* fewer bytes than the smallest records take */
        return;
    struct record *records = arena_new_array(arena, count, struct record);
    for (size_t i = 0; i < count; i++) {
        if (!next_record(&reader, &records[i]))
            return;
    }
    struct slice name = follow_names(&reader, records, count, question, &seen);
    for (size_t i = 0; i < count; i++) {
        if (records[i].type != question->type || records[i].class != CLASS_IN || !same_name(records[i].owner, name))
            continue;
        if (!(question->type == DNS_SRV ? add_service(&reader, &records[i], question)
                                        : add_address(&reader, &records[i], question)))
            return;
        take_ttl(question, &records[i], &seen);
        found++;
    }
    question->status = found ? DNS_FOUND : DNS_NO_DATA;
    if (!found)
        question->ttl_s = 0;
}
