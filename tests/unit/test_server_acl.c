/* m.room.server_acl, rule by rule. */
#include "tests/unit/test_auth_rules_room.h"

static const struct acl_case {
    const char *name, *content, *server;
    bool allowed;
} cases[] = {
    {"1 no event", NULL, "evil.com", true},
    {"2 IPv4 literal", "{\"allow\":[\"*\"],\"allow_ip_literals\":false}", "1.2.3.4", false},
    {"2 IPv4 literal with port", "{\"allow\":[\"*\"],\"allow_ip_literals\":false}", "1.2.3.4:8448", false},
    {"2 IPv6 literal", "{\"allow\":[\"*\"],\"allow_ip_literals\":false}", "[::1]", false},
    {"2 IPv6 literal with port", "{\"allow\":[\"*\"],\"allow_ip_literals\":false}", "[2001:db8::1]:443", false},
    {"2 a name", "{\"allow\":[\"*\"],\"allow_ip_literals\":false}", "good.com", true},
    {"2 literals by default", "{\"allow\":[\"*\"]}", "1.2.3.4", true},
    {"2 literals when not a boolean", "{\"allow\":[\"*\"],\"allow_ip_literals\":\"no\"}", "1.2.3.4", true},
    {"3 denied", "{\"allow\":[\"*\"],\"deny\":[\"evil.com\"]}", "evil.com", false},
    {"3 denied whatever the port", "{\"allow\":[\"*\"],\"deny\":[\"evil.com\"]}", "evil.com:1234", false},
    {"3 denied whatever the case", "{\"allow\":[\"*\"],\"deny\":[\"Evil.com\"]}", "eVIL.com", false},
    {"3 denied by a pattern", "{\"allow\":[\"*\"],\"deny\":[\"*.evil.com\"]}", "more.evil.com", false},
    {"3 a pattern is for the whole name", "{\"allow\":[\"*\"],\"deny\":[\"*.evil.com\"]}", "evil.com", true},
    {"3 a dot is a dot", "{\"allow\":[\"*\"],\"deny\":[\"evil.com\"]}", "evilxcom", true},
    {"3 one character", "{\"allow\":[\"*\"],\"deny\":[\"evil?.com\"]}", "evil1.com", false},
    {"3 denied IPv6 literal", "{\"allow\":[\"*\"],\"deny\":[\"[::1]\"]}", "[::1]:8448", false},
    {"3 deny before allow", "{\"allow\":[\"evil.com\"],\"deny\":[\"evil.com\"]}", "evil.com", false},
    {"4 allowed", "{\"allow\":[\"a.com\",\"good.com\"]}", "good.com:99", true},
    {"5 not allowed", "{\"allow\":[\"good.com\"]}", "other.com", false},
    {"5 nobody without allow", "{}", "good.com", false},
    {"5 allow not a list", "{\"allow\":\"*\"}", "good.com", false},
    {"5 odd entries", "{\"allow\":[7,null,\"good.com\"],\"deny\":[{},[\"good.com\"]]}", "good.com", true},
};

static void test_cases(void **unused)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create(1 << 20);
        const struct json *content = cases[i].content ? test_json(arena, test_version(12), cases[i].content) : NULL;
        if (server_acl_allows(content, slice_from_cstr(cases[i].server)) != cases[i].allowed)
            fail_msg("%s", cases[i].name);
        arena_destroy(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
