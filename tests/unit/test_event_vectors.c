/* The spec's own vectors: canonical JSON, signed objects and signed events (appendices, "Cryptographic Test Vectors"). The
 * tests sign; the code under test makes the bytes, splices the signature in and verifies it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "lib/base/base64.h"
#include "lib/matrix/ed25519.h"
#include "lib/matrix/event.h"
#include "lib/matrix/json_tree.h"
#include "test_event_files.h"

struct signer {
    unsigned char public_key[crypto_sign_PUBLICKEYBYTES], secret_key[crypto_sign_SECRETKEYBYTES];
    struct slice server, key_id;
};

static struct arena *arena;

static int setup(void **state)
{
    arena = arena_create(16 << 20);
    return sodium_init() < 0;
}

static int teardown(void **state)
{
    arena_destroy(&arena);
    return 0;
}

static struct signer signer_from(const struct json *vectors)
{
    struct signer signer = {.server = json_get_string(vectors, "server"), .key_id = json_get_string(vectors, "key_id")};
    struct slice seed = base64_decode(arena, json_get_string(vectors, "seed"));
    assert_int_equal(seed.len, crypto_sign_SEEDBYTES);
    crypto_sign_seed_keypair(signer.public_key, signer.secret_key, (const unsigned char *)seed.at);
    return signer;
}

static struct slice sign(const struct signer *signer, struct slice message)
{
    unsigned char signature[crypto_sign_BYTES];
    crypto_sign_detached(signature, NULL, (const unsigned char *)message.at, message.len, signer->secret_key);
    return base64_encode(arena, slice_of(signature, sizeof signature));
}

static bool is_signed(const struct signer *signer, const struct json *object, struct slice message)
{
    struct slice signature = base64_decode(arena, json_signature(object, signer->server, signer->key_id));
    return ed25519_verify(slice_of(signer->public_key, sizeof signer->public_key), signature, message);
}

static void canonical_json(void **state)
{
    json_each (vector, vectors_read(arena, "canonical.json")) {
        const struct json *given = json_parse(arena, json_get_string(vector, "given"), JSON_LAX, NULL);
        assert_non_null(given);
        check_text("form", json_get_string(vector, "name"), json_canonical(arena, given, NULL),
                   json_get_string(vector, "canonical"));
    }
}

static void signed_objects(void **state)
{
    static const char *const unsigned_part[] = {"signatures", "unsigned", NULL};
    const struct json *vectors = vectors_read(arena, "signing.json");
    struct signer signer = signer_from(vectors);
    json_each (vector, json_get_array(vectors, "objects")) {
        const struct json *given = json_get_object(vector, "given"), *expected = json_get_object(vector, "signed");
        struct slice message = json_canonical(arena, given, unsigned_part);
        struct slice made = event_add_signature(arena, given->span, signer.server, signer.key_id, sign(&signer, message));
        check_text("signed object", json_get_string(vector, "name"), made, json_canonical(arena, expected, NULL));
        assert_true(is_signed(&signer, expected, json_canonical(arena, expected, unsigned_part)));
    }
}

/* Steps of "Adding hashes and signatures to outgoing events", in the oldest rules, in which the vectors were made. */
static void signed_events(void **state)
{
    const struct json *vectors = vectors_read(arena, "signing.json");
    const struct room_version *version = room_version_find(SLICE("1"));
    struct signer signer = signer_from(vectors);
    json_each (vector, json_get_array(vectors, "events")) {
        const struct json *expected = json_get_object(vector, "signed");
        struct json *event = json_tree_copy(arena, json_get_object(vector, "given")), *hashes = json_tree_copy(arena, NULL);
        struct slice name = json_get_string(vector, "name"), hash = base64_encode(arena, event_content_hash(arena, event));
        check_text("content hash", name, hash, json_string(json_path(expected, "hashes.sha256")));
        json_tree_put_string(arena, hashes, SLICE("sha256"), hash);
        json_tree_put(arena, event, SLICE("hashes"), hashes);
        struct slice signature = sign(&signer, event_signing_bytes(arena, version, event));
        struct slice made = event_add_signature(arena, json_canonical(arena, event, NULL), signer.server, signer.key_id, signature);
        check_text("signed event", name, made, json_canonical(arena, expected, NULL));
        assert_true(is_signed(&signer, expected, event_signing_bytes(arena, version, expected)));
    }
}

/* "Note that this step should succeed whether we have been sent the full event or a redacted copy." */
static void redacted_events_stay_signed(void **state)
{
    const struct json *vectors = vectors_read(arena, "signing.json");
    struct signer signer = signer_from(vectors);
    const struct room_version *version = room_version_find(SLICE("1"));
    json_each (vector, json_get_array(vectors, "events")) {
        struct slice redacted = event_redact(arena, version, json_get_object(vector, "signed"));
        const struct json *event = json_parse(arena, redacted, JSON_LAX, NULL);
        assert_true(is_signed(&signer, event, event_signing_bytes(arena, version, event)));
        assert_null(json_path(event, "content.body"));
    }
}

static void spoilt_signatures(void **state)
{
    const struct json *vectors = vectors_read(arena, "signing.json");
    struct signer signer = signer_from(vectors);
    struct slice key = slice_of(signer.public_key, sizeof signer.public_key), message = SLICE("message");
    struct slice signature = base64_decode(arena, sign(&signer, message));
    assert_true(ed25519_verify(key, signature, message));
    assert_false(ed25519_verify(key, signature, SLICE("massage")));
    assert_false(ed25519_verify(key, slice_sub(signature, 0, 63), message));
    assert_false(ed25519_verify(slice_sub(key, 0, 31), signature, message));
    assert_false(ed25519_verify(key, SLICE_ABSENT, message));
    for (size_t bit = 0; bit < signature.len * 8; bit++) {
        char *spoilt = arena_cstr(arena, signature);
        spoilt[bit / 8] ^= (char)(1 << bit % 8);
        assert_false(ed25519_verify(key, slice_of(spoilt, signature.len), message));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(canonical_json, setup, teardown),
        cmocka_unit_test_setup_teardown(signed_objects, setup, teardown),
        cmocka_unit_test_setup_teardown(signed_events, setup, teardown),
        cmocka_unit_test_setup_teardown(redacted_events_stay_signed, setup, teardown),
        cmocka_unit_test_setup_teardown(spoilt_signatures, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
