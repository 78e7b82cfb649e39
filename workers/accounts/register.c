/* POST …/register and GET …/register/available (Client-Server API "Account registration and management"). */
#include "proto/dispatch.h"
#include "workers/accounts/account_create.h"
#include "workers/accounts/password.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/random_names.h"
#include "workers/accounts/session.h"
#include "workers/accounts/ui_auth.h"
#include "workers/accounts/user_name.h"

struct reply register_available(struct call *call)
{
    struct slice username = call_query(call, "username");
    if (slice_is_absent(username))
        return call_fail(call, FAULT_MISSING_PARAM, "username is missing");
    struct slice user_id = user_id_to_register(call->arena, username, server_name());
    if (slice_is_absent(user_id))
        return call_fail(call, FAULT_INVALID_USERNAME, NULL);
    enum fault fault = account_is_free(call, user_id);
    return fault ? call_fail(call, fault, NULL) : reply_raw_json(SLICE("{\"available\":true}"));
}

static struct reply registered_reply(struct call *call, const struct session *session)
{
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    session_write(&w, session);
    json_end_object(&w);
    return reply_json(&w);
}

static struct reply create(struct call *call, const struct new_account *account, struct session *session, bool with_login)
{
    struct db_batch *batch = call_batch(call);
    session->user_id = account->user_id;
    account_add(call, batch, account);
    if (with_login)
        session_add(call, batch, session);
    enum fault fault = account_run(batch);
    return fault ? call_fail(call, fault, NULL) : registered_reply(call, session);
}

/* "All parameters … with the exception of initial_device_display_name MUST be ignored." */
static struct reply register_guest(struct call *call)
{
    struct session session;
    struct reply answer;
    if (!worker_settings(call->worker)->guest_registration)
        return call_fail(call, FAULT_FORBIDDEN, "Guests may not register here");
    if (!session_from_body(call, &session, &answer))
        return answer;
    session.device_id = SLICE_ABSENT;
    session.is_refreshable = false;
    struct slice user_id = arena_printf(call->arena, "@guest-%.*s:%.*s", PRI(random_localpart(call->arena)), PRI(server_name()));
    struct new_account account = {.user_id = user_id, .is_guest = true};
    return create(call, &account, &session, true);
}

/* The wanted user id; a random one when the body names none. False: *answer. "Homeservers MUST perform the relevant checks … before
 * performing User-Interactive Authentication." */
static bool choose_name(struct call *call, struct slice *user_id, struct reply *answer)
{
    const struct json *username = json_get_cstr(call->json, "username");
    struct slice wanted = username && !json_is(username, JSON_NULL) ? json_string(username) : random_localpart(call->arena);
    if (slice_is_absent(wanted)) {
        *answer = call_fail(call, FAULT_BAD_JSON, "username must be a string");
        return false;
    }
    *user_id = user_id_to_register(call->arena, wanted, server_name());
    if (slice_is_absent(*user_id)) {
        *answer = call_fail(call, FAULT_INVALID_USERNAME, "User names have small letters, digits and ._=-/+ only");
        return false;
    }
    enum fault fault = account_is_free(call, *user_id);
    if (fault)
        *answer = call_fail(call, fault, NULL);
    return fault == FAULT_OK;
}

static bool choose_password(struct call *call, struct slice *password, struct reply *answer)
{
    const struct json *value = json_get_cstr(call->json, "password");
    *password = json_string(value);
    if (!value || json_is(value, JSON_NULL))
        return true;
    if (json_is(value, JSON_STRING) && password_is_acceptable(*password))
        return true;
    *answer = json_is(value, JSON_STRING) ? call_fail(call, FAULT_WEAK_PASSWORD, "The password is empty, too long or has a NUL")
                                          : call_fail(call, FAULT_BAD_JSON, "password must be a string");
    return false;
}

struct reply register_user(struct call *call)
{
    struct slice kind = call_query(call, "kind"), user_id, password;
    struct session session;
    struct reply answer;
    if (slice_eq(kind, SLICE("guest")))
        return register_guest(call);
    if (!slice_is_absent(kind) && !slice_eq(kind, SLICE("user")))
        return call_fail(call, FAULT_UNRECOGNIZED, "kind must be user or guest");
    if (!worker_settings(call->worker)->open_registration)
        return call_fail(call, FAULT_FORBIDDEN, "Registration is disabled");
    enum fault fault = ui_auth_recall(call);
    if (fault)
        return call_fail(call, fault, NULL);
    if (!choose_name(call, &user_id, &answer) || !choose_password(call, &password, &answer) ||
        !session_from_body(call, &session, &answer) || !ui_auth(call, UI_DUMMY, &answer))
        return answer;
    struct new_account account = {.user_id = user_id, .password = password};
    return create(call, &account, &session, !json_get_bool(call->json, "inhibit_login", false));
}
