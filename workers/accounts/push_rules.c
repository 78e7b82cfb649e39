/* GET …/pushrules/ (Client-Server API "Push Rules"): the user's rules, which are his account data of type m.push_rules. */
#include "proto/dispatch.h"
#include "workers/accounts/push_defaults.h"
#include "workers/accounts/queries.h"

struct reply push_rules(struct call *call)
{
    struct slice user_id = call->requester.user_id;
    struct account_data_find_row row;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_account_data_find(batch, user_id, SLICE(""), SLICE("m.push_rules"));
    enum fault fault = db_run(batch);
    if (fault)
        return call_fail(call, fault, NULL);
    return reply_raw_json(account_data_find_next(result, &row) ? row.content : push_defaults(call->arena, user_id));
}
