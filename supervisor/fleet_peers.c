/* What children are told of each other: the live list, ours and that of other machines, whole at every change. It is short (a
 * hundred bytes per process), so there is nothing to gain from telling differences, and nothing to get wrong. */
#include "supervisor/fleet.h"

#include <stdio.h>
#include <stdlib.h>

static void put_peer(struct json_writer *w, const struct peer *peer)
{
    char hex[17];
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)peer->instance);
    json_begin_object(w);
    json_put_cstr(w, "instance", hex);
    json_put_cstr(w, "kind", service_facts(peer->kind)->name);
    json_put_cstr(w, "endpoint", peer->endpoint);
    json_put_cstr(w, "publisher", peer->publisher);
    json_put_cstr(w, "version", peer->version);
    json_put_bool(w, "draining", peer->draining);
    json_end_object(w);
}

struct slice fleet_peers_packet(struct fleet *fleet, struct arena *arena)
{
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_cstr(&w, "type", "peers");
    json_put_i64(&w, "generation", ++fleet->generation);
    json_put_array(&w, "peers");
    for (const struct child *child = fleet->children; child; child = child->next)
        if (fleet_is_listed(fleet, child))
            put_peer(&w, &child->peer);
    for (size_t i = 0; i < fleet->remote_count; i++)
        put_peer(&w, &fleet->remote[i].peer);
    json_end_array(&w);
    json_end_object(&w);
    return json_done(&w);
}

void fleet_tell(struct fleet *fleet, struct slice json)
{
    for (struct child *child = fleet->children; child; child = child->next)
        child_send(child, json);
}

void fleet_push(struct fleet *fleet)
{
    struct arena *arena = arena_create(16 * 1024 * 1024);
    fleet_tell(fleet, fleet_peers_packet(fleet, arena));
    arena_destroy(&arena);
}

static bool same_remote(const struct fleet *fleet, const struct remote *remote, size_t count)
{
    if (count != fleet->remote_count)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct peer *a = &fleet->remote[i].peer, *b = &remote[i].peer;
        if (a->instance != b->instance || a->draining != b->draining || strcmp(a->endpoint, b->endpoint) != 0)
            return false;
    }
    return true;
}

void fleet_set_remote(struct fleet *fleet, struct remote *remote, size_t count)
{
    bool same = same_remote(fleet, remote, count);
    free(fleet->remote);
    fleet->remote = remote;
    fleet->remote_count = count;
    if (!same)
        fleet_push(fleet);
}
