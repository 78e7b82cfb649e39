/* GET and POST …/login, POST …/refresh (Client-Server API "Login", "Refreshing access tokens"). */
#include "lib/base/base64.h"
#include "lib/base/clock.h"
#include "proto/dispatch.h"
#include "workers/accounts/credentials.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/random_names.h"
#include "workers/accounts/refuse.h"
#include "workers/accounts/session.h"

struct reply login_flows(struct call *call)
{
    return reply_raw_json(SLICE("{\"flows\":[{\"type\":\"m.login.password\"}]}"));
}

static void put_well_known(struct json_writer *w, const char *base_url)
{
    if (!base_url[0])
        return;
    json_put_object(w, "well_known");
    json_put_object(w, "m.homeserver");
    json_put_cstr(w, "base_url", base_url);
    json_end_object(w);
    json_end_object(w);
}

struct reply login_user(struct call *call)
{
    static const struct body_member of_identifier[] = {{"type", JSON_STRING}, {"user", JSON_STRING}, {NULL, JSON_NULL}};
    const struct json *type = json_get_cstr(call->json, "type"), *password = json_get_cstr(call->json, "password");
    struct session session;
    struct reply answer;
    if (!json_is(type, JSON_STRING))
        return call_fail(call, type ? FAULT_BAD_JSON : FAULT_MISSING_PARAM, "type is missing or not a string");
    if (!slice_eq(type->text, SLICE("m.login.password")))
        return call_fail(call, FAULT_UNKNOWN, "Unknown login type");
    if (!json_is(password, JSON_STRING))
        return call_fail(call, password ? FAULT_BAD_JSON : FAULT_MISSING_PARAM, "password is missing or not a string");
    if (!session_from_body(call, &session, &answer))
        return answer;
    const struct json *identifier = json_get_cstr(call->json, "identifier");
    if (identifier && !json_is(identifier, JSON_OBJECT))
        return call_fail(call, FAULT_BAD_JSON, "identifier must be an object");
    if (!call_members_fit(call, identifier, of_identifier, &answer))
        return answer;
    struct slice typed = credentials_user(call, call->json);
    if (slice_is_absent(typed))
        typed = SLICE(""); /* nobody: takes as long and fails as a wrong password does */
    enum fault fault = credentials_check(call, typed, password->text, &session.user_id);
    if (fault == FAULT_FORBIDDEN)
        return call_fail(call, fault, "Invalid username or password");
    if (!fault)
        fault = session_open(call, &session);
    if (fault == FAULT_LIMIT_EXCEEDED)
        return refuse(call, 403, "M_FORBIDDEN", "This account has too many devices: delete some of them first");
    if (fault)
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    session_write(&w, &session);
    put_well_known(&w, worker_settings(call->worker)->public_base_url);
    json_end_object(&w);
    return reply_json(&w);
}

/* "The old refresh token remains valid until the new access token or refresh token is used": until the new refresh token is; the
 * use of an access token leaves no trace. A reply that got lost can thus be asked for again. */
struct reply refresh_token(struct call *call)
{
    struct slice token = json_get_string(call->json, "refresh_token"), hash;
    struct refresh_token_take_row row;
    if (slice_is_absent(token))
        return call_fail(call, FAULT_MISSING_PARAM, "refresh_token is missing");
    hash = token_hash(call->arena, token);
    struct db_batch *transaction = call_transaction(call);
    struct db_result *result = q_refresh_token_take(transaction, hash);
    enum fault fault = db_step(transaction);
    if (fault)
        return call_fail(call, fault, NULL);
    if (!refresh_token_take_next(result, &row) || row.is_deactivated) {
        db_rollback(transaction);
        return call_fail(call, FAULT_UNKNOWN_TOKEN, "This refresh token is unknown or was used before");
    }
    int64_t now = clock_wall_ms();
    struct session session = {.user_id = row.user_id,
                              .device_id = row.device_id,
                              .is_refreshable = true,
                              .access_token = random_token(call->arena, "mya_"),
                              .refresh_token = random_token(call->arena, "myr_")};
    session.dropped = q_tokens_drop(transaction, row.user_id, (struct slices){&row.device_id, 1});
    q_refresh_tokens_settle(transaction, row.user_id, row.device_id, hash);
    q_token_insert(transaction, token_hash(call->arena, session.access_token), row.user_id, row.device_id, now + REFRESHABLE_MS,
                   now);
    q_refresh_token_insert(transaction, token_hash(call->arena, session.refresh_token), row.user_id, row.device_id, now);
    if ((fault = db_commit(transaction)))
        return call_fail(call, fault, NULL);
    session_opened(call, &session);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "access_token", session.access_token);
    json_put_string(&w, "refresh_token", session.refresh_token);
    json_put_i64(&w, "expires_in_ms", REFRESHABLE_MS);
    json_end_object(&w);
    return reply_json(&w);
}
