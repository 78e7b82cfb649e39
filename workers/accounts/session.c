/* Sessions; see session.h. Tokens that can be refreshed live for an hour, others for ever. */
#include "workers/accounts/session.h"

#include "lib/base/base64.h"
#include "lib/base/clock.h"
#include "workers/accounts/expiry.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/random_names.h"

enum { ADDRESS_BYTES_MAX = 64, AGENT_BYTES_MAX = 256 };

static bool take_text(struct call *call, const char *key, size_t bytes_max, struct slice *out, struct reply *answer)
{
    const struct json *value = json_get_cstr(call->json, key);
    *out = SLICE_ABSENT;
    if (!value || json_is(value, JSON_NULL))
        return true;
    *out = json_string(value);
    if (!slice_is_absent(*out) && out->len <= bytes_max && !slice_has_nul(*out))
        return true;
    *answer = slice_is_absent(*out) ? call_failf(call, FAULT_BAD_JSON, "%s must be a string", key)
                                    : call_failf(call, FAULT_INVALID_PARAM, "%s is too long or has a NUL", key);
    return false;
}

bool session_from_body(struct call *call, struct session *session, struct reply *answer)
{
    static const struct body_member members[] = {{"refresh_token", JSON_BOOL}, {"inhibit_login", JSON_BOOL}, {NULL, JSON_NULL}};
    *session = (struct session){.is_refreshable = json_get_bool(call->json, "refresh_token", false)};
    return call_members_fit(call, call->json, members, answer) &&
           take_text(call, "device_id", DEVICE_ID_BYTES_MAX, &session->device_id, answer) &&
           take_text(call, "initial_device_display_name", DISPLAY_NAME_BYTES_MAX, &session->display_name, answer);
}

/* What a client says of itself, as text that PostgreSQL takes. */
static struct slice plain(struct slice text, size_t bytes_max)
{
    if (slice_is_absent(text) || slice_has_nul(text) || text.len > bytes_max || !utf8_is_valid(text))
        return SLICE_ABSENT;
    return text;
}

void session_add(struct call *call, struct db_batch *batch, struct session *session)
{
    int64_t now = clock_wall_ms();
    if (slice_is_absent(session->device_id) || session->device_id.len == 0)
        session->device_id = random_device_id(call->arena);
    struct slices device = {&session->device_id, 1};
    session->access_token = random_token(call->arena, "mya_");
    session->opened = q_device_open(batch, session->user_id, session->device_id, session->display_name, now,
                                    plain(call->http->remote_address, ADDRESS_BYTES_MAX),
                                    plain(call->http->user_agent, AGENT_BYTES_MAX), DEVICES_MAX);
    session->dropped = q_tokens_drop(batch, session->user_id, device);
    q_refresh_tokens_drop(batch, session->user_id, device);
    q_token_insert(batch, token_hash(call->arena, session->access_token), session->user_id, session->device_id,
                   session->is_refreshable ? now + REFRESHABLE_MS : DB_NULL_I64, now);
    if (!session->is_refreshable)
        return;
    session->refresh_token = random_token(call->arena, "myr_");
    q_refresh_token_insert(batch, token_hash(call->arena, session->refresh_token), session->user_id, session->device_id, now);
}

void session_opened(struct call *call, struct session *session)
{
    struct changes changes = changes_in(call);
    TOKENS_DROPPED(&changes, session->dropped, tokens_drop_row, tokens_drop_next);
    changes_publish(&changes);
}

enum fault session_open(struct call *call, struct session *session)
{
    struct db_batch *batch = call_batch(call);
    session_add(call, batch, session);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    if (!db_affected(session->opened))
        return FAULT_LIMIT_EXCEEDED;
    session_opened(call, session);
    return FAULT_OK;
}

void session_write(struct json_writer *w, const struct session *session)
{
    json_put_string(w, "user_id", session->user_id);
    json_put_string(w, "home_server", server_name());
    if (slice_is_absent(session->access_token))
        return;
    json_put_string(w, "access_token", session->access_token);
    json_put_string(w, "device_id", session->device_id);
    if (!session->is_refreshable)
        return;
    json_put_string(w, "refresh_token", session->refresh_token);
    json_put_i64(w, "expires_in_ms", REFRESHABLE_MS);
}
