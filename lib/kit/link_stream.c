/* Publications on the link thread: the sequence is given here, where they leave; every listener sees per publisher whether one is
 * missing. XPUB tells when somebody subscribes: then a tick goes out at once, so that a new listener knows from which sequence on
 * it hears everything, and what came before it reads from the database. frames: [stream kind: 1 byte] [sequence:8 instance:8 pos:8
 * horizon:8, little-endian] [key] [payload, if there is one] */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/kit/link.h"
#include "lib/kit/queries.h"
#include "lib/kit/stream_internal.h"

enum {
    TICK_MS = 1000,
    BURST = 1024,
    NOT_POLLED = 0,
    FACTS_BYTES = 32,
    HORIZON_WITHIN_MS = 5000,
    DOUBT_MS = 3000,     /* by then what was on its way has been committed or not */
    DOUBT_EACH_MS = 500, /* a gap makes every listener read: not more often than that */
};

struct subscription {
    struct subscription *next;
    uint64_t instance;
    enum service kind;
    void *socket;
    size_t poll_index;
    uint64_t sequence; /* of the last one heard; 0: none yet */
};

/* A publisher that is gone: its commits may come to light a little later than its end. */
struct departure {
    struct departure *next;
    enum service kind;
    int64_t again_ms;
};

/* ---- publishing */

struct parcel *publication_create(enum stream_kind kind, struct slice key, int64_t pos, int64_t horizon, struct slice payload)
{
    uint8_t topic = (uint8_t)kind;
    uint64_t facts[FACTS_BYTES / 8] = {0, 0, htole64((uint64_t)pos), htole64((uint64_t)horizon)};
    struct slice rest[] = {slice_of(facts, sizeof facts), slice_is_absent(key) ? SLICE("") : key, payload};
    size_t count = slice_is_absent(payload) ? 2 : 3;
    return parcel_create(SLICE_ABSENT, NULL, slice_of(&topic, 1), (struct slices){rest, count});
}

static void send_to_all(struct link *link, struct parcel *parcel)
{
    for (int i = 0; i < ROUTER_COUNT; i++) {
        if (!link->publishers[i])
            continue;
        poll_set_used(&link->polled, link->publishers[i]);
        for (size_t frame = 0; frame < parcel->count; frame++) {
            zmq_msg_t copy;
            zmq_msg_init(&copy);
            ensure(zmq_msg_copy(&copy, &parcel->frames[frame]) == 0);
            int flags = ZMQ_DONTWAIT | (frame + 1 < parcel->count ? ZMQ_SNDMORE : 0);
            if (zmq_msg_send(&copy, link->publishers[i], flags) < 0)
                zmq_msg_close(&copy); /* it shows as a gap */
        }
    }
    parcel_destroy(&parcel);
}

void streams_publish(struct link *link, struct parcel *parcel, int64_t pos, int64_t horizon)
{
    uint64_t own[2] = {htole64(++link->published), htole64(link->worker->instance)};
    memcpy(zmq_msg_data(&parcel->frames[1]), own, sizeof own);
    if (pos > link->highest_pos)
        link->highest_pos = pos;
    if (horizon > link->known_horizon)
        link->known_horizon = horizon;
    send_to_all(link, parcel);
}

static void publish_tick(struct link *link)
{
    streams_publish(link, publication_create(STREAM_tick, SLICE(""), 0, link->known_horizon, SLICE_ABSENT), 0, 0);
}

/* On a handler thread: the link thread does not wait for the database. */
static void read_horizon(struct call *call, void *context)
{
    struct link *link = context;
    call->deadline_ms = clock_monotonic_ms() + HORIZON_WITHIN_MS;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_stream_horizon(batch);
    struct stream_horizon_row row = {0};
    if (db_run(batch) == FAULT_OK) {
        stream_horizon_next(result, &row);
        atomic_store(&link->horizon_read_ms, clock_monotonic_ms());
    }
    link_send_publication(link, publication_create(STREAM_tick, SLICE(""), 0, row.horizon, SLICE_ABSENT), 0, row.horizon);
    atomic_store(&link->is_reading_horizon, false);
}

/* ---- doubts: a sequence number that nobody gets is a gap to everybody */

static void show_doubt(struct link *link, int64_t now_ms)
{
    link->doubt_shown_ms = now_ms;
    link->doubt_is_new = false;
    link->published++;
    publish_tick(link);
}

void streams_doubt(struct link *link)
{
    int64_t now_ms = clock_monotonic_ms();
    link->doubted_ms = now_ms;
    link->doubt_is_new = true;
    if (!link->doubt_shown_ms || now_ms - link->doubt_shown_ms >= DOUBT_EACH_MS)
        show_doubt(link, now_ms);
}

