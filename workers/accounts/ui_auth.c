/* User-interactive authentication; see ui_auth.h. A session belongs to one endpoint, path and user. It remembers the request, which
 * the client may leave out later, and, once its stage is passed, answers for exactly that request only: so a lost reply can be
 * asked for again, and nobody can carry a proof over to another deed. The request may hold a password: it is stored encrypted with
 * a key that only the session id gives, and of that only a hash is stored. */
#include "workers/accounts/ui_auth.h"

#include <sodium.h>

#include "lib/base/base64.h"
#include "lib/base/clock.h"
#include "workers/accounts/credentials.h"
#include "workers/accounts/expiry.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/random_names.h"

static const char *const stage_names[] = {"m.login.dummy", "m.login.password"};

struct ui_session {
    struct slice id; /* absent: none */
    bool is_complete;
    struct slice request; /* canonical, without "auth" */
};

static struct slice operation_of(struct call *call)
{
    struct slice path = call->http->target, query, user = call->requester.user_id;
    slice_cut(path, '?', &path, &query);
    return arena_printf(call->arena, "%s %.*s %.*s", call->route->handler, PRI(user), PRI(path));
}

static struct slice request_without_auth(struct call *call)
{
    static const char *const without[] = {"auth", NULL};
    return json_canonical(call->arena, call->json, without);
}

static struct slice stored_id(struct call *call, struct slice id)
{
    return hex_encode(call->arena, token_hash(call->arena, id));
}

static void key_of(struct slice id, unsigned char key[crypto_secretbox_KEYBYTES])
{
    static const unsigned char purpose[] = "ui_auth_session.request";
    crypto_generichash(key, crypto_secretbox_KEYBYTES, (const unsigned char *)id.at, id.len, purpose, sizeof purpose - 1);
}

static struct slice seal(struct call *call, struct slice id, struct slice request)
{
    unsigned char key[crypto_secretbox_KEYBYTES];
    size_t len = crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES + request.len;
    unsigned char *sealed = arena_alloc(call->arena, len);
    key_of(id, key);
    randombytes_buf(sealed, crypto_secretbox_NONCEBYTES);
    crypto_secretbox_easy(sealed + crypto_secretbox_NONCEBYTES, (const unsigned char *)request.at, request.len, sealed, key);
    sodium_memzero(key, sizeof key);
    return slice_of(sealed, len);
}

/* Absent: the bytes are not what we stored. */
static struct slice unseal(struct call *call, struct slice id, struct slice sealed)
{
    unsigned char key[crypto_secretbox_KEYBYTES];
    const size_t around = crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES;
    const unsigned char *bytes = (const unsigned char *)sealed.at;
    if (sealed.len < around)
        return SLICE_ABSENT;
    unsigned char *request = arena_alloc(call->arena, sealed.len - around + 1);
    key_of(id, key);
    int failed = crypto_secretbox_open_easy(request, bytes + crypto_secretbox_NONCEBYTES, sealed.len - crypto_secretbox_NONCEBYTES,
                                            bytes, key);
    sodium_memzero(key, sizeof key);
    return failed ? SLICE_ABSENT : slice_of(request, sealed.len - around);
}

static enum fault session_find(struct call *call, struct slice id, struct ui_session *session)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_ui_session_find(batch, stored_id(call, id), operation_of(call), clock_wall_ms() - UI_SESSION_MS);
    enum fault fault = db_run(batch);
    struct ui_session_find_row row;
    *session = (struct ui_session){0};
    if (!fault && ui_session_find_next(result, &row))
        *session = (struct ui_session){id, row.stages.len > 0, unseal(call, id, row.request)};
    return fault;
}

static enum fault session_create(struct call *call, struct ui_session *session)
{
    *session = (struct ui_session){random_token(call->arena, ""), false, request_without_auth(call)};
    struct db_batch *batch = call_batch(call);
    q_ui_session_insert(batch, stored_id(call, session->id), operation_of(call), seal(call, session->id, session->request),
                        clock_wall_ms());
    return db_run(batch);
}

/* The 401 that asks for the stage; errcode and error only after a failed attempt. */
static struct reply challenge(struct call *call, enum ui_stage stage, struct ui_session *session, const char *errcode,
                              const char *error)
{
    enum fault fault = slice_is_absent(session->id) ? session_create(call, session) : FAULT_OK;
    if (fault)
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    if (errcode) {
        json_put_cstr(&w, "errcode", errcode);
        json_put_cstr(&w, "error", error);
    }
    json_put_raw(&w, "completed", SLICE("[]"));
    json_put_array(&w, "flows");
    json_begin_object(&w);
    json_put_array(&w, "stages");
    json_add_string(&w, slice_from_cstr(stage_names[stage]));
    json_end_array(&w);
    json_end_object(&w);
    json_end_array(&w);
    json_put_raw(&w, "params", SLICE("{}"));
    json_put_string(&w, "session", session->id);
    json_end_object(&w);
    call->detail = error ? error : "user-interactive authentication";
    return reply_status(401, json_done(&w));
}

