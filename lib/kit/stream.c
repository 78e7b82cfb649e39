/* Streams as handlers see them: publish after commit, listen, wake; and the payload of the most important stream, room events. */
#include "lib/kit/stream.h"

#include <stdlib.h>

#include "lib/base/ensure.h"
#include "lib/kit/link.h"
#include "lib/kit/stream_internal.h"
#include "proto/pack.h"

void stream_publish(struct worker *worker, enum stream_kind kind, struct slice key, int64_t pos, int64_t horizon,
                    struct slice payload)
{
    ensure(worker->facts->publishes);
    link_send_publication(worker->link, publication_create(kind, key, pos, horizon, payload), pos, horizon);
}

void stream_doubt(struct worker *worker)
{
    ensure(worker->facts->publishes);
    link_send_doubt(worker->link);
}

void stream_listen(struct worker *worker, enum service publisher_kind, stream_listener *listener, void *context)
{
    ensure(service_facts(publisher_kind)->publishes);
    struct listener *added = malloc(sizeof *added);
    ensure(added);
    *added = (struct listener){.kind = publisher_kind, .heard = listener, .context = context};
    struct listener **last = &worker->listeners;
    while (*last)
        last = &(*last)->next;
    *last = added;
}

void listeners_free(struct worker *worker)
{
    while (worker->listeners) {
        struct listener *listener = worker->listeners;
        worker->listeners = listener->next;
        free(listener);
    }
}

void stream_wake(struct worker *worker, struct slice topic)
{
    park_wake(worker->park, topic);
}

void stream_wake_all(struct worker *worker)
{
    park_wake_all(worker->park);
}

/* ---- STREAM_event: one array, fields in this order, new ones only at the end */

enum { EVENT_FIELDS = 20 };

struct slice stream_event_pack(struct arena *arena, const struct stream_event *event)
{
    struct strbuf out = strbuf_in(arena);
    strbuf_reserve(&out, event->json.len + 512);
    pack_array(&out, EVENT_FIELDS);
    pack_slice(&out, event->room_id);
    pack_slice(&out, event->event_id);
    pack_slice(&out, event->type);
    pack_slice(&out, event->state_key);
    pack_slice(&out, event->sender);
    pack_i64(&out, event->event_nid);
    pack_i64(&out, event->room_nid);
    pack_i64(&out, event->room_pos);
    pack_i64(&out, event->depth);
    pack_i64(&out, event->origin_server_ts);
    pack_slice(&out, event->json);
    pack_slice(&out, event->device_id);
    pack_slice(&out, event->txn_id);
    pack_bool(&out, event->soft_failed);
    pack_bool(&out, event->outlier);
    pack_bool(&out, event->state_changed);
    pack_bool(&out, event->local);
    pack_slices(&out, event->destinations);
    pack_slice(&out, event->membership);
    pack_slice(&out, event->previous_membership);
    return strbuf_slice(&out);
}

/* What an older publisher does not send reads as zero and absent. Nothing is touched on failure. */
bool stream_event_unpack(struct arena *arena, struct slice payload, struct stream_event *out)
{
    struct pack_reader reader = pack_reader_of(payload);
    struct stream_event event = {0};
    size_t left = pack_read_array(&reader);
#define TAKE(field, value) \
    if (left) { \
        event.field = value; \
        left--; \
    }
    TAKE(room_id, pack_read_slice(&reader))
    TAKE(event_id, pack_read_slice(&reader))
    TAKE(type, pack_read_slice(&reader))
    TAKE(state_key, pack_read_slice(&reader))
    TAKE(sender, pack_read_slice(&reader))
    TAKE(event_nid, pack_read_i64(&reader))
    TAKE(room_nid, pack_read_i64(&reader))
    TAKE(room_pos, pack_read_i64(&reader))
    TAKE(depth, pack_read_i64(&reader))
    TAKE(origin_server_ts, pack_read_i64(&reader))
    TAKE(json, pack_read_slice(&reader))
    TAKE(device_id, pack_read_slice(&reader))
    TAKE(txn_id, pack_read_slice(&reader))
    TAKE(soft_failed, pack_read_bool(&reader))
    TAKE(outlier, pack_read_bool(&reader))
    TAKE(state_changed, pack_read_bool(&reader))
    TAKE(local, pack_read_bool(&reader))
    TAKE(destinations, pack_read_slices(&reader, arena))
    TAKE(membership, pack_read_slice(&reader))
    TAKE(previous_membership, pack_read_slice(&reader))
#undef TAKE
    while (left-- && !reader.failed)
        pack_skip(&reader);
    if (reader.failed || !pack_at_end(&reader))
        return false;
    *out = event;
    return true;
}
