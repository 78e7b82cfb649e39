/* Hashes of events: Server-Server API "Calculating the content hash", "Calculating the reference hash", and what is made from
 * the redacted form: event ids and the bytes that are signed. */
#include "lib/matrix/event.h"

#include <openssl/evp.h>
#include <pthread.h>

#include "lib/base/base64.h"
#include "lib/base/ensure.h"
#include "lib/matrix/redact.h"

enum { SHA256_BYTES = 32 };

static EVP_MD *sha256_method;

/* OpenSSL 3 looks an algorithm up under a lock each time it is asked by name: we ask once. Freed with the process. */
static void sha256_fetch(void)
{
    sha256_method = EVP_MD_fetch(NULL, "SHA256", NULL);
    ensure(sha256_method);
}

static struct slice sha256(struct arena *arena, struct slice bytes)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, sha256_fetch);
    unsigned char *hash = arena_alloc_raw(arena, SHA256_BYTES);
    ensure(EVP_Digest(bytes.at, bytes.len, hash, NULL, sha256_method, NULL) == 1);
    return slice_of(hash, SHA256_BYTES);
}

struct slice event_content_hash(struct arena *arena, const struct json *event)
{
    static const char *const without[] = {"hashes", "signatures", "unsigned", NULL};
    return sha256(arena, json_canonical(arena, event, without));
}

/* From version 3 on event_id is no part of a PDU. The redaction rules would keep one that strayed in. */
struct slice event_signing_bytes(struct arena *arena, const struct room_version *version, const struct json *event)
{
    static const char *const with_id[] = {"signatures", "unsigned", NULL};
    static const char *const without_id[] = {"signatures", "unsigned", "event_id", NULL};
    const struct json *redacted = redact_tree(arena, version, event);
    return json_canonical(arena, redacted, version->event_id_format == EVENT_ID_V1 ? with_id : without_id);
}

struct slice event_reference_hash(struct arena *arena, const struct room_version *version, const struct json *event)
{
    return sha256(arena, event_signing_bytes(arena, version, event)); /* the steps of both are the same */
}

struct slice event_redact(struct arena *arena, const struct room_version *version, const struct json *event)
{
    static const char *const without[] = {"unsigned", NULL};
    return json_canonical(arena, redact_tree(arena, version, event), without);
}

bool event_content_hash_matches(struct arena *arena, const struct event *event)
{
    struct slice stated = json_string(json_path(event->json, "hashes.sha256"));
    if (slice_is_absent(stated))
        return false;
    struct slice decoded = base64_decode(arena, stated);
    return !slice_is_absent(decoded) && slice_eq(decoded, event_content_hash(arena, event->json));
}

/* "Event IDs" of versions 3 and 4. Versions 1 and 2 have no such thing: their senders choose the id. */
struct slice event_id_from_hash(struct arena *arena, const struct room_version *version, struct slice hash)
{
    if (version->event_id_format == EVENT_ID_V1)
        return SLICE_ABSENT;
    bool url_safe = version->event_id_format == EVENT_ID_V4;
    struct slice text = url_safe ? base64_encode_url(arena, hash) : base64_encode(arena, hash);
    return arena_concat(arena, (struct slice[]){SLICE("$"), text}, 2);
}
