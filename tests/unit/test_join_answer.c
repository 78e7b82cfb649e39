/* The answer of send_join: doubles, the order of events, circles, what is no answer. Version 1, where ids can be chosen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "workers/federation/join_answer.c"

#include <cmocka.h>

static struct slice event_text(struct arena *arena, const char *id, const char *type, const char *auth)
{
    struct strbuf refs = strbuf_in(arena);
    for (const char *at = auth; *at; at++) /* one letter each */
        strbuf_printf(&refs, "%s[\"$%c:a.example\",{\"sha256\":\"x\"}]", at == auth ? "" : ",", *at);
    return arena_printf(
        arena,
        "{\"auth_events\":[%.*s],\"content\":{},\"depth\":1,\"event_id\":\"$%s:a.example\",\"hashes\":{\"sha256\":\"x\"},"
        "\"origin_server_ts\":1,\"prev_events\":[],\"room_id\":\"!r:a.example\",\"sender\":\"@u:a.example\","
        "\"signatures\":{},\"state_key\":\"\",\"type\":\"%s\"}",
        PRI(strbuf_slice(&refs)), id, type);
}

struct given {
    const char *id, *type, *auth;
};

static struct slice list_text(struct arena *arena, const struct given *given)
{
    struct strbuf out = strbuf_in(arena);
    strbuf_add_char(&out, '[');
    for (size_t i = 0; given[i].id; i++) {
        strbuf_add_cstr(&out, i ? "," : "");
        strbuf_add(&out, event_text(arena, given[i].id, given[i].type, given[i].auth));
    }
    strbuf_add_char(&out, ']');
    return strbuf_slice(&out);
}

static enum fault read_answer(struct call *call, struct slice body, struct join_answer *answer)
{
    return join_answer_read(call, room_version_find(SLICE("1")), SLICE("!r:a.example"), body, answer);
}

static enum fault read_lists(struct call *call, const struct given *chain, const struct given *state, struct join_answer *answer)
{
    struct slice body = arena_printf(call->arena, "{\"auth_chain\":%.*s,\"state\":%.*s}", PRI(list_text(call->arena, chain)),
                                     PRI(list_text(call->arena, state)));
    return read_answer(call, body, answer);
}

/* The ids in their order, one letter each; capitals are state. */
static const char *ordered(struct call *call, const struct join_answer *answer)
{
    struct strbuf out = strbuf_in(call->arena);
    for (size_t i = 0; i < answer->order_count; i++) {
        struct slice id, text = answer->pdus[answer->order[i]].text;
        struct event *event;
        assert_int_equal(event_parse(call->arena, room_version_find(SLICE("1")), text, &event, NULL), FAULT_OK);
        id = event->event_id;
        strbuf_add_char(&out, (char)(id.at[1] - (answer->pdus[answer->order[i]].is_state ? 32 : 0)));
    }
    strbuf_add_char(&out, '\0');
    return strbuf_slice(&out).at;
}

