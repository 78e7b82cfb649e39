/* The table of room versions: that each is there, and the points at which the pages say something changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/matrix/room_version.h"

static void all_twelve_are_there(void **state)
{
    for (int i = 1; i <= 12; i++) {
        char id[4];
        int length = snprintf(id, sizeof id, "%d", i);
        const struct room_version *version = room_version_find(slice_of(id, (size_t)length));
        assert_non_null(version);
        assert_true(version->stable);
        assert_ptr_equal(version, room_version_at((size_t)i - 1));
    }
    assert_null(room_version_at(12));
    assert_null(room_version_at(SIZE_MAX));
}

static void others_are_not(void **state)
{
    const struct slice unknown[] = {SLICE(""), SLICE("0"), SLICE("13"), SLICE("01"), SLICE("1 "), SLICE("1\0"), SLICE_ABSENT};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        assert_null(room_version_find(unknown[i]));
}

/* Room version pages, "added in": the first version of each property, which all later ones keep. */
#define FIRST(property, version) \
    { \
#property, offsetof(struct room_version, property), version \
    }
static const struct {
    const char *name;
    size_t offset;
    int first;
} properties[] = {
    FIRST(enforce_key_validity, 5),      FIRST(strict_canonical_json, 6),
    FIRST(limit_notifications_power, 6), FIRST(knock, 7),
    FIRST(restricted_join, 8),           FIRST(knock_restricted, 10),
    FIRST(integer_power_levels, 10),     FIRST(implicit_room_creator, 11),
    FIRST(redacts_in_content, 11),       FIRST(privileged_creators, 12),
    FIRST(room_id_is_create_hash, 12),
};

static void properties_begin_where_the_pages_say(void **state)
{
    for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++)
        for (int v = 1; v <= 12; v++) {
            bool set = *(const bool *)((const char *)room_version_at((size_t)v - 1) + properties[i].offset);
            if (set != (v >= properties[i].first))
                fail_msg("%s of version %d is %d", properties[i].name, v, set);
        }
}

static void algorithms(void **state)
{
    static const struct {
        enum state_res state_res;
        enum event_id_format id;
        enum redaction_rules redaction;
        bool aliases;
    } expected[] = {
        {STATE_RES_V1, EVENT_ID_V1, REDACT_V1, true},   {STATE_RES_V2, EVENT_ID_V1, REDACT_V1, true},
        {STATE_RES_V2, EVENT_ID_V3, REDACT_V1, true},   {STATE_RES_V2, EVENT_ID_V4, REDACT_V1, true},
        {STATE_RES_V2, EVENT_ID_V4, REDACT_V1, true},   {STATE_RES_V2, EVENT_ID_V4, REDACT_V6, false},
        {STATE_RES_V2, EVENT_ID_V4, REDACT_V6, false},  {STATE_RES_V2, EVENT_ID_V4, REDACT_V8, false},
        {STATE_RES_V2, EVENT_ID_V4, REDACT_V9, false},  {STATE_RES_V2, EVENT_ID_V4, REDACT_V9, false},
        {STATE_RES_V2, EVENT_ID_V4, REDACT_V11, false}, {STATE_RES_V2_1, EVENT_ID_V4, REDACT_V11, false},
    };
    for (size_t i = 0; i < 12; i++) {
        const struct room_version *version = room_version_at(i);
        assert_int_equal(version->state_res, expected[i].state_res);
        assert_int_equal(version->event_id_format, expected[i].id);
        assert_int_equal(version->redaction_rules, expected[i].redaction);
        assert_int_equal(version->special_aliases_auth, expected[i].aliases);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_twelve_are_there),
        cmocka_unit_test(others_are_not),
        cmocka_unit_test(properties_begin_where_the_pages_say),
        cmocka_unit_test(algorithms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
