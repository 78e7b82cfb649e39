/* What we are: GET …/versions, the well-known files, …/capabilities (Client-Server API "API Versions", "Well-known URIs",
 * "Capabilities negotiation"; Server-Server API "Resolving server names"). */
#include "lib/matrix/room_version.h"
#include "proto/dispatch.h"

/* Only what is really here: a version is added when its endpoints are (facts/CLIENTS.md §3). v1.11 waits for media. */
static const char *const spec_versions[] = {"v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10"};
static const char *const features[] = {
    "org.matrix.msc2285.stable",                        /* private read receipts */
    "org.matrix.msc3827.stable",                        /* room types in the directory */
    "org.matrix.msc3967",                               /* first cross-signing keys without more proof */
    "org.matrix.e2e_cross_signing", "uk.tcpip.msc4133", /* profile fields */
    "uk.tcpip.msc4133.stable",
};

struct reply versions(struct call *call)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_array(&w, "versions");
    for (size_t i = 0; i < sizeof spec_versions / sizeof spec_versions[0]; i++)
        json_add_string(&w, slice_from_cstr(spec_versions[i]));
    json_end_array(&w);
    json_put_object(&w, "unstable_features");
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++)
        json_put_bool(&w, features[i], true);
    json_end_object(&w);
    json_end_object(&w);
    return reply_json(&w);
}

struct reply well_known_client(struct call *call)
{
    const char *base_url = worker_settings(call->worker)->public_base_url;
    if (!base_url[0])
        return call_fail(call, FAULT_NOT_FOUND, "There is no client well-known file here");
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_object(&w, "m.homeserver");
    json_put_cstr(&w, "base_url", base_url);
    json_end_object(&w);
    json_end_object(&w);
    return reply_json(&w);
}

struct reply well_known_server(struct call *call)
{
    const char *server = worker_settings(call->worker)->well_known_server;
    if (!server[0])
        return call_fail(call, FAULT_NOT_FOUND, "There is no server well-known file here");
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_cstr(&w, "m.server", server);
    json_end_object(&w);
    return reply_json(&w);
}

static void put_room_versions(struct json_writer *w, const char *default_version)
{
    const struct room_version *version;
    json_put_object(w, "m.room_versions");
    json_put_cstr(w, "default", default_version);
    json_put_object(w, "available");
    for (size_t i = 0; (version = room_version_at(i)); i++)
        json_put_cstr(w, version->id, version->stable ? "stable" : "unstable");
    json_end_object(w);
    json_end_object(w);
}

static void put_enabled(struct json_writer *w, const char *name, bool enabled)
{
    json_put_object(w, name);
    json_put_bool(w, "enabled", enabled);
    json_end_object(w);
}

struct reply capabilities(struct call *call)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_object(&w, "capabilities");
    put_room_versions(&w, worker_settings(call->worker)->default_room_version);
    put_enabled(&w, "m.change_password", true);
    put_enabled(&w, "m.set_displayname", true);
    put_enabled(&w, "m.set_avatar_url", true);
    put_enabled(&w, "m.profile_fields", true);
    put_enabled(&w, "m.3pid_changes", false);
    put_enabled(&w, "m.get_login_token", false);
    put_enabled(&w, "m.forget_forced_upon_leave", false);
    json_end_object(&w);
    json_end_object(&w);
    return reply_json(&w);
}