/* When the last gap for the last doubt is due. As long as PostgreSQL does not answer (it may be frozen with our commit in its
 * hands) that is not known: INT64_MAX. */
static int64_t doubt_over_ms(const struct link *link)
{
    if (!link->worker->db)
        return link->doubted_ms + DOUBT_MS;
    int64_t read_ms = atomic_load(&link->horizon_read_ms);
    return read_ms > link->doubted_ms ? read_ms + DOUBT_MS : INT64_MAX;
}

static void tend_doubt(struct link *link, int64_t now_ms)
{
    if (!link->doubted_ms)
        return;
    bool is_over = now_ms >= doubt_over_ms(link);
    if (is_over || (link->doubt_is_new && now_ms - link->doubt_shown_ms >= DOUBT_EACH_MS))
        show_doubt(link, now_ms);
    if (is_over)
        link->doubted_ms = 0;
}

/* ---- ticks */

/* The horizon is read only while something that we published may lie above it, or to learn whether PostgreSQL is there: an idle
 * publisher leaves the database alone. */
static void tick(struct link *link, int64_t now_ms)
{
    link->tick_ms = now_ms + TICK_MS;
    bool is_unanswered = link->doubted_ms && doubt_over_ms(link) == INT64_MAX;
    if ((link->highest_pos < link->known_horizon && !is_unanswered) || !link->worker->db) {
        publish_tick(link);
    } else if (!atomic_exchange(&link->is_reading_horizon, true)) {
        if (!worker_enqueue(link->worker, SLICE_ABSENT, read_horizon, link))
            atomic_store(&link->is_reading_horizon, false);
    }
}

static void tell(struct link *link, enum service kind, const struct stream_hint *hint, bool gap);

static void tell_departures(struct link *link, int64_t now_ms)
{
    for (struct departure **place = &link->departures; *place;) {
        struct departure *departure = *place;
        if (now_ms < departure->again_ms) {
            place = &departure->next;
            continue;
        }
        *place = departure->next;
        tell(link, departure->kind, NULL, true);
        free(departure);
    }
}

void streams_tick(struct link *link, int64_t now_ms)
{
    tell_departures(link, now_ms);
    if (!link->worker->facts->publishes)
        return;
    tend_doubt(link, now_ms);
    if (now_ms >= link->tick_ms)
        tick(link, now_ms);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t streams_next_ms(const struct link *link)
{
    int64_t next_ms = link->worker->facts->publishes ? link->tick_ms : INT64_MAX;
    for (const struct departure *departure = link->departures; departure; departure = departure->next)
        next_ms = earlier(next_ms, departure->again_ms);
    if (link->doubted_ms)
        next_ms = earlier(next_ms, doubt_over_ms(link));
    if (link->doubted_ms && link->doubt_is_new)
        next_ms = earlier(next_ms, link->doubt_shown_ms + DOUBT_EACH_MS);
    return next_ms;
}

/* ---- listening */

static void tell(struct link *link, enum service kind, const struct stream_hint *hint, bool gap)
{
    for (struct listener *listener = link->worker->listeners; listener; listener = listener->next) {
        if (listener->kind == kind)
            listener->heard(link->worker, hint, gap, listener->context);
    }
}

static bool is_wanted(const struct worker *worker, enum service kind)
{
    for (const struct listener *listener = worker->listeners; listener; listener = listener->next) {
        if (listener->kind == kind)
            return true;
    }
    return false;
}

static void take_hint(struct link *link, struct subscription *subscription, const struct slice *frames, size_t count)
{
    uint64_t facts[FACTS_BYTES / 8];
    if (count < 3 || frames[0].len != 1 || frames[1].len < sizeof facts)
        return;
    memcpy(facts, frames[1].at, sizeof facts);
    uint64_t sequence = le64toh(facts[0]);
    bool is_new = subscription->sequence == 0; /* sequences count from 1 */
    bool gap = is_new || sequence != subscription->sequence + 1;
    subscription->sequence = sequence;
    if (gap)
        tell(link, subscription->kind, NULL, true);
    struct stream_hint hint = {
        .kind = (enum stream_kind)(uint8_t)frames[0].at[0],
        .publisher_kind = subscription->kind,
        .key = frames[2],
        .payload = count > 3 ? frames[3] : SLICE_ABSENT,
        .pos = (int64_t)le64toh(facts[2]),
        .horizon = (int64_t)le64toh(facts[3]),
    };
    tell(link, subscription->kind, &hint, false);
}

/* One whole publication; false when there is none. The frames stay ZeroMQ's and are gone when the listeners return. */
static bool take_publication(struct link *link, struct subscription *subscription)
{
    enum { FRAMES = 4 };
    zmq_msg_t messages[FRAMES];
    struct slice frames[FRAMES];
    size_t count = 0;
    for (int more = 1; more;) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, subscription->socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&frame);
            if (errno == EINTR)
                continue;
            ensure(count == 0);
            return false;
        }
        more = zmq_msg_more(&frame);
        if (count == FRAMES) {
            zmq_msg_close(&frame); /* from a newer version */
            continue;
        }
        messages[count] = frame;
        frames[count] = slice_of(zmq_msg_data(&messages[count]), zmq_msg_size(&messages[count]));
        count++;
    }
    take_hint(link, subscription, frames, count);
    while (count)
        zmq_msg_close(&messages[--count]);
    return true;
}

