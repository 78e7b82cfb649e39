/* Templates of other servers; see template.h. */
#include "workers/federation/template.h"

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/base/uri.h"
#include "proto/stubs.h"
#include "workers/federation/gate.h"

enum fault event_sign(struct call *call, struct event *event)
{
    struct slice payload = event_signing_bytes(call->arena, event->version, event->json);
    struct sign_request request = {.payloads = {&payload, 1}};
    struct sign_reply reply;
    enum fault fault = call_sign(call, SLICE_ABSENT, &request, &reply);
    if (fault)
        return fault;
    ensure(reply.signatures.len == 1);
    event->raw = event_add_signature(call->arena, event->raw, server_name(), reply.key_id, reply.signatures.at[0]);
    return FAULT_OK;
}

static struct slice make_uri(struct call *call, const struct membership_flow *flow)
{
    struct strbuf uri = strbuf_in(call->arena);
    strbuf_printf(&uri, "/_matrix/federation/v1/%s/", flow->make);
    strbuf_add(&uri, uri_encode(call->arena, flow->room_id));
    strbuf_add_char(&uri, '/');
    strbuf_add(&uri, uri_encode(call->arena, flow->user_id));
    const struct room_version *version;
    for (size_t i = 0; flow->with_versions && (version = room_version_at(i)); i++)
        strbuf_printf(&uri, "%cver=%s", i ? '&' : '?', version->id);
    return strbuf_slice(&uri);
}

static struct slices strings_of(struct call *call, const struct json *array)
{
    struct slice *list = arena_new_array(call->arena, array ? array->count : 0, struct slice);
    size_t count = 0;
    json_each (item, array) {
        const struct json *id = json_is(item, JSON_ARRAY) ? item->first : item; /* versions 1 and 2: [id, hashes] */
        if (json_is(id, JSON_STRING))
            list[count++] = id->text;
    }
    return (struct slices){list, count};
}

/* The user's own content with what the template adds (join_authorised_via_users_server). */
static struct slice merged_content(struct call *call, const struct membership_flow *flow, const struct json *template)
{
    const struct json *own = slice_is_absent(flow->content) ? NULL : json_parse(call->arena, flow->content, JSON_LAX, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_cstr(&w, "membership", flow->membership);
    json_each (member, own) {
        if (slice_eq(member->key, SLICE("membership")) || slice_eq(member->key, SLICE("join_authorised_via_users_server")))
            continue;
        json_key(&w, member->key);
        json_add_value(&w, member);
    }
    json_put_string(&w, "join_authorised_via_users_server",
                    json_get_string(json_get_object(template, "content"), "join_authorised_via_users_server"));
    json_end_object(&w);
    return json_done(&w);
}

/* Room, sender and state key are ours to say, whatever the template has. */
static enum fault build(struct call *call, const struct membership_flow *flow, const struct json *template, struct templated *out)
{
    int64_t depth;
    const struct json *prev = json_get_array(template, "prev_events"), *auth = json_get_array(template, "auth_events");
    if (!prev || !auth || !json_get_i64(template, "depth", &depth))
        return FAULT_PEER;
    struct event_draft draft = {.type = SLICE("m.room.member"),
                                .state_key = flow->user_id,
                                .sender = flow->user_id,
                                .content = merged_content(call, flow, template),
                                .origin_server_ts = clock_wall_ms()};
    struct slice built =
        event_build(call->arena, out->version, &draft, flow->room_id, depth, strings_of(call, prev), strings_of(call, auth));
    if (slice_is_absent(built) || event_parse(call->arena, out->version, built, &out->event, NULL))
        return FAULT_PEER;
    return event_sign(call, out->event);
}

static enum fault through_one(struct call *call, const struct membership_flow *flow, struct slice server, struct templated *out)
{
    out->server = server;
    enum fault fault = peer_ask(call, server, "GET", make_uri(call, flow), SLICE_ABSENT, &out->answer);
    if (fault)
        return fault;
    const struct json *template = json_get_object(out->answer.json, "event");
    struct slice version = json_get_string(out->answer.json, "room_version");
    out->version = room_version_find(slice_is_absent(version) ? SLICE("1") : version);
    if (!out->version)
        return FAULT_INCOMPATIBLE_ROOM_VERSION;
    if (!template || (fault = build(call, flow, template, out)))
        return template ? fault : FAULT_PEER;
    struct slice uri = arena_printf(call->arena, "%s/%.*s/%.*s", flow->send, PRI(uri_encode(call->arena, flow->room_id)),
                                    PRI(uri_encode(call->arena, out->event->event_id)));
    if (!flow->finish_ms)
        return peer_ask(call, server, "PUT", uri, out->event->raw, &out->answer);
    int64_t finish_ms = clock_monotonic_ms() + flow->finish_ms;
    if (call->deadline_ms < finish_ms)
        call->deadline_ms = finish_ms;
    fault = peer_ask_large(call, server, "PUT", uri, out->event->raw, flow->finish_ms, &out->answer);
    if (fault && fault != FAULT_PEER_REFUSED)
        out->unanswered = server;
    return fault;
}

enum fault membership_through(struct call *call, const struct membership_flow *flow, struct slices servers, struct templated *out)
{
    enum fault last = FAULT_PEER;
    struct peer_answer refusal = {0};
    struct gate_place *gate; /* kept until the call ends: what follows on the answer waits for others too */
    enum fault entered = gate_enter(call, GATE_OUTBOUND, &gate);
    if (entered)
        return entered;
    const int64_t until_ms = call->deadline_ms; /* a join that is under way moves it, for itself */
    for (size_t i = 0; i < servers.len && clock_monotonic_ms() < until_ms; i++) {
        enum fault fault = through_one(call, flow, servers.at[i], out);
        if (fault == FAULT_OK)
            return FAULT_OK;
        log_event(LOG_INFO, "a membership flow failed at a server", LOG_CSTR("flow", flow->make), LOG_STR("server", servers.at[i]),
                  LOG_CSTR("fault", fault_facts(fault)->name), LOG_I64("status", out->answer.status));
        /* The first refusal tells the user most, unless a later server says that the rules forbid it. */
        if (fault == FAULT_PEER_REFUSED && (refusal.status == 0 || (refusal.status != 403 && out->answer.status == 403)))
            refusal = out->answer;
        if (last != FAULT_PEER_REFUSED || fault == FAULT_PEER_REFUSED)
            last = fault;
    }
    out->answer = refusal;
    return last;
}
