/* Default push rules; see push_defaults.h. The table is in the order of the spec, which is the order of evaluation. */
#include "workers/accounts/push_defaults.h"

#define NOTIFY "\"notify\""
#define SOUND(name) "{\"set_tweak\":\"sound\",\"value\":\"" name "\"}"
#define HIGHLIGHT "{\"set_tweak\":\"highlight\"}"
#define MATCH(key, pattern) "{\"kind\":\"event_match\",\"key\":\"" key "\",\"pattern\":\"" pattern "\"}"
#define IS(key, value) "{\"kind\":\"event_property_is\",\"key\":\"" key "\",\"value\":" value "}"
#define MEMBERS(count) "{\"kind\":\"room_member_count\",\"is\":\"" count "\"}"
#define MAY_NOTIFY(what) "{\"kind\":\"sender_notification_permission\",\"key\":\"" what "\"}"

/* What names the user himself stands apart: his id is put in. */
enum own { OWN_NONE, OWN_STATE_KEY, OWN_MENTION };
static const char *const own_heads[] = {
    [OWN_STATE_KEY] = "{\"kind\":\"event_match\",\"key\":\"state_key\",\"pattern\":",
    [OWN_MENTION] = "{\"kind\":\"event_property_contains\",\"key\":\"content.m\\\\.mentions.user_ids\",\"value\":",
};

struct rule {
    const char *id;
    bool disabled;
    const char *conditions; /* comma separated */
    enum own own;           /* one more condition, the last */
    const char *actions;
};

static const struct rule overrides[] = {
    {".m.rule.master", true, "", OWN_NONE, ""},
    {".m.rule.suppress_notices", false, MATCH("content.msgtype", "m.notice"), OWN_NONE, ""},
    {".m.rule.invite_for_me", false, MATCH("type", "m.room.member") "," MATCH("content.membership", "invite"), OWN_STATE_KEY,
     NOTIFY "," SOUND("default")},
    {".m.rule.member_event", false, MATCH("type", "m.room.member"), OWN_NONE, ""},
    {".m.rule.is_user_mention", false, "", OWN_MENTION, NOTIFY "," SOUND("default") "," HIGHLIGHT},
    {".m.rule.is_room_mention", false, IS("content.m\\\\.mentions.room", "true") "," MAY_NOTIFY("room"), OWN_NONE,
     NOTIFY "," HIGHLIGHT},
    {".m.rule.tombstone", false, MATCH("type", "m.room.tombstone") "," MATCH("state_key", ""), OWN_NONE, NOTIFY "," HIGHLIGHT},
    {".m.rule.reaction", false, MATCH("type", "m.reaction"), OWN_NONE, ""},
    {".m.rule.room.server_acl", false, MATCH("type", "m.room.server_acl") "," MATCH("state_key", ""), OWN_NONE, ""},
    {".m.rule.suppress_edits", false, IS("content.m\\\\.relates_to.rel_type", "\"m.replace\""), OWN_NONE, ""},
};

static const struct rule underrides[] = {
    {".m.rule.call", false, MATCH("type", "m.call.invite"), OWN_NONE, NOTIFY "," SOUND("ring")},
    {".m.rule.encrypted_room_one_to_one", false, MEMBERS("2") "," MATCH("type", "m.room.encrypted"), OWN_NONE,
     NOTIFY "," SOUND("default")},
    {".m.rule.room_one_to_one", false, MEMBERS("2") "," MATCH("type", "m.room.message"), OWN_NONE, NOTIFY "," SOUND("default")},
    {".m.rule.message", false, MATCH("type", "m.room.message"), OWN_NONE, NOTIFY},
    {".m.rule.encrypted", false, MATCH("type", "m.room.encrypted"), OWN_NONE, NOTIFY},
};

static void write_rule(struct json_writer *w, const struct rule *rule, struct slice user_id)
{
    struct strbuf conditions = strbuf_in(w->out.arena);
    strbuf_add_char(&conditions, '[');
    strbuf_add_cstr(&conditions, rule->conditions);
    if (rule->own != OWN_NONE) {
        if (rule->conditions[0])
            strbuf_add_char(&conditions, ',');
        strbuf_add_cstr(&conditions, own_heads[rule->own]);
        json_escape_into(&conditions, user_id);
        strbuf_add_char(&conditions, '}');
    }
    strbuf_add_char(&conditions, ']');
    json_begin_object(w);
    json_put_cstr(w, "rule_id", rule->id);
    json_put_bool(w, "default", true);
    json_put_bool(w, "enabled", !rule->disabled);
    json_put_raw(w, "conditions", strbuf_slice(&conditions));
    json_put_raw(w, "actions", arena_printf(w->out.arena, "[%s]", rule->actions));
    json_end_object(w);
}

static void write_rules(struct json_writer *w, const char *kind, const struct rule *rules, size_t count, struct slice user_id)
{
    json_put_array(w, kind);
    for (size_t i = 0; i < count; i++)
        write_rule(w, &rules[i], user_id);
    json_end_array(w);
}

struct slice push_defaults(struct arena *arena, struct slice user_id)
{
    struct json_writer w = json_writer_in(arena);
    json_begin_object(&w);
    json_put_object(&w, "global");
    write_rules(&w, "override", overrides, sizeof overrides / sizeof overrides[0], user_id);
    write_rules(&w, "content", NULL, 0, user_id);
    write_rules(&w, "room", NULL, 0, user_id);
    write_rules(&w, "sender", NULL, 0, user_id);
    write_rules(&w, "underride", underrides, sizeof underrides / sizeof underrides[0], user_id);
    json_end_object(&w);
    json_end_object(&w);
    return json_done(&w);
}
