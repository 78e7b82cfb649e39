/* Any content must be judged without harm: an event and the state it is judged against come from the input, for every room
 * version. Lines of the input: version, then one JSON object for the event and one for each state event, with type, state_key,
 * sender, content. What the rules decide is not of interest here; that they decide the same twice is. */
#include "lib/base/ensure.h"
#include "lib/matrix/auth_rules.h"
#include "lib/matrix/state_res.h"

enum { EVENTS_MAX = 12 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct event *event_from(struct arena *arena, const struct room_version *version, struct slice text, int number)
{
    struct json *json = json_parse(arena, text, version->strict_canonical_json ? JSON_CANONICAL : JSON_LAX, NULL);
    struct event *event = arena_new(arena, struct event);
    const struct json *content = json_get_object(json, "content");
    struct slice type = json_get_string(json, "type"), sender = json_get_string(json, "sender");
    if (!content || slice_is_absent(type) || slice_is_absent(sender))
        return NULL;
    *event = (struct event){
        .version = version,
        .event_id = arena_printf(arena, "$%d", number),
        .room_id = SLICE("!0:a"),
        .type = type,
        .state_key = json_get_string(json, "state_key"),
        .sender = sender,
        .redacts = json_get_string(json, "redacts"),
        .origin_server_ts = number,
        .depth = number,
        .content = content,
        .json = json,
    };
    return event;
}

/* The state events as a graph in which each cites all before it, and the state with and without each as sets. */
static void resolve(struct arena *arena, const struct room_version *version, struct event **events, uint32_t count)
{
    struct auth_graph_node nodes[EVENTS_MAX];
    struct state_entry entries[EVENTS_MAX];
    struct auth_graph graph = {nodes, 0};
    uint32_t before[EVENTS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        before[i] = i;
        if (!event_is_state(events[i]))
            return;
        nodes[i] = (struct auth_graph_node){events[i], before, i, i + 1};
        entries[i] = (struct state_entry){i + 1, i};
        for (uint32_t j = 0; j < i; j++) /* one key per pair */
            if (slice_eq(events[i]->type, events[j]->type) && slice_eq(events[i]->state_key, events[j]->state_key))
                return;
    }
    graph.count = count;
    struct state_set sets[] = {{entries, count}, {entries, count / 2}}, swapped[] = {sets[1], sets[0]}, out, again;
    state_resolve(arena, version, &graph, sets, 2, &out);
    state_resolve(arena, version, &graph, swapped, 2, &again);
    ensure(out.count == again.count);
    for (size_t i = 0; i < out.count; i++)
        ensure(out.entries[i].event == again.entries[i].event);
}

static void judge(struct arena *arena, struct event **events, size_t count)
{
    struct event_list_view view = event_list_view((const struct event *const *)events + 1, count - 1);
    const char *why = NULL, *again = NULL;
    enum fault fault = auth_check_state(arena, events[0], &view.view, &why);
    ensure(fault == FAULT_OK || (fault == FAULT_REJECTED && why));
    ensure(auth_check_state(arena, events[0], &view.view, &again) == fault && why == again);
    struct slice ids[EVENTS_MAX] = {{0}};
    events[0]->auth_events = (struct slices){ids, count - 1};
    fault = auth_check_auth_events(events[0], (const struct event *const *)events + 1, count - 1, SLICE("!0:a"), &why);
    ensure(fault == FAULT_OK || fault == FAULT_REJECTED);
    for (size_t i = 0; i < count; i++)
        server_acl_allows(events[i]->content, events[i]->sender);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create((size_t)1 << 28);
    struct slice rest = slice_of(data, size), line = SLICE(""), first;
    struct event *events[EVENTS_MAX];
    size_t count = 0;
    if (size && slice_cut(rest, '\n', &first, &rest)) {
        const struct room_version *version = room_version_find(first);
        while (version && count < EVENTS_MAX && slice_cut(rest, '\n', &line, &rest))
            if ((events[count] = event_from(arena, version, line, (int)count)))
                count++;
        if (count)
            judge(arena, events, count);
        if (count > 1)
            resolve(arena, version, events + 1, (uint32_t)count - 1);
    }
    arena_destroy(&arena);
    return 0;
}
