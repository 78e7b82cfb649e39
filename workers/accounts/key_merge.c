/* Merging signatures into keys; see key_merge.h. */
#include "workers/accounts/key_merge.h"

#include "lib/base/base64.h"
#include "lib/matrix/ed25519.h"

static void put_text(struct json_writer *w, struct slice key, struct slice text)
{
    json_key(w, key);
    json_add_string(w, text);
}

/* Those of one signer: first what the object brings, then what was added. */
static void write_signer(struct json_writer *w, struct slice signer, const struct json *own, const struct key_signature *added)
{
    json_key(w, signer);
    json_begin_object(w);
    json_each (signature, own)
        if (json_is(signature, JSON_STRING))
            put_text(w, signature->key, signature->text);
    for (const struct key_signature *one = added; one; one = one->next)
        if (slice_eq(one->signer, signer) && !json_get(own, one->key_id))
            put_text(w, one->key_id, one->signature);
    json_end_object(w);
}

static void write_signatures(struct json_writer *w, const struct json *own, const struct key_signature *added)
{
    json_put_object(w, "signatures");
    json_each (signer, own)
        if (json_is(signer, JSON_OBJECT))
            write_signer(w, signer->key, signer, added);
    for (const struct key_signature *one = added; one; one = one->next) {
        bool done = json_get(own, one->signer) != NULL;
        for (const struct key_signature *before = added; before != one && !done; before = before->next)
            done = slice_eq(before->signer, one->signer);
        if (!done)
            write_signer(w, one->signer, NULL, added);
    }
    json_end_object(w);
}

struct slice key_merge(struct arena *arena, struct slice keys, const struct key_signature *added, struct slice display_name)
{
    const struct json *object = slice_is_absent(keys) ? NULL : json_parse(arena, keys, JSON_LAX, NULL);
    if (!json_is(object, JSON_OBJECT))
        return SLICE_ABSENT;
    const struct json *signatures = json_get_object(object, "signatures");
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_each (member, object) {
        if (slice_eq(member->key, SLICE("signatures")) ||
            (slice_eq(member->key, SLICE("unsigned")) && !slice_is_absent(display_name)))
            continue;
        json_key(&w, member->key);
        json_add_value(&w, member);
    }
    if (signatures || added)
        write_signatures(&w, signatures, added);
    if (!slice_is_absent(display_name)) {
        json_put_object(&w, "unsigned");
        json_put_string(&w, "device_display_name", display_name);
        json_end_object(&w);
    }
    json_end_object(&w);
    return json_done(&w);
}

struct slice key_signed_bytes(struct arena *arena, const struct json *key)
{
    static const char *const without[] = {"signatures", "unsigned", NULL};
    return json_canonical(arena, key, without);
}

bool key_is_signed_by(struct arena *arena, const struct json *key, struct slice signer, struct slice key_name,
                      struct slice public_key)
{
    struct slice key_id = arena_printf(arena, "ed25519:%.*s", PRI(key_name));
    struct slice signature = json_string(json_get(json_get(json_get_object(key, "signatures"), signer), key_id));
    if (slice_is_absent(signature) || slice_is_absent(public_key))
        return false;
    struct slice bytes = base64_decode(arena, signature), public_bytes = base64_decode(arena, public_key);
    return !slice_is_absent(bytes) && !slice_is_absent(public_bytes) &&
           ed25519_verify(public_bytes, bytes, key_signed_bytes(arena, key));
}

struct slice cross_signing_public_key(const struct json *key)
{
    const struct json *keys = json_get_object(key, "keys");
    if (!keys || keys->count != 1 || !slice_starts_with(keys->first->key, SLICE("ed25519:")))
        return SLICE_ABSENT;
    struct slice name = slice_sub(keys->first->key, 8, keys->first->key.len), value = json_string(keys->first);
    return name.len && slice_eq(name, value) && !slice_has_nul(name) ? value : SLICE_ABSENT;
}
