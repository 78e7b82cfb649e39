/* Rule 10 of the authorisation rules: m.room.power_levels. First the form of the content, then what changes against the
 * current levels: nobody gives or takes more than he has. Old and new maps are sorted once and walked together, for an event
 * may carry two thousand users.
 * A level that is not there has no value to compare: adding "ban" is judged by the new value alone, as other servers do. */
#include <stdlib.h>

#include "lib/matrix/auth_rules_steps.h"
#include "lib/matrix/ids.h"

static const char *const single_levels[] = {"users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"};
enum { SINGLE_LEVELS = sizeof single_levels / sizeof *single_levels };

struct level {
    struct slice key;
    int64_t value;
};
struct level_map {
    struct level *at;
    size_t count;
};

/* One level before and after. */
struct change {
    struct slice key;
    bool has_old, has_new;
    int64_t old, new;
};

static bool values_are_levels(const struct room_version *version, const struct json *map)
{
    int64_t level;
    json_each (value, map)
        if (!power_level_value(version, value, &level))
            return false;
    return true;
}

/* 10.1 and 10.2, since version 10 */
static enum verdict levels_are_integers(struct auth_case *judged)
{
    const struct event *event = judged->event;
    if (!event->version->integer_power_levels)
        return VERDICT_NEXT;
    for (size_t i = 0; i < SINGLE_LEVELS; i++) {
        const struct json *level = json_get_cstr(event->content, single_levels[i]);
        if (level && !json_is(level, JSON_INT))
            return reject(judged, "m.room.power_levels: a level is not an integer");
    }
    static const char *const maps[] = {"events", "notifications"};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        const struct json *map = json_get_cstr(event->content, maps[i]);
        if (map && (!json_is(map, JSON_OBJECT) || !values_are_levels(event->version, map)))
            return reject(judged, "m.room.power_levels: events or notifications is not a map of integers");
    }
    return VERDICT_NEXT;
}

/* 10.3. A missing "users" is an empty one. */
static enum verdict users_are_users(struct auth_case *judged)
{
    const struct event *event = judged->event;
    const struct json *users = json_get_cstr(event->content, "users");
    if (users && (!json_is(users, JSON_OBJECT) || !values_are_levels(event->version, users)))
        return reject(judged, "m.room.power_levels: users is not a map of integers");
    json_each (user, users)
        if (!user_id_is_valid(user->key))
            return reject(judged, "m.room.power_levels: users names something that is not a user id");
    return VERDICT_NEXT;
}

/* 10.4, since version 12 */
static enum verdict creators_are_not_listed(struct auth_case *judged)
{
    const struct json *users = json_get_object(judged->event->content, "users");
    if (!judged->event->version->privileged_creators || !users)
        return VERDICT_NEXT;
    json_each (user, users)
        if (user_is_creator(judged->create, user->key))
            return reject(judged, "m.room.power_levels: users names a creator of the room");
    return VERDICT_NEXT;
}

static int level_order(const void *a, const void *b)
{
    return slice_cmp(((const struct level *)a)->key, ((const struct level *)b)->key);
}

static struct level_map level_map_from(struct auth_case *judged, const struct json *object)
{
    struct level_map map = {arena_new_array(judged->arena, object ? object->count : 0, struct level), 0};
    json_each (value, object) {
        struct level *level = &map.at[map.count];
        level->key = value->key;
        if (power_level_value(judged->event->version, value, &level->value))
            map.count++;
    }
    qsort(map.at, map.count, sizeof *map.at, level_order);
    return map;
}

/* The next key of either map, in order; false past the end of both. */
static bool next_pair(const struct level_map *old, size_t *o, const struct level_map *new, size_t *n, struct change *out)
{
    if (*o == old->count && *n == new->count)
        return false;
    int order = *o == old->count ? 1 : *n == new->count ? -1 : slice_cmp(old->at[*o].key, new->at[*n].key);
    *out = (struct change){.has_old = order <= 0, .has_new = order >= 0};
    if (out->has_old) {
        out->key = old->at[*o].key;
        out->old = old->at[(*o)++].value;
    }
    if (out->has_new) {
        out->key = new->at[*n].key;
        out->new = new->at[(*n)++].value;
    }
    return true;
}

static bool is_change(const struct change *change)
{
    return change->has_old != change->has_new || change->old != change->new;
}

static bool exceeds(const struct change *change, int64_t power)
{
    return (change->has_old && change->old > power) || (change->has_new && change->new > power);
}

/* 10.6 */
static enum verdict single_level_changes(struct auth_case *judged, int64_t power)
{
    for (size_t i = 0; i < SINGLE_LEVELS; i++) {
        struct change change = {0};
        change.has_old =
            power_level_value(judged->event->version, json_get_cstr(judged->levels.content, single_levels[i]), &change.old);
        change.has_new =
            power_level_value(judged->event->version, json_get_cstr(judged->event->content, single_levels[i]), &change.new);
        if (is_change(&change) && exceeds(&change, power))
            return reject(judged, "m.room.power_levels: a level above the sender's is changed");
    }
    return VERDICT_NEXT;
}

/* 10.7 and 10.8 */
static enum verdict map_changes(struct auth_case *judged, const char *name, int64_t power)
{
    struct level_map old = level_map_from(judged, json_get_object(judged->levels.content, name));
    struct level_map new = level_map_from(judged, json_get_object(judged->event->content, name));
    struct change change;
    for (size_t o = 0, n = 0; next_pair(&old, &o, &new, &n, &change);)
        if (is_change(&change) && exceeds(&change, power))
            return reject(judged, "m.room.power_levels: an entry above the sender's power is changed");
    return VERDICT_NEXT;
}

/* 10.9 and 10.10 */
static enum verdict user_changes(struct auth_case *judged, int64_t power)
{
    struct level_map old = level_map_from(judged, json_get_object(judged->levels.content, "users"));
    struct level_map new = level_map_from(judged, json_get_object(judged->event->content, "users"));
    struct change change;
    for (size_t o = 0, n = 0; next_pair(&old, &o, &new, &n, &change);) {
        if (!is_change(&change))
            continue;
        bool is_own = slice_eq(change.key, judged->event->sender);
        if (change.has_old && !is_own && change.old >= power)
            return reject(judged, "m.room.power_levels: the entry of an equal or stronger user is changed");
        if (change.has_new && change.new > power)
            return reject(judged, "m.room.power_levels: a user is given more than the sender has");
    }
    return VERDICT_NEXT;
}

/* 10. If type is m.room.power_levels */
enum verdict auth_rules_power_levels(struct auth_case *judged)
{
    enum verdict verdict;
    if (!event_is(judged->event, "m.room.power_levels"))
        return VERDICT_NEXT;
    if ((verdict = levels_are_integers(judged)) || (verdict = users_are_users(judged)) ||
        (verdict = creators_are_not_listed(judged)))
        return verdict;
    /* 10.5 */
    if (!judged->levels.content)
        return VERDICT_ALLOW;
    int64_t power = power_of_user(&judged->levels, judged->event->sender);
    if ((verdict = single_level_changes(judged, power)) || (verdict = map_changes(judged, "events", power)))
        return verdict;
    if (judged->event->version->limit_notifications_power && (verdict = map_changes(judged, "notifications", power)))
        return verdict;
    verdict = user_changes(judged, power);
    return verdict ? verdict : VERDICT_ALLOW;
}