/* OK; FORBIDDEN: another attempt is fine; REJECTED: these are another user's credentials. */
static enum fault run_stage(struct call *call, enum ui_stage stage, const struct json *auth)
{
    if (stage == UI_DUMMY)
        return FAULT_OK;
    struct slice user_id, typed = credentials_user(call, auth), password = json_get_string(auth, "password");
    if (slice_is_absent(password))
        return FAULT_FORBIDDEN;
    if (!json_get_cstr(auth, "identifier") && !json_get_cstr(auth, "user"))
        typed = call->requester.user_id;
    if (slice_is_absent(typed))
        return FAULT_FORBIDDEN;
    enum fault fault = credentials_check(call, typed, password, &user_id);
    return fault || slice_eq(user_id, call->requester.user_id) ? fault : FAULT_REJECTED;
}

static enum fault complete(struct call *call, enum ui_stage stage, const struct ui_session *session)
{
    if (slice_is_absent(session->id))
        return FAULT_OK;
    struct db_batch *batch = call_batch(call);
    q_ui_session_complete(batch, stored_id(call, session->id), slice_from_cstr(stage_names[stage]),
                          seal(call, session->id, request_without_auth(call)));
    return db_run(batch);
}

/* The client may send nothing but "auth" once the session knows the request. */
static void take_request(struct call *call, const struct ui_session *session)
{
    const struct json *request =
        slice_is_absent(session->request) ? NULL : json_parse(call->arena, session->request, JSON_LAX, NULL);
    if (request && call->json->count == 1)
        call->json = request;
}

enum fault ui_auth_recall(struct call *call)
{
    struct slice id = json_get_string(json_get_object(call->json, "auth"), "session");
    struct ui_session session;
    if (slice_is_absent(id) || slice_has_nul(id) || call->json->count != 1)
        return FAULT_OK;
    enum fault fault = session_find(call, id, &session);
    const struct json *request =
        fault || slice_is_absent(session.request) ? NULL : json_parse(call->arena, session.request, JSON_LAX, NULL);
    if (!request)
        return fault;
    struct json_writer w = json_writer_in(call->arena); /* what was said before, with this attempt's "auth" */
    json_begin_object(&w);
    json_each (member, request) {
        json_key(&w, member->key);
        json_add_value(&w, member);
    }
    json_key_cstr(&w, "auth");
    json_add_value(&w, json_get_cstr(call->json, "auth"));
    json_end_object(&w);
    call->json = json_parse(call->arena, json_done(&w), JSON_LAX, NULL);
    return FAULT_OK;
}

bool ui_auth(struct call *call, enum ui_stage stage, struct reply *answer)
{
    const struct json *auth = json_get_cstr(call->json, "auth");
    if (auth && !json_is(auth, JSON_OBJECT)) {
        *answer = call_fail(call, FAULT_BAD_JSON, "auth must be an object");
        return false;
    }
    struct slice id = json_get_string(auth, "session"), type = json_get_string(auth, "type");
    struct ui_session session = {0};
    enum fault fault = slice_is_absent(id) || slice_has_nul(id) ? FAULT_OK : session_find(call, id, &session);
    if (fault) {
        *answer = call_fail(call, fault, NULL);
        return false;
    }
    if (session.is_complete) {
        if (call->json->count == 1 || slice_eq(session.request, request_without_auth(call))) {
            take_request(call, &session);
            return true;
        }
        session = (struct ui_session){0};
    }
    if (slice_is_absent(type)) {
        *answer = challenge(call, stage, &session, NULL, NULL);
        return false;
    }
    if (!slice_eq(type, slice_from_cstr(stage_names[stage]))) {
        *answer = challenge(call, stage, &session, "M_UNRECOGNIZED", "This is not a stage of a flow offered here");
        return false;
    }
    fault = run_stage(call, stage, auth);
    if (fault == FAULT_REJECTED)
        *answer = call_fail(call, FAULT_FORBIDDEN, "These are another user's credentials");
    else if (fault == FAULT_FORBIDDEN)
        *answer = challenge(call, stage, &session, "M_FORBIDDEN", "Invalid password");
    else if (fault)
        *answer = call_fail(call, fault, NULL);
    if (fault)
        return false;
    take_request(call, &session);
    if ((fault = complete(call, stage, &session)))
        *answer = call_fail(call, fault, NULL);
    return fault == FAULT_OK;
}
