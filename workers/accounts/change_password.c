/* POST …/account/password (Client-Server API "Account registration and management"). */
#include "proto/dispatch.h"
#include "workers/accounts/device_remove.h"
#include "workers/accounts/password.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/ui_auth.h"

struct reply change_password(struct call *call)
{
    static const struct body_member members[] = {{"logout_devices", JSON_BOOL}, {NULL, JSON_NULL}};
    struct reply answer;
    struct slices others;
    enum fault fault = ui_auth_recall(call);
    if (fault)
        return call_fail(call, fault, NULL);
    const struct json *given = json_get_cstr(call->json, "new_password");
    if (given && !json_is(given, JSON_STRING))
        return call_fail(call, FAULT_BAD_JSON, "new_password must be a string");
    if (given && !password_is_acceptable(given->text))
        return call_fail(call, FAULT_WEAK_PASSWORD, "The password is empty, too long or has a NUL");
    if (!call_members_fit(call, call->json, members, &answer) || !ui_auth(call, UI_PASSWORD, &answer))
        return answer;
    struct slice password = json_get_string(call->json, "new_password"), user_id = call->requester.user_id;
    if (slice_is_absent(password))
        return call_fail(call, FAULT_MISSING_PARAM, "new_password is missing");
    struct db_batch *batch = call_batch(call);
    q_account_set_password(batch, user_id, password_hash(call->arena, password));
    if ((fault = db_run(batch)))
        return call_fail(call, fault, NULL);
    if (!json_get_bool(call->json, "logout_devices", true))
        return reply_empty();
    if ((fault = devices_except(call, user_id, call->requester.device_id, &others)) ||
        (fault = devices_remove(call, user_id, others)))
        return call_fail(call, fault, NULL);
    return reply_empty();
}
