/* What clients hand to accounts as JSON: filters, profile values, keys with signatures. The first byte chooses. */
#include <stdint.h>
#include <stdlib.h>

#include "workers/accounts/filter_check.c"
#include "workers/accounts/key_merge.c"
#include "workers/accounts/profile_fields.c"
#include "workers/accounts/user_name.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(struct arena *arena, uint8_t choice, struct slice text)
{
    struct key_signature added = {SLICE("@a:b"), SLICE("ed25519:K"), SLICE("c2ln"), NULL};
    const struct json *json = json_parse(arena, text, JSON_LAX, NULL);
    switch (choice % 4) {
    case 0:
        filter_problem(json);
        break;
    case 1:
        profile_value_problem(SLICE("displayname"), json);
        profile_value_problem(SLICE("avatar_url"), json);
        break;
    case 2: {
        struct slice merged = key_merge(arena, text, &added, SLICE("name"));
        if (!slice_is_absent(merged) && !json_parse(arena, merged, JSON_LAX, NULL))
            abort(); /* what we pass on must be JSON */
        key_is_signed_by(arena, json, SLICE("@a:b"), SLICE("K"), cross_signing_public_key(json));
        break;
    }
    default:
        profile_field_is_valid(text);
        user_id_to_register(arena, text, SLICE("hs1"));
        user_id_to_log_in(arena, text, SLICE("hs1"));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct arena *arena = arena_create(64 * 1024 * 1024);
    run(arena, data[0], slice_of(data + 1, size - 1));
    arena_destroy(&arena);
    return 0;
}
