/* Reading the answer of send_join; see join_answer.h. Each event is parsed once here for its id and references, a portion at a
 * time, and once more when its turn comes to be checked and stored: parsing is cheaper than keeping what it makes. */
#include "workers/federation/join_answer.h"

#include "lib/base/json_spans.h"
#include "lib/base/log.h"
#include "lib/base/map.h"

enum { NAMED_MAX = AUTH_EVENTS_MAX + 1, PORTION = 500, PORTION_BYTES = 1024 * 1024 };

static enum fault no_answer(struct call *call, const char *why)
{
    call->why = slice_from_cstr(why);
    return FAULT_PEER;
}

static void drop_ids(void *answer)
{
    map_destroy(&((struct join_answer *)answer)->ids);
}

/* ---- the lists */

/* The three members that matter; the last may be absent, and empty lists are an absent one's meaning. */
static enum fault find_members(struct call *call, struct slice body, struct slice *auth_chain, struct slice *state,
                               struct slice *event)
{
    struct json_spans spans;
    struct slice key, value, *found[3] = {auth_chain, state, event};
    const struct slice names[3] = {SLICE("auth_chain"), SLICE("state"), SLICE("event")};
    *auth_chain = *state = *event = SLICE_ABSENT;
    if (json_spans_begin(&spans, call->arena, body, JSON_OBJECT))
        while (json_spans_next(&spans, &key, &value))
            for (size_t i = 0; i < 3; i++) {
                if (!slice_eq(key, names[i]))
                    continue;
                if (!slice_is_absent(*found[i]))
                    return no_answer(call, "duplicate key");
                *found[i] = value;
            }
    return spans.error ? no_answer(call, spans.error) : FAULT_OK;
}

static enum fault count_list(struct call *call, struct slice list, size_t *count)
{
    *count = 0;
    if (slice_is_absent(list) || json_spans_count(call->arena, list, count))
        return FAULT_OK;
    return no_answer(call, "state or auth_chain is not an array");
}

static void take_list(struct call *call, struct join_answer *answer, struct slice list, bool is_state)
{
    struct json_spans spans;
    struct slice text;
    if (!slice_is_absent(list) && json_spans_begin(&spans, call->arena, list, JSON_ARRAY))
        while (json_spans_next(&spans, NULL, &text))
            answer->pdus[answer->count++] = (struct join_pdu){.text = text, .is_state = is_state};
}

/* ---- ids and references */

static uint32_t number_of(struct join_answer *answer, struct slice id)
{
    int64_t number;
    if (!map_get_i64(answer->ids, id, &number)) {
        number = (int64_t)map_count(answer->ids);
        answer->pdu_of[number] = -1;
        map_put_i64(answer->ids, id, number);
    }
    return (uint32_t)number;
}

static void identify(struct call *call, const struct room_version *version, struct slice room_id, struct join_answer *answer,
                     size_t index)
{
    struct join_pdu *pdu = &answer->pdus[index];
    struct event *event;
    const char *why = "not an event";
    if (event_parse(call->arena, version, pdu->text, &event, &why) || !slice_eq(event->room_id, room_id)) {
        pdu->is_left_out = true;
        log_event(LOG_DEBUG, "an event of a send_join answer is left out", LOG_STR("room", room_id), LOG_CSTR("why", why));
        return;
    }
    uint32_t number = number_of(answer, event->event_id);
    if (answer->pdu_of[number] >= 0) { /* state that is in the auth chain too: the first one stays */
        answer->pdus[answer->pdu_of[number]].is_state |= pdu->is_state;
        pdu->is_left_out = true;
        return;
    }
    answer->pdu_of[number] = (int64_t)index;
    for (size_t i = 0; i < event->auth_events.len; i++)
        pdu->auth[pdu->auth_count++] = number_of(answer, event->auth_events.at[i]);
    if (event_is_state_of(event, "m.room.create", SLICE("")) && answer->create == answer->count)
        answer->create = index;
}

