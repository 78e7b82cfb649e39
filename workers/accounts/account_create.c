/* Making accounts; see account_create.h. */
#include "workers/accounts/account_create.h"

#include "lib/base/clock.h"
#include "proto/dispatch.h"
#include "workers/accounts/password.h"
#include "workers/accounts/profile_fields.h"
#include "workers/accounts/push_defaults.h"
#include "workers/accounts/expiry.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/user_name.h"

void account_add(struct call *call, struct db_batch *batch, const struct new_account *account)
{
    struct slice hash = slice_is_absent(account->password) ? SLICE_ABSENT : password_hash(call->arena, account->password);
    q_account_insert(batch, account->user_id, hash, clock_wall_ms(), account->is_admin, account->is_guest);
    q_account_data_set(batch, account->user_id, SLICE(""), SLICE("m.push_rules"), push_defaults(call->arena, account->user_id),
                       ACCOUNT_DATA_MAX);
    if (slice_is_absent(account->displayname) || account->displayname.len == 0)
        return;
    struct json_writer w = json_writer_in(call->arena);
    json_add_string(&w, account->displayname);
    q_profile_set(batch, account->user_id, SLICE("displayname"), json_done(&w), PROFILE_BYTES_MAX);
}

enum fault account_run(struct db_batch *batch)
{
    enum fault fault = db_run(batch);
    bool taken = fault == FAULT_CONFLICT && strcmp(db_constraint(batch), "account_pkey") == 0;
    return taken ? FAULT_USER_IN_USE : fault;
}

enum fault account_is_free(struct call *call, struct slice user_id)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_accounts_find(batch, (struct slices){&user_id, 1});
    enum fault fault = db_run(batch);
    struct accounts_find_row row;
    if (fault)
        return fault;
    return accounts_find_next(result, &row) ? FAULT_USER_IN_USE : FAULT_OK;
}

/* ---- message user_create: from the tool and for application services. Again is fine as long as it is the same user. */
enum fault answer_user_create(struct call *call, const struct user_create_request *request, struct user_create_reply *reply)
{
    struct slice local = SLICE_ABSENT, user_id = SLICE_ABSENT;
    if (!slice_is_absent(request->user_id) && !slice_has_nul(request->user_id))
        user_id = user_id_to_log_in(call->arena, request->user_id, server_name());
    if (!slice_is_absent(user_id))
        local = slice_sub(user_id, 1, user_id.len - server_name().len - 2);
    if (slice_is_absent(local) || slice_is_absent(user_id_to_register(call->arena, local, server_name()))) {
        call->why = SLICE("not a valid user name here: small letters, digits and ._=-/+");
        return FAULT_INVALID_USERNAME;
    }
    if (!slice_is_absent(request->password) && !password_is_acceptable(request->password)) {
        call->why = SLICE("the password is empty, too long or has a NUL");
        return FAULT_INVALID_PARAM;
    }
    if (!displayname_is_acceptable(request->displayname)) {
        call->why = SLICE("the display name is too long or has a NUL");
        return FAULT_INVALID_PARAM;
    }
    struct new_account account = {.user_id = user_id_to_register(call->arena, local, server_name()),
                                  .password = request->password,
                                  .displayname = request->displayname,
                                  .is_admin = request->admin};
    struct db_batch *batch = call_batch(call);
    account_add(call, batch, &account);
    return account_run(batch);
}