/* What a publisher that died had committed but not published is in the database only: its end is a gap. And what it had sent to
 * PostgreSQL when it died is not even there yet, but may be soon: another one follows. */
static void leave(struct link *link, struct subscription **place)
{
    struct subscription *subscription = *place;
    *place = subscription->next;
    while (take_publication(link, subscription))
        continue;
    zmq_close(subscription->socket);
    tell(link, subscription->kind, NULL, true);
    struct departure *departure = malloc(sizeof *departure);
    ensure(departure);
    *departure = (struct departure){link->departures, subscription->kind, clock_monotonic_ms() + DOUBT_MS};
    link->departures = departure;
    free(subscription);
    link->polled_stale = true;
}

static bool is_subscribed(const struct link *link, uint64_t instance)
{
    const struct subscription *subscription = link->subscriptions;
    while (subscription && subscription->instance != instance)
        subscription = subscription->next;
    return subscription != NULL;
}

static bool is_live(const struct link *link, uint64_t instance)
{
    for (size_t i = 0; i < link->peers->count; i++) {
        if (link->peers->at[i].instance == instance)
            return true;
    }
    return false;
}

void streams_update(struct link *link)
{
    for (struct subscription **place = &link->subscriptions; *place;) {
        if (is_live(link, (*place)->instance))
            place = &(*place)->next;
        else
            leave(link, place);
    }
    for (size_t i = 0; i < link->peers->count; i++) {
        const struct peer *peer = &link->peers->at[i];
        if (!peer->publisher[0] || !is_wanted(link->worker, peer->kind) || is_subscribed(link, peer->instance))
            continue;
        char endpoint[160];
        link_nearest_endpoint(link, peer, true, endpoint, sizeof endpoint);
        void *socket = link_connect(link, ZMQ_SUB, endpoint);
        if (!socket)
            continue;
        struct subscription *subscription = calloc(1, sizeof *subscription);
        ensure(subscription);
        *subscription =
            (struct subscription){.next = link->subscriptions, .instance = peer->instance, .kind = peer->kind, .socket = socket};
        link->subscriptions = subscription;
        link->polled_stale = true;
    }
}

/* ---- the loop's view */

void streams_poll_items(struct link *link)
{
    for (int i = 0; i < ROUTER_COUNT; i++) {
        if (link->publishers[i]) {
            link->publisher_items[i] = poll_set_add(&link->polled, link->publishers[i], -1);
        }
    }
    for (struct subscription *subscription = link->subscriptions; subscription; subscription = subscription->next) {
        subscription->poll_index = poll_set_add(&link->polled, subscription->socket, -1);
    }
}

static void take_subscribers(struct link *link, int publisher)
{
    char frame[16];
    bool came = false;
    for (int len; (len = zmq_recv(link->publishers[publisher], frame, sizeof frame, ZMQ_DONTWAIT)) >= 0;)
        came |= len > 0 && frame[0] == 1;
    if (came)
        publish_tick(link);
}

void streams_poll_done(struct link *link)
{
    const struct poll_item *items = link->polled.items;
    for (int i = 0; i < ROUTER_COUNT; i++) {
        if (link->publishers[i] && items[link->publisher_items[i]].ready)
            take_subscribers(link, i);
    }
    for (struct subscription *subscription = link->subscriptions; subscription; subscription = subscription->next) {
        if (subscription->poll_index == NOT_POLLED || !items[subscription->poll_index].ready)
            continue;
        for (int i = 0; i < BURST && take_publication(link, subscription); i++)
            continue;
    }
}

void streams_close(struct link *link)
{
    while (link->subscriptions) {
        struct subscription *subscription = link->subscriptions;
        link->subscriptions = subscription->next;
        zmq_close(subscription->socket);
        free(subscription);
    }
    while (link->departures) {
        struct departure *departure = link->departures;
        link->departures = departure->next;
        free(departure);
    }
}
