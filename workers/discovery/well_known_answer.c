/* The body is a stranger's JSON, the headers are a stranger's wishes: both get bounds. */
#include "workers/discovery/well_known_answer.h"

#include "lib/base/json.h"
#include "lib/matrix/ids.h"

#include <curl/curl.h>

enum { MINUTE_MS = 60 * 1000, HOUR_MS = 60 * MINUTE_MS };
enum { LIFETIME_LEAST_MS = MINUTE_MS, LIFETIME_USUAL_MS = 24 * HOUR_MS, LIFETIME_MOST_MS = 48 * HOUR_MS };
enum { RETRY_FIRST_MS = 2 * MINUTE_MS, RETRY_DOUBLINGS = 5, RETRY_MOST_MS = HOUR_MS };

struct slice well_known_server(struct arena *arena, struct slice body, const char **why)
{
    if (body.len > WELL_KNOWN_MAX_BYTES) {
        *why = "too large";
        return SLICE_ABSENT;
    }
    const struct json *json = json_parse(arena, body, JSON_LAX, NULL);
    if (!json_is(json, JSON_OBJECT)) {
        *why = "not a JSON object";
        return SLICE_ABSENT;
    }
    struct slice server = json_get_string(json, "m.server");
    if (slice_is_absent(server)) {
        *why = "no m.server";
        return SLICE_ABSENT;
    }
    if (!server_name_is_valid(server)) {
        *why = "m.server is not a server name";
        return SLICE_ABSENT;
    }
    return arena_copy(arena, server);
}

/* The directive's name and argument; quotes are taken off. */
static bool next_directive(struct slice *list, struct slice *name, struct slice *argument)
{
    struct slice item;
    if (!list->len)
        return false;
    if (!slice_cut(*list, ',', &item, list)) {
        item = *list;
        *list = SLICE("");
    }
    *argument = SLICE_ABSENT;
    if (!slice_cut(item, '=', name, argument))
        *name = item;
    *name = slice_trim(*name);
    *argument = slice_trim(*argument);
    if (argument->len >= 2 && argument->at[0] == '"' && argument->at[argument->len - 1] == '"')
        *argument = slice_sub(*argument, 1, argument->len - 2);
    return true;
}

static int64_t from_cache_control(struct slice list)
{
    struct slice name, argument;
    int64_t lifetime_ms = -1, seconds;
    while (next_directive(&list, &name, &argument)) {
        if (slice_eq_ignoring_case(name, SLICE("no-store")) || slice_eq_ignoring_case(name, SLICE("no-cache")))
            return 0;
        if (slice_eq_ignoring_case(name, SLICE("max-age")) && lifetime_ms < 0 && slice_to_i64(argument, &seconds) && seconds >= 0)
            lifetime_ms = seconds < LIFETIME_MOST_MS / 1000 ? seconds * 1000 : LIFETIME_MOST_MS;
    }
    return lifetime_ms;
}

/* A date that cannot be read, "0" above all, means "already over" (RFC 9111 §5.3). */
static int64_t from_expires(struct arena *arena, struct slice expires, int64_t wall_ms)
{
    int64_t until_s = (int64_t)curl_getdate(arena_cstr(arena, expires), NULL);
    return until_s > wall_ms / 1000 ? until_s * 1000 - wall_ms : 0;
}

int64_t well_known_lifetime_ms(struct arena *arena, struct slice cache_control, struct slice expires, int64_t wall_ms)
{
    int64_t lifetime_ms = from_cache_control(cache_control);
    if (lifetime_ms < 0 && !slice_is_absent(expires))
        lifetime_ms = from_expires(arena, expires, wall_ms);
    if (lifetime_ms < 0)
        return LIFETIME_USUAL_MS;
    if (lifetime_ms < LIFETIME_LEAST_MS)
        return LIFETIME_LEAST_MS;
    return lifetime_ms > LIFETIME_MOST_MS ? LIFETIME_MOST_MS : lifetime_ms;
}

int64_t well_known_retry_ms(int failures)
{
    int doublings = failures - 1 < RETRY_DOUBLINGS ? failures - 1 : RETRY_DOUBLINGS;
    int64_t retry_ms = (int64_t)RETRY_FIRST_MS << doublings;
    return retry_ms > RETRY_MOST_MS ? RETRY_MOST_MS : retry_ms;
}
