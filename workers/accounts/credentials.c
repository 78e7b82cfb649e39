/* Password credentials; see credentials.h. */
#include "workers/accounts/credentials.h"

#include "workers/accounts/password.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/user_name.h"

struct slice credentials_user(struct call *call, const struct json *credentials)
{
    const struct json *identifier = json_get_object(credentials, "identifier");
    struct slice typed = json_get_string(credentials, "user");
    if (identifier)
        typed =
            slice_eq(json_get_string(identifier, "type"), SLICE("m.id.user")) ? json_get_string(identifier, "user") : SLICE_ABSENT;
    if (slice_is_absent(typed) || slice_has_nul(typed))
        return SLICE_ABSENT;
    return user_id_to_log_in(call->arena, typed, server_name());
}

/* As typed, or in small letters: what we register has no capitals, what was imported may. */
static enum fault find(struct call *call, struct slice typed, struct accounts_find_row *account, bool *found)
{
    struct slice spellings[] = {typed, text_lower(call->arena, typed)};
    struct accounts_find_row row;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_accounts_find(batch, (struct slices){spellings, 2});
    enum fault fault = db_run(batch);
    *found = false;
    while (!fault && accounts_find_next(result, &row)) {
        if (!*found || slice_eq(row.user_id, typed))
            *account = row;
        *found = true;
    }
    return fault;
}

static enum fault rehash(struct call *call, const struct accounts_find_row *account, struct slice password)
{
    struct db_batch *batch = call_batch(call);
    q_account_rehash_password(batch, account->user_id, account->password_hash, password_hash(call->arena, password));
    return db_run(batch);
}

enum fault credentials_check(struct call *call, struct slice typed_user_id, struct slice password, struct slice *user_id)
{
    struct accounts_find_row account = {0};
    bool found;
    enum fault fault = find(call, typed_user_id, &account, &found);
    if (fault)
        return fault;
    if (found && account.is_deactivated)
        return FAULT_USER_DEACTIVATED;
    switch (password_check(call->arena, password, account.password_hash)) {
    case PASSWORD_WRONG:
        return FAULT_FORBIDDEN;
    case PASSWORD_RIGHT_OUTDATED:
        if ((fault = rehash(call, &account, password)))
            return fault;
        break;
    case PASSWORD_RIGHT:
        break;
    }
    *user_id = account.user_id;
    return FAULT_OK;
}
