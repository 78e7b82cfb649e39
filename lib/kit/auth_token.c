/* Access tokens (Client-Server API "Client Authentication"): who asks, and whether the route takes him. Tokens are known to the
 * database by their SHA-256 only. An answer is kept for five seconds; a revocation is published by `accounts` and reaches us
 * sooner, and what was read from the database while one came in is not kept. */
#include <sodium.h>
#include <stdlib.h>

#include "lib/base/base64.h"
#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/lru.h"
#include "lib/kit/queries.h"
#include "lib/kit/stream.h"
#include "lib/kit/worker_internal.h"

enum { KEPT_MS = 5000, CACHE_BYTES = 2 * 1024 * 1024, HASH_BYTES = crypto_hash_sha256_BYTES };

struct tokens {
    pthread_mutex_t lock;
    struct lru *known;    /* hash → struct known */
    uint64_t revocations; /* how many were heard of */
};

/* A row of the database, in one block with its texts. */
struct known {
    int64_t good_until_ms; /* monotonic */
    struct token_requester_row row;
    char texts[];
};

/* ---- the cache */

static void revoked(struct worker *worker, const struct stream_hint *hint, bool gap, void *context)
{
    struct tokens *tokens = context;
    if (hint && hint->kind != STREAM_token)
        return;
    pthread_mutex_lock(&tokens->lock);
    tokens->revocations++;
    if (gap)
        lru_clear(tokens->known);
    pthread_mutex_unlock(&tokens->lock);
    unsigned char hash[HASH_BYTES];
    size_t len;
    if (!hint || sodium_hex2bin(hash, sizeof hash, hint->key.at, hint->key.len, NULL, &len, NULL) != 0 || len != sizeof hash)
        return;
    pthread_mutex_lock(&tokens->lock);
    lru_remove(tokens->known, slice_of(hash, sizeof hash));
    pthread_mutex_unlock(&tokens->lock);
}

void tokens_start(struct worker *worker)
{
    struct tokens *tokens = calloc(1, sizeof *tokens);
    ensure(tokens);
    pthread_mutex_init(&tokens->lock, NULL);
    tokens->known = lru_create(CACHE_BYTES, free);
    worker->tokens = tokens;
    stream_listen(worker, SERVICE_accounts, revoked, tokens);
}

void tokens_stop(struct worker *worker)
{
    if (!worker->tokens)
        return;
    lru_destroy(&worker->tokens->known);
    pthread_mutex_destroy(&worker->tokens->lock);
    free(worker->tokens);
    worker->tokens = NULL;
}

static struct slice put_text(char **at, struct slice text)
{
    if (slice_is_absent(text))
        return text;
    struct slice copy = slice_of(*at, text.len);
    if (text.len)
        memcpy(*at, text.at, text.len);
    *at += text.len;
    return copy;
}

static void remember(struct tokens *tokens, struct slice hash, const struct token_requester_row *row, uint64_t revocations)
{
    size_t bytes = sizeof(struct known) + row->user_id.len + row->device_id.len + row->appservice_id.len;
    struct known *known = malloc(bytes);
    ensure(known);
    char *at = known->texts;
    known->good_until_ms = clock_monotonic_ms() + KEPT_MS;
    known->row = *row;
    known->row.user_id = put_text(&at, row->user_id);
    known->row.device_id = put_text(&at, row->device_id);
    known->row.appservice_id = put_text(&at, row->appservice_id);
    pthread_mutex_lock(&tokens->lock);
    bool is_fresh = tokens->revocations == revocations;
    if (is_fresh)
        lru_put(tokens->known, hash, known, bytes);
    pthread_mutex_unlock(&tokens->lock);
    if (!is_fresh)
        free(known);
}

