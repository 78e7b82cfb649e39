/* The answer of send_join: whatever comes, each event comes out once at most, and behind its auth events. */
#include "lib/base/ensure.h"
#include "workers/federation/join_answer.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *version, struct slice body)
{
    struct call call = {.arena = arena_create(1 << 28)};
    struct join_answer answer;
    enum fault fault = join_answer_read(&call, room_version_find(slice_from_cstr(version)), SLICE("!r:a.example"), body, &answer);
    ensure(fault == FAULT_OK || (fault == FAULT_PEER && !slice_is_absent(call.why)));
    if (!fault) {
        uint8_t *seen = arena_new_array(call.arena, answer.count, uint8_t);
        ensure(answer.order_count <= answer.count && answer.create <= answer.count);
        for (size_t i = 0; i < answer.order_count; i++) {
            const struct join_pdu *pdu = &answer.pdus[answer.order[i]];
            ensure(!pdu->is_left_out && !seen[answer.order[i]]);
            for (size_t k = 0; k < pdu->auth_count; k++) {
                int64_t auth = answer.pdu_of[pdu->auth[k]];
                ensure(auth < 0 || seen[auth] || answer.pdus[auth].is_left_out);
            }
            seen[answer.order[i]] = 1;
        }
    }
    arena_destroy(&call.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check("1", slice_of(data, size));
    check("11", slice_of(data, size));
    return 0;
}
