/* Writing transactions and reading their answers; see transaction.h. */
#include "workers/sender/transaction.h"

#include <inttypes.h>
#include <stdio.h>

struct slice transaction_body(struct arena *arena, struct slice origin, int64_t now_ms, struct slices pdus, struct slices edus)
{
    struct json_writer w = json_writer_in(arena);
    size_t size = 128 + origin.len;
    for (size_t i = 0; i < pdus.len; i++)
        size += pdus.at[i].len + 1;
    for (size_t i = 0; i < edus.len; i++)
        size += edus.at[i].len + 1;
    strbuf_reserve(&w.out, size);
    json_begin_object(&w);
    if (edus.len) {
        json_put_array(&w, "edus");
        for (size_t i = 0; i < edus.len; i++)
            json_add_raw(&w, edus.at[i]);
        json_end_array(&w);
    }
    json_put_string(&w, "origin", origin);
    json_put_i64(&w, "origin_server_ts", now_ms);
    json_put_array(&w, "pdus");
    for (size_t i = 0; i < pdus.len; i++)
        json_add_raw(&w, pdus.at[i]);
    json_end_array(&w);
    json_end_object(&w);
    return json_done(&w);
}

void transaction_id(char out[TRANSACTION_ID_BYTES], uint64_t instance, int64_t now_ms, uint64_t count)
{
    snprintf(out, TRANSACTION_ID_BYTES, "%" PRId64 "-%016" PRIx64 "-%" PRIu64, now_ms, instance, count);
}

size_t transaction_errors(struct arena *arena, struct slice answer, struct slice *event_ids, struct slice *errors, size_t max)
{
    size_t count = 0;
    json_each (pdu, json_get_object(json_parse(arena, answer, JSON_LAX, NULL), "pdus")) {
        struct slice error = json_get_string(pdu, "error");
        if (slice_is_absent(error) || count == max)
            continue;
        event_ids[count] = pdu->key;
        errors[count++] = error;
    }
    return count;
}