static void identify_all(struct call *call, const struct room_version *version, struct slice room_id, struct join_answer *answer)
{
    for (size_t at = 0; at < answer->count;) {
        struct arena_mark mark = arena_mark(call->arena);
        size_t bytes = 0;
        for (size_t taken = 0; at < answer->count && taken < PORTION && bytes < PORTION_BYTES; taken++) {
            bytes += answer->pdus[at].text.len;
            identify(call, version, room_id, answer, at++);
        }
        arena_release(call->arena, mark);
    }
}

/* ---- the order */

/* Depth-first, without recursion: an event goes out when the auth events that came along are out. One that is met again while it is
 * open authorises itself: whoever closed the circle is left out (versions 1 and 2 only; later ids are hashes). */
static void put_out(struct join_answer *answer, uint8_t *states, uint32_t *stack, size_t root)
{
    enum { UNSEEN, OPEN, DONE };
    size_t depth = 0;
    if (states[root] == UNSEEN && !answer->pdus[root].is_left_out)
        stack[depth++] = (uint32_t)root;
    while (depth) {
        uint32_t at = stack[depth - 1];
        struct join_pdu *pdu = &answer->pdus[at];
        bool waits = false;
        if (states[at] == DONE) {
            depth--;
            continue;
        }
        states[at] = OPEN;
        for (size_t i = 0; i < pdu->auth_count && !waits; i++) {
            int64_t auth = answer->pdu_of[pdu->auth[i]];
            if (auth < 0 || states[auth] == DONE)
                continue;
            if (states[auth] == OPEN) {
                log_event(LOG_DEBUG, "events of a send_join answer authorise each other");
                pdu->is_left_out = true;
                break;
            }
            stack[depth++] = (uint32_t)auth;
            waits = true;
        }
        if (waits)
            continue; /* its auth event first, then this one again */
        states[at] = DONE;
        depth--;
        if (!pdu->is_left_out)
            answer->order[answer->order_count++] = at;
    }
}

static void sort(struct call *call, struct join_answer *answer)
{
    uint8_t *states = arena_new_array(call->arena, answer->count, uint8_t);
    uint32_t *stack = arena_new_array(call->arena, answer->count + 1, uint32_t);
    answer->order = arena_new_array(call->arena, answer->count, uint32_t);
    if (answer->create < answer->count)
        put_out(answer, states, stack, answer->create); /* in version 12 nobody names it, and everybody needs it */
    for (size_t i = 0; i < answer->count; i++)
        put_out(answer, states, stack, i);
}

enum fault join_answer_read(struct call *call, const struct room_version *version, struct slice room_id, struct slice body,
                            struct join_answer *out)
{
    struct slice auth_chain, state;
    size_t auth_count, state_count;
    struct join_answer *answer = arena_new(call->arena, struct join_answer);
    enum fault fault;
    if ((fault = find_members(call, body, &auth_chain, &state, &answer->event)) ||
        (fault = count_list(call, auth_chain, &auth_count)) || (fault = count_list(call, state, &state_count)))
        return fault;
    size_t room = auth_count + state_count;
    answer->pdus = arena_new_array(call->arena, room, struct join_pdu);
    answer->pdu_of = arena_new_array(call->arena, room * NAMED_MAX, int64_t);
    answer->ids = map_create(NULL);
    arena_defer(call->arena, drop_ids, answer);
    take_list(call, answer, auth_chain, false);
    take_list(call, answer, state, true);
    answer->create = answer->count;
    identify_all(call, version, room_id, answer);
    sort(call, answer);
    *out = *answer;
    return FAULT_OK;
}

struct slices join_answer_state_ids(struct call *call, const struct join_answer *answer)
{
    struct slice *ids = arena_new_array(call->arena, answer->count, struct slice), id;
    size_t count = 0;
    int64_t number;
    for (size_t at = 0; map_next_i64(answer->ids, &at, &id, &number);) {
        int64_t index = answer->pdu_of[number];
        if (index >= 0 && answer->pdus[index].is_state && answer->pdus[index].state_key_nid)
            ids[count++] = id;
    }
    return (struct slices){ids, count};
}