static void orders(void **state)
{
    static const struct {
        struct given chain[5], state[6];
        const char *expected;
    } cases[] = {
        {{{0}}, {{"c", "m.room.create", ""}, {"m", "m.room.member", "c"}}, "CM"},
        {{{"c", "m.room.create", ""}},
         {{"m", "m.room.member", "pc"}, {"p", "m.room.power_levels", "c"}, {"c", "m.room.create", ""}},
         "CPM"},
        {{{"p", "x", "m"}, {"m", "x", "c"}}, {{"z", "x", "pmc"}, {"c", "m.room.create", ""}}, "CmpZ"},
        /* what is named but did not come may be known to `events` */
        {{{0}}, {{"a", "x", "q"}, {"c", "m.room.create", ""}}, "CA"},
        /* circles: of one, of two, and what hangs on them goes on, for `events` to miss what is gone */
        {{{0}}, {{"c", "m.room.create", ""}, {"a", "x", "a"}}, "C"},
        {{{0}}, {{"c", "m.room.create", ""}, {"a", "x", "b"}, {"b", "x", "a"}, {"d", "x", "a"}}, "CAD"},
        {{{"a", "x", "c"}, {"a", "x", "b"}}, {{"c", "m.room.create", ""}, {"b", "x", "a"}}, "CaB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct call call = {.arena = arena_create(1 << 22)};
        struct join_answer answer;
        assert_int_equal(read_lists(&call, cases[i].chain, cases[i].state, &answer), FAULT_OK);
        assert_string_equal(ordered(&call, &answer), cases[i].expected);
        assert_true(answer.create < answer.count);
        arena_destroy(&call.arena);
    }
}

static void what_is_no_answer(void **state)
{
    static const struct {
        const char *body, *why;
    } cases[] = {
        {"", "{ expected"},
        {"[]", "{ expected"},
        {"{\"state\":[],\"state\":[]}", "duplicate key"},
        {"{\"state\":{}}", "state or auth_chain is not an array"},
        {"{\"state\":[1", "unterminated object or array"},
        {"{\"state\":[1,]}", "state or auth_chain is not an array"},
        {"{\"state\":[]}x", "text after the value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct call call = {.arena = arena_create(1 << 20)};
        struct join_answer answer;
        assert_int_equal(read_answer(&call, slice_from_cstr(cases[i].body), &answer), FAULT_PEER);
        assert_string_equal(arena_cstr(call.arena, call.why), cases[i].why);
        arena_destroy(&call.arena);
    }
}

static void what_is_no_event_is_left_out(void **state)
{
    struct call call = {.arena = arena_create(1 << 20)};
    struct join_answer answer;
    struct slice good = event_text(call.arena, "c", "m.room.create", "");
    struct slice body = arena_printf(call.arena, "{\"event\":{\"a\":1},\"state\":[1,{},%.*s,[\"]\"]]}", PRI(good));
    assert_int_equal(read_answer(&call, body, &answer), FAULT_OK);
    assert_int_equal(answer.count, 4);
    assert_string_equal(ordered(&call, &answer), "C");
    assert_int_equal(answer.create, 2);
    assert_true(slice_eq(answer.event, SLICE("{\"a\":1}")));
    assert_int_equal(read_answer(&call, SLICE("{}"), &answer), FAULT_OK);
    assert_int_equal(answer.count, 0);
    assert_int_equal(answer.create, 0);
    arena_destroy(&call.arena);
}

/* Random graphs with circles: each event comes out once at most, behind its auth events that came out and did not close a circle.
 */
static void random_graphs(void **state)
{
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    for (int round = 0; round < 3000; round++) {
        struct call call = {.arena = arena_create(1 << 22)};
        struct given list[13] = {{0}}, none[1] = {{0}};
        size_t count = 1 + (size_t)(rand_r(&seed) % 12);
        bool acyclic = rand_r(&seed) % 2;
        for (size_t i = 0; i < count; i++) {
            char *auth = arena_alloc(call.arena, 8);
            size_t others = acyclic ? i : count;
            for (size_t k = 0; others && k < (size_t)(rand_r(&seed) % 4); k++)
                auth[k] = (char)('a' + (size_t)rand_r(&seed) % others);
            list[i] = (struct given){arena_printf(call.arena, "%c", (char)('a' + i)).at, "x", auth};
        }
        for (size_t i = count; i > 1; i--) { /* in any order */
            size_t other = (size_t)rand_r(&seed) % i;
            struct given swap = list[i - 1];
            list[i - 1] = list[other];
            list[other] = swap;
        }
        struct join_answer answer;
        assert_int_equal(read_lists(&call, list, none, &answer), FAULT_OK);
        const char *order = ordered(&call, &answer);
        if (acyclic)
            assert_int_equal(strlen(order), count);
        for (size_t i = 0; order[i]; i++) {
            assert_null(strchr(order + i + 1, order[i]));
            for (size_t k = 0; k < count; k++)
                for (const char *auth = list[k].id[0] == order[i] ? list[k].auth : ""; *auth; auth++)
                    assert_true(!strchr(order, *auth) || strchr(order, *auth) <= order + i);
        }
        arena_destroy(&call.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders),
        cmocka_unit_test(what_is_no_answer),
        cmocka_unit_test(what_is_no_event_is_left_out),
        cmocka_unit_test(random_graphs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
