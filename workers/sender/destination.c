/* The state of destinations; see destination.h. */
#include "workers/sender/destination.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/map.h"

enum { EVICT_AFTER_MS = 10 * 60 * 1000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *by_server;

void destinations_start(void)
{
    by_server = map_create(NULL);
}

void destinations_lock(void)
{
    pthread_mutex_lock(&lock);
}

void destinations_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

void destinations_condition(pthread_cond_t *condition)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

bool destinations_wait(pthread_cond_t *condition, int64_t timeout_ms)
{
    int64_t until_ms = clock_monotonic_ms() + timeout_ms;
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    return pthread_cond_timedwait(condition, &lock, &until) != ETIMEDOUT;
}

/* ---- PDUs and flights */

struct pdu *pdu_create(int64_t nid, int64_t pos, struct slice json)
{
    struct pdu *pdu = malloc(sizeof *pdu + json.len);
    ensure(pdu);
    atomic_init(&pdu->references, 1);
    pdu->nid = nid;
    pdu->pos = pos;
    pdu->heard_us = clock_monotonic_us();
    pdu->len = json.len;
    memcpy(pdu->json, json.at, json.len);
    return pdu;
}

struct pdu *pdu_hold(struct pdu *pdu)
{
    atomic_fetch_add(&pdu->references, 1);
    return pdu;
}

void pdu_release(struct pdu *pdu)
{
    if (atomic_fetch_sub(&pdu->references, 1) == 1)
        free(pdu);
}

void flight_destroy(struct flight **flight)
{
    if (*flight)
        free((*flight)->body);
    free(*flight);
    *flight = NULL;
}

static bool carries(const int64_t *nids, size_t count, int64_t nid)
{
    for (size_t i = 0; i < count; i++) {
        if (nids[i] == nid)
            return true;
    }
    return false;
}

/* ---- destinations */

struct destination *destination_find(struct slice server)
{
    return map_get(by_server, server);
}

struct destination *destination_get(struct slice server)
{
    struct destination *destination = destination_find(server);
    if (!destination) {
        destination = calloc(1, sizeof *destination + server.len);
        ensure(destination);
        char *name = (char *)(destination + 1);
        memcpy(name, server.at, server.len);
        destination->server = slice_of(name, server.len);
        destination->slot = (int)(slice_hash(server) % 64); /* slot_of; here without the kit, so that tests need no worker */
        destination->is_live = true;
        map_put(by_server, destination->server, destination);
    }
    destination->used_ms = clock_monotonic_ms();
    return destination;
}

bool destination_next(size_t *at, struct destination **out)
{
    void *value;
    bool found = map_next(by_server, at, NULL, &value);
    if (found)
        *out = value;
    return found;
}

size_t destinations_count(void)
{
    return map_count(by_server);
}

static void drop_list(struct destination *destination)
{
    free(destination->list.nids);
    free(destination->list.positions);
    destination->list = (struct owed_list){0};
}

static void drop_queue(struct destination *destination)
{
    while (destination->queue_count)
        pdu_release(destination->queue[--destination->queue_count]);
    free(destination->queue);
    destination->queue = NULL;
}

static void destroy(struct destination *destination)
{
    drop_queue(destination);
    drop_list(destination);
    edu_queue_drop(&destination->edus, EDU_TO_DEVICE);
    flight_destroy(&destination->flight);
    free(destination->last_nids);
    free(destination);
}

void destinations_evict(int64_t now_ms)
{
    size_t at = 0;
    struct destination *destination;
    while (destination_next(&at, &destination)) {
        bool busy =
            destination->is_running || destination->is_ready || destination->has_row || destination_has_work(destination, true);
        if (busy || now_ms < destination->used_ms + EVICT_AFTER_MS || backoff_is_waiting(&destination->backoff, clock_wall_ms()))
            continue;
        map_remove(by_server, destination->server);
        destroy(destination);
    }
}

static void take_min(int64_t *min, int64_t pos)
{
    if (pos && (!*min || pos < *min))
        *min = pos;
}

int64_t undelivered_pos(const struct destination *destination)
{
    int64_t min = destination->owed_pos;
    take_min(&min, destination->asking_pos);
    if (destination->list.at < destination->list.count)
        take_min(&min, destination->list.positions[destination->list.at]);
    for (size_t i = 0; i < destination->queue_count; i++)
        take_min(&min, destination->queue[i]->pos);
    if (destination->flight && destination->flight->nid_count)
        take_min(&min, destination->flight->min_pos);
    return min;
}

bool destination_has_work(const struct destination *destination, bool owns)
{
    bool own_work = destination->owed_pos || destination->list.at < destination->list.count || destination->queue_count ||
                    destination->has_outbox;
    return destination->flight || destination->edus.count || (owns && own_work);
}

/* ---- changes */

void destination_owe(struct destination *destination, int64_t pos)
{
    take_min(&destination->owed_pos, pos);
    for (size_t i = 0; i < destination->queue_count; i++)
        take_min(&destination->owed_pos, destination->queue[i]->pos);
    drop_queue(destination);
    destination->is_live = false;
}

void destination_push(struct destination *destination, struct pdu *pdu)
{
    for (size_t i = 0; i < destination->queue_count; i++) {
        if (destination->queue[i]->nid == pdu->nid)
            return;
    }
    if (!destination->is_live || destination->queue_count == QUEUE_PDUS_MAX) {
        destination_owe(destination, pdu->pos);
        return;
    }
    if (!destination->queue) {
        destination->queue = calloc(QUEUE_PDUS_MAX, sizeof(struct pdu *));
        ensure(destination->queue);
    }
    destination->queue[destination->queue_count++] = pdu_hold(pdu);
}

/* Frees the array too when nothing is left: most destinations are idle most of the time. */
static void remove_from_queue(struct destination *destination, const int64_t *nids, size_t count)
{
    size_t left = 0;
    for (size_t i = 0; i < destination->queue_count; i++) {
        if (carries(nids, count, destination->queue[i]->nid))
            pdu_release(destination->queue[i]);
        else
            destination->queue[left++] = destination->queue[i];
    }
    destination->queue_count = left;
    if (!left)
        drop_queue(destination);
}

void destination_set_list(struct destination *destination, struct owed_list list)
{
    size_t left = 0;
    for (size_t i = 0; i < list.count; i++) {
        if (carries(destination->last_nids, destination->last_count, list.nids[i]))
            continue;
        list.nids[left] = list.nids[i];
        list.positions[left++] = list.positions[i];
    }
    list.count = left;
    drop_list(destination);
    destination->list = list;
    free(destination->last_nids);
    destination->last_nids = NULL;
    destination->last_count = 0;
    remove_from_queue(destination, list.nids, list.count);
    if (!list.count)
        drop_list(destination);
}

void destination_skip(struct destination *destination, size_t count)
{
    struct owed_list *list = &destination->list;
    list->at = list->count - list->at < count ? list->count : list->at + count;
    if (list->at == list->count)
        drop_list(destination);
}

void destination_landed(struct destination *destination)
{
    struct flight *flight = destination->flight;
    if (destination->narrowness > 0)
        destination->narrowness--; /* a wide one may do again */
    remove_from_queue(destination, flight->nids, flight->nid_count);
    struct owed_list *list = &destination->list;
    while (list->at < list->count && carries(flight->nids, flight->nid_count, list->nids[list->at]))
        list->at++;
    if (list->at == list->count)
        drop_list(destination);
    free(destination->last_nids);
    destination->last_nids = NULL;
    destination->last_count = 0;
    if (destination->owed_pos && flight->nid_count) {
        destination->last_nids = malloc(sizeof flight->nids);
        ensure(destination->last_nids);
        memcpy(destination->last_nids, flight->nids, sizeof flight->nids);
        destination->last_count = flight->nid_count;
    }
    flight_destroy(&destination->flight);
}

/* Halved so often that one of each is left, and then once more: an event goes without EDUs. */
enum { NARROWEST = 8 };
_Static_assert(TRANSACTION_PDUS_MAX >> (NARROWEST - 1) == 0 && TRANSACTION_EDUS_MAX >> (NARROWEST - 1) == 0, "halved to nothing");

size_t destination_pdus_max(const struct destination *destination)
{
    size_t max = TRANSACTION_PDUS_MAX >> destination->narrowness;
    return max ? max : 1;
}

size_t destination_edus_max(const struct destination *destination, size_t pdu_count)
{
    size_t max = TRANSACTION_EDUS_MAX >> destination->narrowness;
    return destination->narrowness == NARROWEST && pdu_count ? 0 : max ? max : 1;
}

bool destination_narrow(struct destination *destination)
{
    const struct flight *flight = destination->flight;
    bool alone = flight->nid_count + flight->edu_count == 1;
    if (!alone && destination->narrowness < NARROWEST)
        destination->narrowness++;
    return alone;
}

void destination_give_up(struct destination *destination)
{
    const struct flight *flight = destination->flight;
    int64_t *nids = malloc(sizeof flight->nids);
    ensure(nids);
    memcpy(nids, flight->nids, sizeof flight->nids);
    size_t count = flight->nid_count;
    destination_landed(destination);
    free(destination->last_nids);
    destination->last_nids = nids; /* the next list starts at the same position, perhaps */
    destination->last_count = count;
}

void destination_fall_back(struct destination *destination, bool owns)
{
    int64_t pos = undelivered_pos(destination);
    drop_list(destination);
    if (pos && owns)
        destination_owe(destination, pos);
    struct flight *flight = destination->flight;
    bool stranger = flight && !owns && flight->nid_count; /* the events are another worker's now */
    if (flight && (stranger || flight->len > FLIGHT_KEPT_BYTES_MAX || clock_monotonic_ms() > flight->made_ms + FLIGHT_KEPT_MS)) {
        destination->has_outbox |= flight->edu_row_count > 0;
        flight_destroy(&destination->flight);
    }
    edu_queue_drop(&destination->edus, EDU_TYPING); /* old news by the next attempt */
}

void destination_lose(struct destination *destination)
{
    drop_queue(destination);
    drop_list(destination);
    destination->owed_pos = destination->asking_pos = destination->saved_owed_pos = 0;
    destination->has_row = destination->has_outbox = destination->backoff_known = false;
    destination->is_live = true; /* for when it comes back */
    struct flight *flight = destination->flight;
    if (flight && !destination->is_running && (flight->nid_count || flight->edu_row_count))
        flight_destroy(&destination->flight);
}