/* A copy on the heap (allocating from the arena under a lock is not allowed), then into the arena. */
static bool recall(struct tokens *tokens, struct arena *arena, struct slice hash, struct token_requester_row *row,
                   uint64_t *revocations)
{
    char texts[1024];
    pthread_mutex_lock(&tokens->lock);
    *revocations = tokens->revocations;
    const struct known *known = lru_get(tokens->known, hash);
    bool is_good = known && known->good_until_ms > clock_monotonic_ms() &&
                   known->row.user_id.len + known->row.device_id.len + known->row.appservice_id.len <= sizeof texts;
    if (is_good) {
        char *at = texts;
        *row = known->row;
        row->user_id = put_text(&at, known->row.user_id);
        row->device_id = put_text(&at, known->row.device_id);
        row->appservice_id = put_text(&at, known->row.appservice_id);
    }
    pthread_mutex_unlock(&tokens->lock);
    if (is_good) {
        row->user_id = arena_copy(arena, row->user_id);
        row->device_id = arena_copy(arena, row->device_id);
        row->appservice_id = arena_copy(arena, row->appservice_id);
    }
    return is_good;
}

/* ---- the check */

/* "Bearer <token>", or the deprecated query parameter. */
static struct slice given_token(struct call *call)
{
    struct slice scheme, token, header = call->http->authorization;
    if (!slice_is_absent(header) && slice_cut(slice_trim(header), ' ', &scheme, &token) &&
        slice_eq_ignoring_case(scheme, SLICE("Bearer")))
        return slice_trim(token);
    return call_query(call, "access_token");
}

/* UNKNOWN_TOKEN when there is none. */
static enum fault look_up(struct call *call, struct slice hash, struct token_requester_row *row)
{
    uint64_t revocations;
    struct tokens *tokens = call->worker->tokens;
    if (recall(tokens, call->arena, hash, row, &revocations))
        return FAULT_OK;
    struct db_batch *batch = call_batch(call);
    struct db_result *result = q_token_requester(batch, hash);
    enum fault fault = db_run(batch);
    if (fault)
        return fault;
    if (!token_requester_next(result, row))
        return FAULT_UNKNOWN_TOKEN;
    remember(tokens, hash, row, revocations);
    return FAULT_OK;
}

/* Guests are let in where the route says so, application services only where it is made for them. */
static enum fault admission(const struct token_requester_row *row, enum route_auth auth)
{
    if (row->is_deactivated)
        return FAULT_USER_DEACTIVATED;
    if (row->is_guest && (auth == AUTH_USER || auth == AUTH_ADMIN))
        return FAULT_GUEST_FORBIDDEN;
    if (auth == AUTH_ADMIN && !row->is_admin)
        return FAULT_FORBIDDEN;
    if (auth == AUTH_APPSERVICE) /* their as_token comes from a registration file, not from this table: looked up before */
        return FAULT_UNKNOWN_TOKEN;
    return FAULT_OK;
}

static bool is_expired(const struct token_requester_row *row)
{
    return row->expires_ts != DB_NULL_I64 && row->expires_ts <= clock_wall_ms();
}

/* The client keeps its data and may refresh the token ("Soft logout"). */
static struct reply expired_reply(struct call *call)
{
    call->detail = "expired token";
    return reply_status(401,
                        SLICE("{\"errcode\":\"M_UNKNOWN_TOKEN\",\"error\":\"The access token has expired\",\"soft_logout\":true}"));
}

bool auth_token(struct call *call, struct reply *refusal)
{
    enum route_auth auth = call->route->auth;
    struct slice token = given_token(call);
    struct token_requester_row row = {0};
    if (slice_is_absent(token) || !token.len) {
        if (auth != AUTH_OPTIONAL)
            *refusal = call_fail(call, FAULT_MISSING_TOKEN, NULL);
        return auth == AUTH_OPTIONAL;
    }
    unsigned char *hash = arena_alloc_raw(call->arena, HASH_BYTES);
    crypto_hash_sha256(hash, (const unsigned char *)token.at, token.len);
    struct slice token_hash = slice_of(hash, HASH_BYTES);
    enum fault fault = look_up(call, token_hash, &row);
    if (!fault && is_expired(&row)) {
        *refusal = expired_reply(call);
        return auth == AUTH_OPTIONAL;
    }
    fault = fault ? fault : admission(&row, auth);
    if (fault) {
        *refusal = call_fail(call, fault, NULL);
        return auth == AUTH_OPTIONAL;
    }
    call->requester = (struct requester){
        .user_id = row.user_id,
        .device_id = row.device_id,
        .token_hash = token_hash,
        .is_guest = row.is_guest,
        .is_admin = row.is_admin,
        .is_suspended = row.is_suspended,
        .appservice_id = row.appservice_id,
    };
    return true;
}
