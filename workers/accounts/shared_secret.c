/* /_synapse/admin/v1/register: accounts made by whoever knows registration_shared_secret. The field's tools and tests use Synapse's
 * form: GET gives a nonce, good once and for a minute; POST proves the secret by HMAC-SHA1 over nonce, name, password, admin flag
 * and user type, joined by NUL. */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sodium.h>

#include "lib/base/base64.h"
#include "lib/base/clock.h"
#include "proto/dispatch.h"
#include "workers/accounts/account_create.h"
#include "workers/accounts/expiry.h"
#include "workers/accounts/password.h"
#include "workers/accounts/profile_fields.h"
#include "workers/accounts/queries.h"
#include "workers/accounts/random_names.h"
#include "workers/accounts/session.h"
#include "workers/accounts/user_name.h"

static struct slice secret(struct call *call)
{
    return slice_from_cstr(worker_settings(call->worker)->registration_shared_secret);
}

struct reply shared_secret_nonce(struct call *call)
{
    if (!secret(call).len)
        return call_fail(call, FAULT_UNKNOWN, "Shared secret registration is not enabled");
    struct slice nonce = random_token(call->arena, "");
    struct db_batch *batch = call_batch(call);
    q_nonce_insert(batch, nonce, clock_wall_ms());
    enum fault fault = db_run(batch);
    if (fault)
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    json_put_string(&w, "nonce", nonce);
    json_end_object(&w);
    return reply_json(&w);
}

/* The body's text: not empty, no NUL, since that separates what is signed. */
static bool take_text(struct call *call, const char *key, struct slice *out, struct reply *answer)
{
    *out = json_get_string(call->json, key);
    if (out->len && out->len <= PASSWORD_BYTES_MAX && !slice_has_nul(*out))
        return true;
    *answer = call_failf(call, FAULT_BAD_JSON, "%s is missing or not acceptable", key);
    return false;
}

static bool proves_secret(struct call *call, struct slice nonce, struct slice username, struct slice password, bool is_admin,
                          struct slice user_type, struct slice mac)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    struct strbuf text = strbuf_in(call->arena);
    const struct slice parts[] = {nonce, username, password, is_admin ? SLICE("admin") : SLICE("notadmin"), user_type};
    for (size_t i = 0; i < 5 && !slice_is_absent(parts[i]); i++) {
        if (i)
            strbuf_add_char(&text, '\0');
        strbuf_add(&text, parts[i]);
    }
    struct slice key = secret(call);
    if (!HMAC(EVP_sha1(), key.at, (int)key.len, (const unsigned char *)text.at, text.len, digest, &len))
        return false;
    struct slice expected = hex_encode(call->arena, slice_of(digest, len));
    struct slice given = text_lower(call->arena, mac);
    return expected.len == given.len && sodium_memcmp(expected.at, given.at, given.len) == 0;
}

static enum fault take_nonce(struct call *call, struct slice nonce)
{
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_nonce_take(batch, nonce, clock_wall_ms() - NONCE_MS);
    enum fault fault = db_run(batch);
    struct nonce_take_row row;
    return fault ? fault : nonce_take_next(result, &row) ? FAULT_OK : FAULT_NOT_FOUND;
}

struct reply shared_secret_register(struct call *call)
{
    static const struct body_member members[] = {
        {"admin", JSON_BOOL}, {"displayname", JSON_STRING}, {"user_type", JSON_STRING}, {NULL, JSON_NULL}};
    struct slice nonce, username, password, mac;
    struct session session;
    struct reply answer;
    if (!secret(call).len)
        return call_fail(call, FAULT_UNKNOWN, "Shared secret registration is not enabled");
    if (!take_text(call, "nonce", &nonce, &answer) || !take_text(call, "username", &username, &answer) ||
        !take_text(call, "password", &password, &answer) || !take_text(call, "mac", &mac, &answer) ||
        !session_from_body(call, &session, &answer) || !call_members_fit(call, call->json, members, &answer))
        return answer;
    bool is_admin = json_get_bool(call->json, "admin", false);
    struct slice displayname = json_get_string(call->json, "displayname");
    enum fault fault = take_nonce(call, nonce);
    if (fault)
        return fault == FAULT_NOT_FOUND ? call_fail(call, FAULT_UNKNOWN, "Unrecognised nonce") : call_fail(call, fault, NULL);
    if (!proves_secret(call, nonce, username, password, is_admin, json_get_string(call->json, "user_type"), mac))
        return call_fail(call, FAULT_FORBIDDEN, "HMAC incorrect");
    struct slice user_id = user_id_to_register(call->arena, username, server_name());
    if (slice_is_absent(user_id))
        return call_fail(call, FAULT_INVALID_USERNAME, NULL);
    if (!displayname_is_acceptable(displayname))
        return call_fail(call, FAULT_INVALID_PARAM, "displayname is too long");
    struct new_account account = {.user_id = user_id, .password = password, .displayname = displayname, .is_admin = is_admin};
    struct db_batch *batch = call_batch(call);
    session.user_id = user_id;
    account_add(call, batch, &account);
    if (!json_get_bool(call->json, "inhibit_login", false))
        session_add(call, batch, &session);
    if ((fault = account_run(batch)))
        return call_fail(call, fault, NULL);
    struct json_writer w = json_writer_in(call->arena);
    json_begin_object(&w);
    session_write(&w, &session);
    json_end_object(&w);
    return reply_json(&w);
}
